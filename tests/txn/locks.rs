//! Locks of `cupping::txn` on a real PostgreSQL: their order, their timeouts, the gate.

use crate::support::databases::PostgresDatabase;
use cupping::resilience::retryability::Reason;
use cupping::txn::{GateLock, LockKeys, Transactor, TxnError, TxnOptions, lock_key, work};
use sqlx::{Executor, PgPool, Postgres};
use std::time::Duration;

const GATE: GateLock = GateLock { class: 7, object: 1 };

fn impatient() -> TxnOptions {
    TxnOptions {
        attempts: 2,
        base_delay: Duration::from_millis(1),
        lock_timeout: Duration::from_millis(50),
        ..TxnOptions::default()
    }
}

/// Waits until a session waits for an advisory lock; returns how many it holds already.
async fn held_by_the_waiter(pool: &PgPool) -> i64 {
    let query = "SELECT count(g.*) FROM pg_locks w
                 LEFT JOIN pg_locks g ON g.pid = w.pid AND g.locktype = 'advisory' AND g.granted
                 WHERE w.locktype = 'advisory' AND NOT w.granted
                 GROUP BY w.pid";
    let looking = async {
        loop {
            let held = sqlx::query_scalar(query).fetch_optional(pool).await;
            if let Some(held) = held.expect("PostgreSQL answers") {
                return held;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), looking).await.expect("a session waits")
}

#[tokio::test]
async fn locks_are_taken_in_integer_order() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(4).await;
    let keys = LockKeys::new((0..9).map(|n| lock_key("bean", &n.to_string())));
    // Whoever holds the n-th key stops a unit that holds exactly the n keys below it.
    for (below, key) in keys.as_slice().iter().copied().enumerate() {
        let mut rival = pool.acquire().await.expect("a connection");
        sqlx::query("SELECT pg_advisory_lock($1)")
            .bind(key)
            .execute(&mut *rival)
            .await
            .expect("the rival locks");
        let transactor = Transactor::new(pool.clone());
        let unit = tokio::spawn({
            let keys = keys.clone();
            async move {
                let body = work!([keys] => |tx: Postgres| { tx.advisory_xact_locks(&keys).await });
                transactor.run("ordered", &TxnOptions::default(), body).await
            }
        });
        assert_eq!(held_by_the_waiter(&pool).await, i64::try_from(below).expect("small"));
        sqlx::query("SELECT pg_advisory_unlock($1)")
            .bind(key)
            .execute(&mut *rival)
            .await
            .expect("the rival unlocks");
        unit.await.expect("no panic").expect("all locks are granted");
    }
}

#[tokio::test]
async fn a_second_plan_below_the_first_is_refused() {
    let database = PostgresDatabase::create().await;
    let body = work!(|tx: Postgres| {
        tx.advisory_xact_locks(&LockKeys::new([5, 9])).await?;
        tx.advisory_xact_locks(&LockKeys::new([6])).await
    });
    let transactor = Transactor::new(database.pool(1).await);
    let error = transactor.run("twice", &TxnOptions::default(), body).await.expect_err("refused");
    assert!(matches!(error, TxnError::LockOrder { .. }), "{error}");
}

#[tokio::test]
async fn a_lock_not_granted_in_time_is_retried_then_exhausted_as_lock_timeout() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(2).await;
    let mut rival = pool.acquire().await.expect("a connection");
    rival.execute("SELECT pg_advisory_lock(1)").await.expect("the rival locks");
    let body = work!(|tx: Postgres| { tx.advisory_xact_locks(&LockKeys::new([1])).await });
    let transactor = Transactor::new(pool.clone());
    let error = transactor.run("blocked", &impatient(), body).await.expect_err("it is held");
    assert!(
        matches!(error, TxnError::Exhausted { attempts: 2, reason: Reason::LockTimeout, .. }),
        "{error}"
    );
    assert_eq!(error.code().as_deref(), Some("55P03"));
}

#[tokio::test]
async fn a_closed_gate_is_a_pause_and_an_open_one_is_shared() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(3).await;
    let mut rival = pool.acquire().await.expect("a connection");
    let share = "BEGIN; SELECT pg_advisory_xact_lock_shared(7, 1)";
    rival.execute(share).await.expect("the rival shares");
    let transactor = Transactor::new(pool.clone());
    let shared = work!(|tx: Postgres| { tx.gate_shared(GATE).await });
    transactor.run("gate", &impatient(), shared).await.expect("sharers do not wait");
    let alone = work!(|tx: Postgres| { tx.gate_exclusive(GATE).await });
    let error = transactor.run("gate", &impatient(), alone).await.expect_err("it is shared");
    assert!(error.is_pause(), "{error}");
    rival.execute("ROLLBACK").await.expect("the rival leaves");
}
