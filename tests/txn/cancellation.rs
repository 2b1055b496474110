//! What a caller that gives up leaves behind: nothing.

use crate::support::databases::PostgresDatabase;
use crate::support::metering;
use crate::support::polling::poll_and_drop;
use crate::support::proxy::Proxy;
use cupping::txn::{Transactor, TxnError, TxnOptions, guarded, work};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor, PgPool, Postgres, Row};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Whether the only connection of the pool is inside a transaction of somebody else.
async fn is_stale(pool: &PgPool) -> bool {
    let query = "SELECT transaction_timestamp() <> statement_timestamp()";
    // A simple query: a prepared one starts later than its own transaction.
    sqlx::raw_sql(query).fetch_one(pool).await.expect("PostgreSQL answers").get(0)
}

fn single() -> PgPoolOptions {
    PgPoolOptions::new().max_connections(1).test_before_acquire(false)
}

/// Begins a transaction that gets no answer, and gives up waiting; then the server answers.
#[expect(clippy::disallowed_methods, reason = "shows the hazard that the guard is there for")]
async fn begin_and_give_up(pool: &PgPool, proxy: &Proxy) {
    proxy.freeze();
    poll_and_drop(pool.begin(), 100).await;
    proxy.open();
}

#[tokio::test]
async fn cancelled_begin_leaves_no_open_transaction_under_the_guard() {
    let recorder = metering::recorder();
    let _metrics = metrics::set_default_local_recorder(recorder);
    let database = PostgresDatabase::create().await;
    let server = database.options();
    let proxy = Proxy::start(&format!("{}:{}", server.get_host(), server.get_port())).await;
    let (host, port) = (proxy.address.ip().to_string(), proxy.address.port());
    let options = || server.clone().host(&host).port(port);

    let bare = single().connect_with(options()).await.expect("PostgreSQL answers");
    begin_and_give_up(&bare, &proxy).await;
    assert!(is_stale(&bare).await, "without the guard the hazard shows; else this test is void");

    let pool = guarded(single()).connect_with(options()).await.expect("it answers");
    begin_and_give_up(&pool, &proxy).await;
    assert!(!is_stale(&pool).await);
    for _ in 0..20 {
        assert!(!is_stale(&pool).await, "a healthy connection stays");
    }
    assert_eq!(metering::value(recorder, "cupping_transactions_leaked_total", &[]), 1.0);
}

#[tokio::test]
async fn a_unit_dropped_at_any_point_leaves_no_open_transaction() {
    let database = PostgresDatabase::create().await;
    let pool = single().connect_with(database.options()).await.expect("PostgreSQL answers");
    pool.execute("CREATE TABLE t (id int)").await.expect("a table");
    let transactor = Transactor::new(pool.clone());
    for polls in 0..12 {
        let body = work!(|tx: Postgres| {
            tx.execute("INSERT INTO t VALUES (1)").await?;
            tx.execute("INSERT INTO t VALUES (2)").await?;
            Ok(())
        });
        poll_and_drop(transactor.run("dropped", &TxnOptions::default(), body), polls).await;
        assert!(!is_stale(&pool).await, "dropped after {polls} polls");
    }
    let odd: i64 = sqlx::query_scalar(
        "SELECT count(*) FILTER (WHERE id = 1) - \
         count(*) FILTER (WHERE id = 2) FROM t",
    )
    .fetch_one(&pool)
    .await
    .expect("a count");
    assert_eq!(odd, 0, "each unit is there whole or not at all");
}

#[tokio::test]
async fn dropping_the_caller_rolls_back_and_sends_nothing_more() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(2).await;
    pool.execute("CREATE TABLE t (id int)").await.expect("a table");
    let (inserted, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let transactor = Transactor::new(pool.clone());
    let options = TxnOptions::default();
    let body = work!([inserted, go_on] => |tx: Postgres| {
        tx.execute("INSERT INTO t VALUES (1)").await?;
        inserted.notify_one();
        go_on.notified().await;
        tx.execute("INSERT INTO t VALUES (2)").await?;
        Ok(())
    });
    tokio::select! {
        _ = transactor.run("dropped", &options, body) => panic!("the body waits"),
        () = inserted.notified() => {}
    }
    go_on.notify_one();
    // The lock waits until the unit has ended, one way or the other.
    let count = "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; COMMIT";
    pool.execute(count).await.expect("the unit ends");
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&pool).await.expect("a count");
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn a_passed_deadline_is_a_timeout_and_nothing_is_written() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(2).await;
    pool.execute("CREATE TABLE t (id int)").await.expect("a table");
    let go_on = Arc::new(Notify::new());
    let options = TxnOptions { deadline: Duration::from_millis(200), ..TxnOptions::default() };
    let body = work!([go_on] => |tx: Postgres| {
        tx.execute("INSERT INTO t VALUES (1)").await?;
        go_on.notified().await;
        Ok(())
    });
    let error = Transactor::new(pool.clone()).run("late", &options, body).await.expect_err("late");
    assert!(matches!(error, TxnError::Timeout { .. }), "{error}");
    go_on.notify_one();
    pool.execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; COMMIT").await.expect("it ends");
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&pool).await.expect("a count");
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn a_panicking_body_is_rolled_back_and_its_connection_closed() {
    let database = PostgresDatabase::create().await;
    let pool = single().connect_with(database.options()).await.expect("PostgreSQL answers");
    pool.execute("CREATE TABLE t (id int)").await.expect("a table");
    let body = work!(|tx: Postgres| {
        tx.execute("INSERT INTO t VALUES (1)").await?;
        assert!(std::hint::black_box(false), "forced");
        Ok(())
    });
    let transactor = Transactor::new(pool.clone());
    let error = transactor.run("panic", &TxnOptions::default(), body).await.expect_err("a panic");
    assert!(matches!(error, TxnError::Panicked { .. }), "{error}");
    assert!(!is_stale(&pool).await);
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&pool).await.expect("a count");
    assert_eq!(rows, 0);
}
