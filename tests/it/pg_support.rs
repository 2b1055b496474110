//! What the tests of the PostgreSQL store share: a migrated database with beans in it.
//!
//! Decides: small shapes for common data. Never does: assert.

use crate::support::databases::PostgresDatabase;
use cupping::domain::bean::BeanId;
use cupping::domain::ranking::SimilarList;
use cupping::store::postgres::PostgresStore;
use cupping::store::{LogMark, StoreSettings, WriteBatch, WriteItem};
use sqlx::{AssertSqlSafe, Executor, PgPool};
use std::time::Duration;

pub use crate::support::stores::{bean, list};

/// A database of one test, a store on it, and a pool for everybody else.
pub struct Shop {
    pub database: PostgresDatabase,
    pub store: PostgresStore,
    pub pool: PgPool,
}

impl Shop {
    /// The default catalogue, migrated, empty.
    pub async fn open() -> Self {
        Self::with(StoreSettings::default(), "").await
    }

    /// A database prepared by `sql`, then migrated under `settings`.
    pub async fn with(settings: StoreSettings, sql: &'static str) -> Self {
        let database = PostgresDatabase::create().await;
        let pool = database.pool(40).await;
        pool.execute(sql).await.expect("the test's own schema is sound");
        let store = connect(&database, settings).await;
        store.migrate().await.expect("an empty database can be migrated");
        Self { database, store, pool }
    }

    /// Executes statements as the owner of everything.
    pub async fn sql(&self, sql: impl Into<String>) {
        self.pool.execute(AssertSqlSafe(sql.into())).await.expect("the test's SQL is sound");
    }

    /// Reads one number.
    pub async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&self.pool)
            .await
            .expect("the test's query is sound")
    }

    /// Beans numbered from 1.
    pub async fn beans(&self, count: u32) {
        self.sql(format!(
            "INSERT INTO coffee_bean (id, name) \
             SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'Bean ' || n \
             FROM generate_series(1, {count}) n"
        ))
        .await;
    }

    /// The deadlocks PostgreSQL counted in this database. A session reports its numbers when it
    /// ends, so the store is closed first.
    pub async fn deadlocks(&self) -> i64 {
        self.store.close().await;
        let open = "SELECT count(*) FROM pg_stat_activity \
                    WHERE datname = current_database() AND application_name LIKE 'cupping%'";
        let ending = async { while self.number(open).await > 0 {} };
        tokio::time::timeout(Duration::from_secs(60), ending).await.expect("sessions end");
        self.number("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            .await
    }

    /// The URL of a new login in a role.
    pub async fn login(&self, role: &str) -> (String, String) {
        let login = format!("l_{}", uuid::Uuid::new_v4().simple());
        self.sql(format!("CREATE ROLE {login} LOGIN {role}")).await;
        let mut url = url::Url::parse(&self.database.url()).expect("a URL");
        url.set_username(&login).expect("a user can be set");
        (login, url.to_string())
    }
}

/// One attempt and much patience: a deadlock fails the write instead of being retried.
pub fn unforgiving(connections: u32) -> StoreSettings {
    let mut settings = StoreSettings { max_connections: connections, ..StoreSettings::default() };
    settings.transaction.attempts = 1;
    settings.transaction.lock_timeout = Duration::from_secs(60);
    settings.transaction.statement_timeout = Duration::from_secs(70);
    settings.transaction.deadline = Duration::from_secs(90);
    settings.acquire_timeout = Duration::from_secs(60);
    settings
}

/// Opens a store on a database.
pub async fn connect(database: &PostgresDatabase, settings: StoreSettings) -> PostgresStore {
    crate::support::watch_lock_orders();
    PostgresStore::connect(&database.url(), settings).await.expect("the database answers")
}

pub fn id(text: &str) -> BeanId {
    BeanId::parse(text).expect("a sound id")
}

/// One source without tickets.
pub fn item(source: u32, list: SimilarList) -> WriteItem {
    WriteItem { source: bean(source), list, tickets: Vec::new() }
}

/// A batch computed at a mark.
pub fn batch(items: Vec<WriteItem>, computed_at: &LogMark) -> WriteBatch {
    WriteBatch { items, computed_at: computed_at.clone() }
}
