//! The breaker and the budget around a pool: what units of work feed them, and what they refuse.

use crate::support::databases::PostgresDatabase;
use crate::support::eventually;
use crate::support::proxy::Proxy;
use cupping::resilience::breaker::{BreakerSettings, BreakerState};
use cupping::resilience::budget::BudgetSettings;
use cupping::txn::{Breaker, RetryBudget, Transactor, TxnError, TxnOptions, work};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor, PgPool, Postgres};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const PATIENT: Duration = Duration::from_secs(20);

/// One attempt, quick to give up a lock.
fn once() -> TxnOptions {
    TxnOptions { attempts: 1, lock_timeout: Duration::from_millis(20), ..TxnOptions::default() }
}

fn touchy(open_for: Duration) -> Breaker {
    Breaker::new("pool", BreakerSettings { failures: 2, open_for, ..BreakerSettings::default() })
}

async fn select_one(transactor: &Transactor<Postgres>) -> Result<(), TxnError> {
    let body = work!(|tx: Postgres| {
        tx.execute("SELECT 1").await?;
        Ok(())
    });
    transactor.run("one", &once(), body).await
}

/// A pool through a proxy.
async fn proxied(database: &PostgresDatabase) -> (Proxy, PgPool) {
    let server = database.options();
    let proxy = Proxy::start(&format!("{}:{}", server.get_host(), server.get_port())).await;
    let (host, port) = (proxy.address.ip().to_string(), proxy.address.port());
    let options = PgPoolOptions::new().max_connections(2).test_before_acquire(false);
    let options = options.acquire_timeout(Duration::from_secs(2));
    let pool = options.connect_with(server.host(&host).port(port)).await;
    (proxy, pool.expect("PostgreSQL answers"))
}

#[tokio::test]
async fn an_outage_opens_the_pool_s_breaker_and_its_end_closes_it() {
    let database = PostgresDatabase::create().await;
    let (proxy, pool) = proxied(&database).await;
    let breaker = touchy(Duration::from_secs(1));
    let transactor = Transactor::new(pool).with_breaker(breaker.clone());
    select_one(&transactor).await.expect("it works");
    proxy.refuse();
    proxy.cut();
    for _ in 0..2 {
        let error = select_one(&transactor).await.expect_err("it is down");
        assert!(error.retryability().is_outage(), "{error}");
    }
    let error = select_one(&transactor).await.expect_err("refused");
    assert!(matches!(error, TxnError::Refused { .. }), "{error}");
    proxy.open();
    let back = async || select_one(&transactor).await.is_ok();
    eventually("a probe succeeds", PATIENT, back).await;
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test]
async fn lock_timeouts_and_refused_rows_are_answers_and_open_nothing() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(2).await;
    pool.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await.expect("t");
    let mut rival = pool.acquire().await.expect("a connection");
    rival.execute("BEGIN; SELECT * FROM t FOR UPDATE").await.expect("the rival locks");
    let breaker = touchy(PATIENT);
    let transactor = Transactor::new(pool.clone()).with_breaker(breaker.clone());
    for _ in 0..4 {
        let locked = work!(|tx: Postgres| {
            tx.execute("UPDATE t SET id = 2 WHERE id = 1").await?;
            Ok(())
        });
        transactor.run("locked", &once(), locked).await.expect_err("the rival has it");
        let twice = work!(|tx: Postgres| {
            tx.execute("INSERT INTO t VALUES (2), (2)").await?;
            Ok(())
        });
        transactor.run("twice", &once(), twice).await.expect_err("a duplicate");
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
    rival.execute("ROLLBACK").await.expect("the rival leaves");
}

/// What many callers share is shared: a storm of units that all fail is retried by the ratio and
/// the reserve, not by the attempts of each.
#[tokio::test]
async fn a_storm_of_failing_units_is_retried_within_the_budget() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(8).await;
    let settings = BudgetSettings { capacity: 5, ratio: 0.5, refill_per_second: 0.0 };
    let transactor = Transactor::new(pool.clone()).with_budget(RetryBudget::new(&settings));
    let mut rival = pool.acquire().await.expect("a connection");
    rival.execute("SELECT pg_advisory_lock(1)").await.expect("the rival locks");
    let attempts = Arc::new(AtomicU32::new(0));
    let options = TxnOptions {
        attempts: 10,
        base_delay: Duration::from_millis(1),
        lock_timeout: Duration::from_millis(5),
        ..TxnOptions::default()
    };
    let unit = async || {
        let body = work!([attempts] => |tx: Postgres| {
            attempts.fetch_add(1, Ordering::SeqCst);
            tx.execute("SELECT pg_advisory_xact_lock(1)").await?;
            Ok(())
        });
        transactor.run("storm", &options, body).await.expect_err("the rival has it")
    };
    let units = 20;
    let errors = futures_util::future::join_all((0..units).map(|_| unit())).await;
    assert!(errors.iter().any(|error| matches!(error, TxnError::BudgetSpent { .. })));
    let retries = attempts.load(Ordering::SeqCst) - units;
    assert!((5..=5 + units / 2).contains(&retries), "{retries} retries of {units} units");
}
