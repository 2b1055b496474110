//! A caller that gives up stops the server, not only itself.

use crate::support::databases::PostgresDatabase;
use crate::support::mariadb::MariaDatabase;
use crate::support::{eventually, metering};
use cupping::txn::{Transactor, TxnError, TxnOptions, guarded, work};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::{Executor, MySql, PgPool, Postgres};
use std::time::Duration;

/// Everything on the server's side waits much longer than the test; the caller does not.
fn impatient() -> TxnOptions {
    TxnOptions {
        lock_timeout: Duration::from_secs(300),
        statement_timeout: Duration::from_secs(300),
        deadline: Duration::from_millis(300),
        ..TxnOptions::default()
    }
}

const LIMIT: Duration = Duration::from_secs(20);

/// Whether a session of this database waits for a lock.
async fn somebody_waits(pool: &PgPool) -> bool {
    let query = "SELECT count(*) > 0 FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'";
    sqlx::query_scalar(query).fetch_one(pool).await.expect("PostgreSQL answers")
}

#[tokio::test]
async fn the_deadline_cancels_the_statement_on_postgres() {
    let recorder = metering::recorder();
    let _metrics = metrics::set_default_local_recorder(recorder);
    let database = PostgresDatabase::create().await;
    let pool = database.pool(4).await;
    pool.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await.expect("t");
    let mut rival = pool.acquire().await.expect("a connection");
    rival.execute("BEGIN; UPDATE t SET id = 1").await.expect("the rival holds the row");

    // Each statement may take as long as was left when the transaction began: the second one would
    // outlive the deadline.
    let body = work!(|tx: Postgres| {
        tx.execute("SELECT pg_sleep(0.2)").await?;
        tx.execute("UPDATE t SET id = 2").await?;
        Ok(())
    });
    let error = Transactor::new(pool.clone()).run("zombie", &impatient(), body).await;
    assert!(matches!(error, Err(TxnError::Timeout { .. })), "{error:?}");
    // The rival never lets go: only a cancel ends the wait.
    eventually("nobody waits", LIMIT, async || !somebody_waits(&pool).await).await;
    eventually("it is counted", LIMIT, async || {
        metering::value(recorder, "cupping_statements_cancelled_total", &["zombie"]) == 1.0
    })
    .await;
    rival.execute("COMMIT").await.expect("the rival commits");
    let id: i32 = sqlx::query_scalar("SELECT id FROM t").fetch_one(&pool).await.expect("a row");
    assert_eq!(id, 1);
}

#[tokio::test]
async fn a_statement_that_meets_the_deadline_on_the_server_is_the_same_timeout() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(2).await;
    let body = work!(|tx: Postgres| {
        tx.execute("SELECT pg_sleep(600)").await?;
        Ok(())
    });
    let error = Transactor::new(pool).run("long", &impatient(), body).await;
    assert!(matches!(error, Err(TxnError::Timeout { .. })), "{error:?}");
}

#[tokio::test]
async fn a_dropped_caller_cancels_too() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(4).await;
    pool.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await.expect("t");
    let mut rival = pool.acquire().await.expect("a connection");
    rival.execute("BEGIN; UPDATE t SET id = 1").await.expect("the rival holds the row");
    let options = TxnOptions { deadline: Duration::from_secs(600), ..impatient() };
    let transactor = Transactor::new(pool.clone());
    let body = work!(|tx: Postgres| {
        tx.execute("UPDATE t SET id = 2").await?;
        Ok(())
    });
    tokio::select! {
        _ = transactor.run("dropped", &options, body) => panic!("the rival holds the row"),
        () = eventually("it waits", LIMIT, async || somebody_waits(&pool).await) => {}
    }
    eventually("nobody waits", LIMIT, async || !somebody_waits(&pool).await).await;
}

#[tokio::test]
async fn the_deadline_cancels_the_statement_on_mariadb_and_the_pool_stays_clean() {
    let database = MariaDatabase::create().await;
    let pool = guarded(MySqlPoolOptions::new().max_connections(4));
    let pool = pool.connect_with(database.options()).await.expect("MariaDB answers");
    pool.execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("a table");
    pool.execute("INSERT INTO t VALUES (1)").await.expect("a row");
    let mut rival = pool.acquire().await.expect("a connection");
    rival.execute("START TRANSACTION").await.expect("the rival begins");
    rival.execute("UPDATE t SET id = 3 WHERE id = 1").await.expect("the rival holds the row");

    let waiting = "SELECT COUNT(*) FROM information_schema.processlist
                   WHERE db = DATABASE() AND info LIKE 'UPDATE t SET id = 2%'";
    let waits = async || {
        let count: i64 = sqlx::query_scalar(waiting).fetch_one(&pool).await.expect("an answer");
        count > 0
    };
    let body = work!(|tx: MySql| {
        tx.execute("UPDATE t SET id = 2 WHERE id = 1").await?;
        Ok(())
    });
    let options = TxnOptions { deadline: Duration::from_secs(600), ..impatient() };
    let transactor = Transactor::new(pool.clone());
    tokio::select! {
        _ = transactor.run("zombie", &options, body) => panic!("the rival holds the row"),
        () = eventually("it waits", LIMIT, waits) => {}
    }
    eventually("nobody waits", LIMIT, async || !waits().await).await;
    rival.execute("ROLLBACK").await.expect("the rival is done");
    drop(rival);
    let id: i32 = sqlx::query_scalar("SELECT id FROM t").fetch_one(&pool).await.expect("a row");
    assert_eq!(id, 1);
}
