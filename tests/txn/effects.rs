//! Effects after the commit, and what may not happen inside a body.

use crate::support::databases::PostgresDatabase;
use cupping::txn::{Transactor, TxnError, TxnOptions, work};
use sqlx::{Executor, Postgres};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn quick() -> TxnOptions {
    TxnOptions { base_delay: Duration::from_millis(1), ..TxnOptions::default() }
}

#[tokio::test]
async fn effects_run_once_in_order_after_the_commit_of_the_attempt_that_committed() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(3).await;
    pool.execute("CREATE TABLE t (id int)").await.expect("a table");
    let (runs, seen) = (Arc::new(AtomicU32::new(0)), Arc::new(Mutex::new(Vec::new())));
    let body = work!([runs, seen, pool] => |tx: Postgres| {
        let run = runs.fetch_add(1, Ordering::SeqCst);
        tx.execute("INSERT INTO t VALUES (1)").await?;
        for step in ["first", "second"] {
            let (seen, pool) = (seen.clone(), pool.clone());
            tx.after_commit(move || async move {
                let visible: i64 = sqlx::query_scalar("SELECT count(*) FROM t")
                    .fetch_one(&pool)
                    .await
                    .expect("a count");
                seen.lock().expect("no panic").push((step, run, visible));
            });
        }
        let forgotten = work!([seen] => |tx: Postgres| {
            let seen = seen.clone();
            tx.after_commit(move || async move {
                seen.lock().expect("no panic").push(("undone", run, 0));
            });
            let undone: Result<(), _> = Err(cupping::txn::BodyError::own("undone"));
            undone
        });
        assert!(tx.scope(forgotten).await.is_err());
        if run == 0 {
            return Err(cupping::txn::BodyError::conflict("once more"));
        }
        Ok(())
    });
    Transactor::new(pool).run("effects", &quick(), body).await.expect("the second run commits");
    assert_eq!(*seen.lock().expect("no panic"), [("first", 1, 1), ("second", 1, 1)]);
}

#[tokio::test]
async fn effects_of_a_failed_unit_never_run_and_a_panicking_one_hides_no_commit() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(2).await;
    pool.execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("a table");
    let ran = Arc::new(AtomicU32::new(0));
    let transactor = Transactor::new(pool);
    let body = || {
        work!([ran] => |tx: Postgres| {
            let ran = ran.clone();
            tx.after_commit(move || async move {
                ran.fetch_add(1, Ordering::SeqCst);
                assert!(std::hint::black_box(false), "forced");
            });
            Ok(tx.execute("INSERT INTO t VALUES (1)").await?.rows_affected())
        })
    };
    let done = transactor.run("once", &quick(), body()).await;
    assert_eq!(done.expect("the commit stands"), 1);
    transactor.run("once", &quick(), body()).await.expect_err("a duplicate");
    assert_eq!(ran.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_unit_inside_a_body_is_refused_and_one_in_an_effect_is_not() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(3).await;
    let transactor = Transactor::new(pool);
    let inside = transactor.clone();
    let body = work!([inside] => |tx: Postgres| {
        tx.execute("SELECT 1").await?;
        let inner = work!(|tx: Postgres| { Ok(tx.execute("SELECT 1").await?.rows_affected()) });
        Ok(inside.run("inner", &TxnOptions::default(), inner).await?)
    });
    let error = transactor.run("outer", &quick(), body).await.expect_err("refused");
    assert!(error.to_string().contains("inside the body of transaction outer"), "{error}");

    let (report, reported) = tokio::sync::oneshot::channel();
    let report = Arc::new(Mutex::new(Some(report)));
    let body = work!([inside, report] => |tx: Postgres| {
        let (later, report) = (inside.clone(), report.clone());
        tx.after_commit(move || async move {
            let inner = work!(|tx: Postgres| { Ok(tx.execute("SELECT 1").await?.rows_affected()) });
            let done = later.run("later", &TxnOptions::default(), inner).await;
            let report = report.lock().expect("no panic").take().expect("effects run once");
            report.send(done).expect("the test waits");
        });
        Ok(tx.execute("SELECT 1").await?.rows_affected())
    });
    transactor.run("outer", &quick(), body).await.expect("it commits");
    assert!(matches!(reported.await.expect("it ran"), Ok(1)));
    let nested = TxnError::Nested { name: "a", outer: "b" };
    assert_eq!(nested.retryability(), cupping::resilience::retryability::Retryability::Permanent);
}

#[tokio::test]
async fn existing_code_runs_on_the_connection_and_what_it_swallows_refuses_the_commit() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(2).await;
    pool.execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("a table");
    let transactor = Transactor::new(pool.clone());
    let body = work!(|tx: Postgres| {
        tx.with_connection(|connection| {
            Box::pin(async move {
                sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *connection).await?;
                sqlx::query("INSERT INTO t VALUES (1)").execute(connection).await.ok();
                Ok(())
            })
        })
        .await
    });
    let error = transactor.run("legacy", &quick(), body).await.expect_err("a swallowed duplicate");
    assert_eq!(error.code().as_deref(), Some("25P02"), "{error}");
    let body = work!(|tx: Postgres| {
        tx.with_connection(|connection| {
            Box::pin(
                async move { sqlx::query("INSERT INTO t VALUES (2)").execute(connection).await },
            )
        })
        .await?;
        Ok(())
    });
    transactor.run("legacy", &quick(), body).await.expect("it commits");
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&pool).await.expect("a count");
    assert_eq!(count, 1);
}
