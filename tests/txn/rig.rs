//! One test on three databases.
//!
//! Decides: how a fresh database of each kind is made, and what differs in their SQL.
//! Never does: assert.

use crate::support::databases::PostgresDatabase;
use crate::support::mariadb::MariaDatabase;
use cupping::txn::{Dialect, TxnOptions};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, MySql, Pool, Postgres, Sqlite};
use std::time::Duration;

/// A database of one test, whatever its kind.
pub trait Rig: Sized {
    type Db: Dialect;

    /// An empty one, in which deadlocks are found fast.
    async fn create() -> Self;

    /// A pool on it.
    async fn pool(&self, connections: u32) -> Pool<Self::Db>;

    /// Runs statements.
    async fn sql(pool: &Pool<Self::Db>, sql: &str);

    /// The integer that a query gives.
    async fn int(pool: &Pool<Self::Db>, sql: &str) -> i64;

    /// How many sessions wait for a lock of a row now.
    async fn waiting(pool: &Pool<Self::Db>) -> i64;
}

pub struct OnPostgres(pub PostgresDatabase);
pub struct OnMaria(pub MariaDatabase);
pub struct OnSqlite(tempfile::TempDir);

impl Rig for OnPostgres {
    type Db = Postgres;

    async fn create() -> Self {
        Self(PostgresDatabase::create().await)
    }

    async fn pool(&self, connections: u32) -> Pool<Postgres> {
        let options = self.0.options().options([("deadlock_timeout", "50ms")]);
        let pool = PgPoolOptions::new().max_connections(connections);
        pool.connect_with(options).await.expect("PostgreSQL answers")
    }

    async fn sql(pool: &Pool<Postgres>, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql).execute(pool).await.expect("the statements run");
    }

    async fn int(pool: &Pool<Postgres>, sql: &str) -> i64 {
        let query = sqlx::query_scalar(AssertSqlSafe(format!("SELECT CAST(({sql}) AS bigint)")));
        query.fetch_one(pool).await.expect("an integer")
    }

    async fn waiting(pool: &Pool<Postgres>) -> i64 {
        let query =
            "SELECT count(DISTINCT l.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                     WHERE NOT l.granted AND a.datname = current_database()";
        Self::int(pool, query).await
    }
}

impl Rig for OnMaria {
    type Db = MySql;

    async fn create() -> Self {
        Self(MariaDatabase::create().await)
    }

    async fn pool(&self, connections: u32) -> Pool<MySql> {
        let pool = MySqlPoolOptions::new().max_connections(connections);
        pool.connect_with(self.0.options()).await.expect("MariaDB answers")
    }

    async fn sql(pool: &Pool<MySql>, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql).execute(pool).await.expect("the statements run");
    }

    async fn int(pool: &Pool<MySql>, sql: &str) -> i64 {
        let query = sqlx::query_scalar(AssertSqlSafe(format!("SELECT CAST(({sql}) AS SIGNED)")));
        query.fetch_one(pool).await.expect("an integer")
    }

    async fn waiting(pool: &Pool<MySql>) -> i64 {
        // The server renews this view only when nobody has looked for a tenth of a second.
        let mut ticks = tokio::time::interval(Duration::from_millis(130));
        ticks.tick().await;
        ticks.tick().await;
        let query = "SELECT count(*) FROM information_schema.innodb_trx t
                     JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id
                     WHERE t.trx_state = 'LOCK WAIT' AND p.db = DATABASE()";
        Self::int(pool, query).await
    }
}

impl Rig for OnSqlite {
    type Db = Sqlite;

    async fn create() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    async fn pool(&self, connections: u32) -> Pool<Sqlite> {
        let options = SqliteConnectOptions::new()
            .filename(self.0.path().join("test.db"))
            .journal_mode(SqliteJournalMode::Wal)
            .create_if_missing(true);
        let pool = SqlitePoolOptions::new().max_connections(connections);
        pool.connect_with(options).await.expect("the file opens")
    }

    async fn sql(pool: &Pool<Sqlite>, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql).execute(pool).await.expect("the statements run");
    }

    async fn int(pool: &Pool<Sqlite>, sql: &str) -> i64 {
        let query = sqlx::query_scalar(AssertSqlSafe(format!("SELECT CAST(({sql}) AS integer)")));
        query.fetch_one(pool).await.expect("an integer")
    }

    async fn waiting(_: &Pool<Sqlite>) -> i64 {
        0
    }
}

/// Attempts enough, and short pauses.
pub fn quick() -> TxnOptions {
    TxnOptions { attempts: 10, base_delay: Duration::from_millis(1), ..TxnOptions::default() }
}

/// One attempt.
pub fn once() -> TxnOptions {
    TxnOptions { attempts: 1, ..quick() }
}

/// Names a test after each of the databases, and runs it there.
macro_rules! on_all {
    ($($test:ident),* $(,)?) => {
        mod on_postgres { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test::<crate::rig::OnPostgres>().await; }
        )* }
        mod on_mariadb { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test::<crate::rig::OnMaria>().await; }
        )* }
        mod on_sqlite { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test::<crate::rig::OnSqlite>().await; }
        )* }
    };
}
pub(crate) use on_all;
