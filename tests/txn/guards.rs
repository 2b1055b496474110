//! Guards on MariaDB and SQLite: the cancelled begin, the swallowed error, the dropped caller.
//!
//! Those of PostgreSQL are in `cancellation` and `units`.

use crate::support::mariadb::MariaDatabase;
use crate::support::metering;
use crate::support::polling::poll_and_drop;
use crate::support::proxy::Proxy;
use crate::support::sqlite::SqliteDatabase;
use cupping::txn::{Transactor, TxnError, TxnOptions, guarded, work};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::{Executor, MySql, MySqlPool, Sqlite};

fn single() -> MySqlPoolOptions {
    MySqlPoolOptions::new().max_connections(1).test_before_acquire(false)
}

/// Whether the only connection of the pool is inside a transaction of somebody else.
async fn is_stale(pool: &MySqlPool) -> bool {
    let query = "SELECT @@in_transaction";
    let inside: u64 = sqlx::query_scalar(query).fetch_one(pool).await.expect("MariaDB answers");
    inside == 1
}

/// Begins a transaction that gets no answer, and gives up waiting; then the server answers.
#[expect(clippy::disallowed_methods, reason = "shows the hazard that the guard is there for")]
async fn begin_and_give_up(pool: &MySqlPool, proxy: &Proxy) {
    proxy.freeze();
    poll_and_drop(pool.begin(), 100).await;
    proxy.open();
}

#[tokio::test]
async fn a_cancelled_begin_leaves_no_open_transaction_on_mariadb_under_the_guard() {
    let recorder = metering::recorder();
    let _metrics = metrics::set_default_local_recorder(recorder);
    let database = MariaDatabase::create().await;
    let proxy = Proxy::start(&database.address()).await;
    let (host, port) = (proxy.address.ip().to_string(), proxy.address.port());
    let options = || database.options().host(&host).port(port);

    let bare = single().connect_with(options()).await.expect("MariaDB answers");
    begin_and_give_up(&bare, &proxy).await;
    assert!(is_stale(&bare).await, "without the guard the hazard shows; else this test is void");

    let pool = guarded(single()).connect_with(options()).await.expect("it answers");
    begin_and_give_up(&pool, &proxy).await;
    assert!(!is_stale(&pool).await);
    assert_eq!(metering::value(recorder, "cupping_transactions_leaked_total", &[]), 1.0);
}

#[tokio::test]
async fn a_unit_dropped_at_any_point_leaves_no_open_transaction_on_mariadb() {
    let database = MariaDatabase::create().await;
    let pool = single().connect_with(database.options()).await.expect("MariaDB answers");
    pool.execute("CREATE TABLE t (id int)").await.expect("a table");
    let transactor = Transactor::new(pool.clone());
    for polls in 0..12 {
        let body = work!(|tx: MySql| {
            tx.execute("INSERT INTO t VALUES (1)").await?;
            tx.execute("INSERT INTO t VALUES (2)").await?;
            Ok(())
        });
        poll_and_drop(transactor.run("dropped", &TxnOptions::default(), body), polls).await;
        assert!(!is_stale(&pool).await, "dropped after {polls} polls");
    }
    let odd: i64 =
        sqlx::query_scalar("SELECT COUNT(IF(id = 1, 1, NULL)) - COUNT(IF(id = 2, 1, NULL)) FROM t")
            .fetch_one(&pool)
            .await
            .expect("a count");
    assert_eq!(odd, 0, "each unit is there whole or not at all");
}

#[tokio::test]
async fn a_unit_dropped_at_any_point_leaves_no_open_transaction_on_sqlite() {
    let database = SqliteDatabase::create(1).await;
    database.pool.execute("CREATE TABLE t (id INTEGER)").await.expect("a table");
    let transactor = Transactor::new(database.pool.clone());
    for polls in 0..12 {
        let body = work!(|tx: Sqlite| {
            tx.execute("INSERT INTO t VALUES (1)").await?;
            tx.execute("INSERT INTO t VALUES (2)").await?;
            Ok(())
        });
        poll_and_drop(transactor.run("dropped", &TxnOptions::default(), body), polls).await;
        // SQLite refuses a transaction within a transaction.
        database.pool.execute("BEGIN; COMMIT").await.expect("nothing is open");
    }
    let odd: i64 = sqlx::query_scalar("SELECT sum(id = 1) - sum(id = 2) FROM t")
        .fetch_one(&database.pool)
        .await
        .expect("a count");
    assert_eq!(odd, 0, "each unit is there whole or not at all");
}

#[tokio::test]
async fn a_swallowed_error_refuses_the_commit_on_sqlite() {
    let database = SqliteDatabase::create(1).await;
    database.pool.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)").await.expect("a table");
    let body = work!(|tx: Sqlite| {
        tx.execute("INSERT INTO t VALUES (1)").await?;
        assert!(tx.execute("INSERT INTO t VALUES (1)").await.is_err());
        Ok(())
    });
    let transactor = Transactor::new(database.pool.clone());
    let error = transactor.run("swallow", &TxnOptions::default(), body).await.expect_err("refused");
    assert!(matches!(error, TxnError::Poisoned { .. }), "{error}");
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM t")
        .fetch_one(&database.pool)
        .await
        .expect("a count");
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn sqlite_gets_its_own_busy_timeout_back() {
    let database = SqliteDatabase::create(1).await;
    database.pool.execute("PRAGMA busy_timeout = 1234").await.expect("a setting");
    let body = work!(|tx: Sqlite| {
        let inside: (i64,) = tx.fetch_one_as("PRAGMA busy_timeout").await?;
        Ok(inside.0)
    });
    let transactor = Transactor::new(database.pool.clone());
    let inside = transactor.run("settings", &TxnOptions::default(), body).await;
    assert_eq!(inside.expect("it commits"), 2000);
    let after: i64 = sqlx::query_scalar("PRAGMA busy_timeout")
        .fetch_one(&database.pool)
        .await
        .expect("a setting");
    assert_eq!(after, 1234);
}
