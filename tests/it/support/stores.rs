//! The stores under test: each port's implementation over a fresh database, with a way to do what
//! an application would do to it.

use super::databases::PostgresDatabase;
use cupping::domain::bean::BeanId;
use cupping::domain::ranking::{Similar, SimilarList};
use cupping::store::import::CatalogueWriter;
use cupping::store::postgres::PostgresStore;
use cupping::store::sqlite::SqliteStore;
use cupping::store::{LogMark, Store, StoreSettings, WriteBatch, WriteItem};
use cupping::txn::ticket::Ticket;
use sqlx::{AssertSqlSafe, Executor, PgPool, SqlitePool};
use std::sync::Arc;

/// A store, and what it takes to test it.
pub struct TestStore {
    /// The ports of the worker.
    pub store: Arc<dyn Store>,
    /// The port of the importer.
    pub writer: Arc<dyn CatalogueWriter>,
    raw: Raw,
}

/// The application's own connection; the file or database goes when it is dropped.
enum Raw {
    Sqlite(SqlitePool, tempfile::TempDir),
    Postgres(PgPool, PostgresDatabase),
}

impl TestStore {
    /// SQLite, migrated, empty.
    pub async fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let path = directory.path().join("cupping.sqlite");
        let store = SqliteStore::open(&path, StoreSettings::default()).await.expect("it opens");
        store.migrate().await.expect("an empty file can be migrated");
        assert_eq!(store.migrate().await.expect("again"), Vec::<String>::new());
        let raw = Raw::Sqlite(store.write_pool().clone(), directory);
        let store = Arc::new(store);
        Self { store: store.clone(), writer: store, raw }
    }

    /// PostgreSQL, migrated, empty.
    pub async fn postgres() -> Self {
        let database = PostgresDatabase::create().await;
        super::watch_lock_orders();
        let store = PostgresStore::connect(&database.url(), StoreSettings::default()).await;
        let store = store.expect("the new database answers");
        store.migrate().await.expect("an empty database can be migrated");
        assert_eq!(store.migrate().await.expect("again"), Vec::<String>::new());
        let raw = Raw::Postgres(store.pool_handle().clone(), database);
        let store = Arc::new(store);
        Self { store: store.clone(), writer: store, raw }
    }

    /// Executes statements as the application.
    pub async fn sql(&self, sql: impl Into<String>) {
        let sql = AssertSqlSafe(sql.into());
        match &self.raw {
            Raw::Sqlite(pool, _) => pool.execute(sql).await.map(drop),
            Raw::Postgres(pool, _) => pool.execute(sql).await.map(drop),
        }
        .expect("the test's SQL is sound");
    }

    /// Reads one number.
    pub async fn number(&self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        match &self.raw {
            Raw::Sqlite(pool, _) => sqlx::query_scalar(sql).fetch_one(pool).await,
            Raw::Postgres(pool, _) => sqlx::query_scalar(sql).fetch_one(pool).await,
        }
        .expect("the test's query is sound")
    }

    /// Beans numbered from 1 to `count`.
    pub async fn beans(&self, count: u32) {
        for n in 1..=count {
            let id = bean(n);
            self.sql(format!("INSERT INTO coffee_bean (id, name) VALUES ('{id}', 'Bean {n}')"))
                .await;
        }
    }

    /// The mark of now, from a load.
    pub async fn mark(&self) -> LogMark {
        self.store.load(&mut |_| {}).await.expect("the catalogue can be read")
    }

    /// Puts a claimed message in the queue's table; answers the ticket that acks it.
    pub async fn message(&self, id: i64) -> Ticket {
        let (insert, statement) = match &self.raw {
            Raw::Sqlite(..) => (
                "INSERT INTO cupping_queue_message \
                 (id, lane, body, published_at, available_at, claim, claimed_until) \
                 VALUES ({id}, 'live', x'', 0, 0, 'mine', 1)",
                "DELETE FROM cupping_queue_message \
                 WHERE id IN (SELECT value FROM json_each(?1)) AND claim = ?2 RETURNING id",
            ),
            Raw::Postgres(..) => (
                "INSERT INTO cupping.queue_message \
                 (id, lane, body, published_at, claim, claimed_until) \
                 OVERRIDING SYSTEM VALUE VALUES ({id}, 'live', '', now(), 'mine', now())",
                "DELETE FROM cupping.queue_message WHERE id = ANY($1) AND claim = $2 RETURNING id",
            ),
        };
        self.sql(insert.replace("{id}", &id.to_string())).await;
        Ticket { statement: statement.into(), ids: vec![id], claim: "mine".into() }
    }

    /// Another worker takes a message, whose claim had run out.
    pub async fn take_message(&self, id: i64) {
        let table = self.queue_table();
        self.sql(format!("UPDATE {table} SET claim = 'another' WHERE id = {id}")).await;
    }

    /// Messages in the queue's table.
    pub async fn messages(&self) -> i64 {
        self.number(&format!("SELECT count(*) FROM {}", self.queue_table())).await
    }

    fn queue_table(&self) -> &'static str {
        match &self.raw {
            Raw::Sqlite(..) => "cupping_queue_message",
            Raw::Postgres(..) => "cupping.queue_message",
        }
    }
}

/// The id of bean number `n`.
pub fn bean(n: u32) -> BeanId {
    BeanId::parse(&format!("00000000-0000-0000-0000-{n:012}")).expect("a uuid")
}

/// A list of beans by number, with scores in parts per million.
pub fn list(entries: &[(u32, u32)]) -> SimilarList {
    let mut list: SimilarList =
        entries.iter().map(|(n, ppm)| Similar { bean: bean(*n), ppm: *ppm }).collect();
    list.sort_unstable();
    list
}

/// A batch of (source, list) without tickets.
pub fn batch(items: &[(u32, &[(u32, u32)])], computed_at: &LogMark) -> WriteBatch {
    let item = |(n, entries): &(u32, &[(u32, u32)])| WriteItem {
        source: bean(*n),
        list: list(entries),
        tickets: Vec::new(),
    };
    WriteBatch { items: items.iter().map(item).collect(), computed_at: computed_at.clone() }
}
