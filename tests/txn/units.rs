//! `cupping::txn` on real databases: retries, classification, the poisoned guard, the unknown
//! commit.

use crate::support::databases::PostgresDatabase;
use crate::support::metering;
use cupping::resilience::retryability::{Reason, Retryability};
use cupping::txn::{Transactor, TxnError, TxnOptions, work};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Executor, PgPool, Postgres, Sqlite};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Barrier;

/// Two rows, and deadlocks found fast.
async fn two_rows(database: &PostgresDatabase) -> PgPool {
    let options = database.options().options([("deadlock_timeout", "50ms")]);
    let pool = PgPoolOptions::new().max_connections(4).connect_with(options).await;
    let pool = pool.expect("PostgreSQL answers");
    let setup = "CREATE TABLE pair (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
                 INSERT INTO pair VALUES (1), (2)";
    pool.execute(setup).await.expect("the table is made");
    pool
}

fn quick() -> TxnOptions {
    TxnOptions { base_delay: Duration::from_millis(1), ..TxnOptions::default() }
}

#[tokio::test]
async fn deadlock_victim_is_retried_and_both_commit() {
    let recorder = metering::recorder();
    let _metrics = metrics::set_default_local_recorder(recorder);
    let database = PostgresDatabase::create().await;
    let pool = two_rows(&database).await;
    let transactor = Transactor::new(pool.clone());
    let barrier = Arc::new(Barrier::new(2));
    let runs = Arc::new(AtomicU32::new(0));

    let unit = |first: i32, second: i32| {
        let (transactor, barrier, runs) = (transactor.clone(), barrier.clone(), runs.clone());
        async move {
            let body = work!([barrier, runs] => |tx: Postgres| {
                let update = "UPDATE pair SET n = n + 1 WHERE id = $1";
                let run = runs.fetch_add(1, Ordering::SeqCst);
                tx.execute(sqlx::query(update).bind(first)).await?;
                if run < 2 {
                    barrier.wait().await;
                }
                tx.execute(sqlx::query(update).bind(second)).await?;
                Ok(())
            });
            transactor.run("cross", &TxnOptions { attempts: 20, ..quick() }, body).await
        }
    };
    let (one, other) = tokio::join!(unit(1, 2), unit(2, 1));
    one.expect("one commits");
    other.expect("the other commits");

    let rows: Vec<(i32,)> =
        sqlx::query_as("SELECT n FROM pair ORDER BY id").fetch_all(&pool).await.expect("rows");
    assert_eq!(rows, [(2,), (2,)]);
    // A victim that is back before the survivor has woken takes its first row again, and the two
    // deadlock once more: at least once, then, and every time counted as a deadlock and a retry.
    let again = f64::from(runs.load(Ordering::SeqCst) - 2);
    let deadlocks = metering::value(recorder, "cupping_deadlocks_total", &["relation=\"pair\""]);
    let labels = ["name=\"cross\"", "reason=\"deadlock\""];
    let retries = metering::value(recorder, "cupping_transaction_retries_total", &labels);
    assert!(again >= 1.0, "they were made to deadlock");
    assert_eq!((deadlocks, retries), (again, again));
    let labels = ["name=\"cross\"", "outcome=\"committed\""];
    assert_eq!(metering::value(recorder, "cupping_transactions_total", &labels), 2.0);
}

/// A table whose inserts fail with `code` the first `failures` times.
async fn failing_table(pool: &PgPool, code: &str, failures: u32) {
    let setup = format!(
        "CREATE SEQUENCE tries; CREATE TABLE brittle (id int PRIMARY KEY);
         CREATE FUNCTION brittle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF nextval('tries') <= {failures} THEN
             RAISE EXCEPTION 'forced' USING ERRCODE = '{code}';
           END IF; RETURN NEW; END $$;
         CREATE TRIGGER brittle BEFORE INSERT ON brittle FOR EACH ROW EXECUTE FUNCTION brittle()"
    );
    pool.execute(sqlx::AssertSqlSafe(setup)).await.expect("the table is made");
}

async fn insert(pool: &PgPool, options: &TxnOptions) -> Result<u64, TxnError> {
    let body = work!(|tx: Postgres| {
        Ok(tx.execute("INSERT INTO brittle VALUES (1)").await?.rows_affected())
    });
    Transactor::new(pool.clone()).run("brittle", options, body).await
}

#[tokio::test]
async fn forced_deadlocks_are_counted_exactly() {
    let recorder = metering::recorder();
    let _metrics = metrics::set_default_local_recorder(recorder);
    let database = PostgresDatabase::create().await;
    let pool = database.pool(2).await;
    failing_table(&pool, "40P01", 4).await;
    let options = TxnOptions { attempts: 5, ..quick() };
    assert_eq!(insert(&pool, &options).await.expect("the fifth attempt commits"), 1);
    let retries = |reason| {
        let labels = ["name=\"brittle\"", reason];
        metering::value(recorder, "cupping_transaction_retries_total", &labels)
    };
    assert_eq!(metering::value(recorder, "cupping_deadlocks_total", &[]), 4.0);
    assert_eq!(retries("reason=\"deadlock\""), 4.0);
    assert_eq!(metering::value(recorder, "cupping_retries_exhausted_total", &[]), 0.0);
}

#[tokio::test]
async fn used_up_attempts_end_as_exhausted_and_are_counted() {
    let recorder = metering::recorder();
    let _metrics = metrics::set_default_local_recorder(recorder);
    let database = PostgresDatabase::create().await;
    let pool = database.pool(2).await;
    failing_table(&pool, "40001", 99).await;
    let error = insert(&pool, &quick()).await.expect_err("it never commits");
    assert!(
        matches!(error, TxnError::Exhausted { attempts: 3, reason: Reason::Serialization, .. }),
        "{error}"
    );
    assert_eq!(error.code().as_deref(), Some("40001"));
    assert_eq!(error.retryability(), Retryability::Transient(Reason::Serialization));
    let labels = ["level=\"transaction\"", "reason=\"serialization\""];
    assert_eq!(metering::value(recorder, "cupping_retries_exhausted_total", &labels), 1.0);
    assert_eq!(metering::value(recorder, "cupping_transaction_retries_total", &[]), 2.0);
}

#[tokio::test]
async fn permanent_errors_are_not_retried() {
    let database = PostgresDatabase::create().await;
    let pool = two_rows(&database).await;
    let runs = Arc::new(AtomicU32::new(0));
    let body = work!([runs] => |tx: Postgres| {
        runs.fetch_add(1, Ordering::SeqCst);
        tx.execute("INSERT INTO pair VALUES (1)").await?;
        Ok(())
    });
    let error = Transactor::new(pool).run("double", &quick(), body).await.expect_err("a double");
    assert!(matches!(error, TxnError::Database { attempts: 1, .. }), "{error}");
    assert_eq!(error.code().as_deref(), Some("23505"));
    assert_eq!(error.retryability(), Retryability::Permanent);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn swallowed_error_refuses_commit() {
    let database = PostgresDatabase::create().await;
    let pool = two_rows(&database).await;
    let body = work!(|tx: Postgres| {
        tx.execute("INSERT INTO pair VALUES (3)").await?;
        let swallowed = tx.execute("INSERT INTO pair VALUES (1)").await;
        let refused = tx.execute("INSERT INTO pair VALUES (4)").await;
        assert!(swallowed.is_err() && refused.is_err(), "nothing is sent after a first error");
        Ok(())
    });
    let transactor = Transactor::new(pool.clone());
    let error = transactor.run("swallow", &quick(), body).await.expect_err("a refusal");
    assert!(matches!(error, TxnError::Poisoned { .. }), "{error}");
    assert_eq!(error.code().as_deref(), Some("23505"));
    let (rows,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM pair").fetch_one(&pool).await.expect("a count");
    assert_eq!(rows, 2);
}

#[tokio::test]
async fn a_failure_of_the_body_rolls_back_and_keeps_its_source() {
    let database = PostgresDatabase::create().await;
    let pool = two_rows(&database).await;
    let body = work!(|tx: Postgres| {
        tx.execute("DELETE FROM pair").await?;
        let number: i32 = "no number".parse()?;
        Ok(number)
    });
    let transactor = Transactor::new(pool.clone());
    let error = transactor.run("parse", &quick(), body).await.expect_err("a failure");
    assert!(matches!(error, TxnError::Body { .. }), "{error}");
    let (rows,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM pair").fetch_one(&pool).await.expect("a count");
    assert_eq!(rows, 2);
}

#[tokio::test]
async fn a_connection_lost_before_commit_is_retried_on_another() {
    let database = PostgresDatabase::create().await;
    let pool = two_rows(&database).await;
    let runs = Arc::new(AtomicU32::new(0));
    let body = work!([runs] => |tx: Postgres| {
        if runs.fetch_add(1, Ordering::SeqCst) == 0 {
            tx.execute("SELECT pg_terminate_backend(pg_backend_pid())").await?;
        }
        Ok(tx.execute("UPDATE pair SET n = 7").await?.rows_affected())
    });
    let done = Transactor::new(pool).run("cut", &quick(), body).await;
    assert_eq!(done.expect("the second connection commits"), 2);
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_connection_lost_in_commit_is_unknown_where_nobody_is_asked() {
    let database = PostgresDatabase::create().await;
    let pool = two_rows(&database).await;
    let setup = "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                   PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
                 CREATE CONSTRAINT TRIGGER cut AFTER UPDATE ON pair
                   DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION cut()";
    pool.execute(setup).await.expect("the trigger is made");
    let runs = Arc::new(AtomicU32::new(0));
    let body = work!([runs] => |tx: Postgres| {
        runs.fetch_add(1, Ordering::SeqCst);
        tx.execute("UPDATE pair SET n = 7").await?;
        Ok(())
    });
    let options = TxnOptions { resolve_commit: false, ..quick() };
    let error = Transactor::new(pool).run("cut", &options, body).await.expect_err("no answer");
    assert_eq!(error.retryability(), Retryability::OutcomeUnknown, "{error}");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_busy_sqlite_is_a_lock_timeout() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = SqliteConnectOptions::new()
        .filename(directory.path().join("busy.sqlite"))
        .create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(2).connect_with(options).await;
    let pool = pool.expect("SQLite opens");
    pool.execute("PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER)").await.expect("a table");
    let mut rival = pool.acquire().await.expect("a connection");
    rival.execute("BEGIN IMMEDIATE").await.expect("the rival writes");

    let transactor = Transactor::new(pool.clone());
    let options = TxnOptions { attempts: 2, lock_timeout: Duration::from_millis(20), ..quick() };
    let body = || {
        work!(|tx: Sqlite| { Ok(tx.execute("INSERT INTO t VALUES (1)").await?.rows_affected()) })
    };
    let error = transactor.run("busy", &options, body()).await.expect_err("the rival writes");
    assert!(
        matches!(error, TxnError::Exhausted { attempts: 2, reason: Reason::LockTimeout, .. }),
        "{error}"
    );
    assert_eq!(error.code().as_deref(), Some("5"));
    rival.execute("COMMIT").await.expect("the rival is done");
    assert_eq!(transactor.run("busy", &options, body()).await.expect("it is free"), 1);
}
