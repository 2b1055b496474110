//! Redis out of reach: calls end in time, the breaker opens, calls fail fast, and all comes back.

use crate::support::redis::{link_with, proxied, settings, touchy};
use crate::support::{eventually, metering, redis_url};
use cupping::resilience::breaker::BreakerState;
use cupping::resilience::retryability::{Reason, Retryability};
use cupping::txn::redis::{
    LinkError, LockError, LockSettings, OnceError, OnceOptions, RedisIdempotency, RedisLock,
    RedisSettings,
};
use std::convert::Infallible;
use std::time::{Duration, Instant};

const PATIENT: Duration = Duration::from_secs(20);

fn link_error(error: LockError) -> LinkError {
    let LockError::Unavailable { source, .. } = error else { panic!("{error}") };
    source
}

#[tokio::test]
async fn a_redis_that_refuses_opens_the_breaker_and_calls_fail_fast_until_it_is_back() {
    let recorder = metering::recorder();
    let _metrics = metrics::set_default_local_recorder(recorder);
    let breaker = touchy(Duration::from_millis(1500));
    let (proxy, link) = proxied(RedisSettings { name: "mine", breaker, ..settings() }).await;
    let lock = RedisLock::new(link.clone(), LockSettings::default());
    lock.acquire("s", "r").await.expect("free").release().await.expect("still held");
    proxy.refuse();
    proxy.cut();
    for _ in 0..2 {
        let error = link_error(lock.acquire("s", "r").await.expect_err("it is down"));
        assert!(matches!(error, LinkError::Unreachable { .. }), "{error}");
        assert_eq!(error.retryability(), Retryability::Transient(Reason::Connection));
    }
    let before = (proxy.accepted(), Instant::now());
    for _ in 0..100 {
        let error = link_error(lock.acquire("s", "r").await.expect_err("the breaker is open"));
        assert!(matches!(error, LinkError::Open(ref open) if open.name == "mine"), "{error}");
    }
    assert!(before.1.elapsed() < Duration::from_secs(1), "they do not wait");
    assert_eq!(proxy.accepted(), before.0, "nor knock");
    let rejected = &["name=\"mine\""];
    assert_eq!(metering::value(recorder, "cupping_breaker_rejections_total", rejected), 100.0);

    proxy.open();
    let back = async || match lock.acquire("s", "r").await {
        Ok(guard) => guard.release().await.is_ok(),
        Err(_) => false,
    };
    eventually("the first probe succeeds", PATIENT, back).await;
    assert_eq!(link.breaker().state(), BreakerState::Closed);
    let opened = metering::value(recorder, "cupping_breaker_transitions_total", &["\"open\""]);
    assert_eq!(opened, 1.0, "no probe failed");
}

#[tokio::test]
async fn a_redis_that_keeps_silent_is_an_outage_too() {
    let breaker = touchy(PATIENT);
    let (proxy, link) = proxied(RedisSettings { breaker, ..settings() }).await;
    let lock = RedisLock::new(link.clone(), LockSettings::default());
    proxy.freeze();
    for _ in 0..2 {
        let error = link_error(lock.try_acquire("s", "r").await.expect_err("no answer"));
        assert!(matches!(error, LinkError::NoAnswer { .. }), "{error}");
    }
    assert_eq!(link.breaker().state(), BreakerState::Open);
    let error = link_error(lock.try_acquire("s", "r").await.expect_err("the breaker is open"));
    assert!(matches!(error, LinkError::Open(_)), "{error}");
}

#[tokio::test]
async fn work_is_not_begun_without_its_record() {
    let (proxy, link) = proxied(RedisSettings { breaker: touchy(PATIENT), ..settings() }).await;
    proxy.refuse();
    let records = RedisIdempotency::new(link);
    for _ in 0..3 {
        let work = async || -> Result<(), Infallible> { panic!("it must not run") };
        let error = records.once("s", "k", "f", &OnceOptions::default(), work).await;
        let error = error.expect_err("Redis is down");
        assert!(matches!(error, OnceError::Unavailable { .. }), "{error}");
        assert!(error.retryability().is_outage());
    }
}

#[tokio::test]
async fn a_refusal_for_good_opens_nothing() {
    let settings = RedisSettings { breaker: touchy(PATIENT), ..settings() };
    let key = format!("{}:lock:{{1:s:r}}", settings.namespace);
    let client = redis::Client::open(redis_url()).expect("a URL");
    let mut redis = client.get_multiplexed_async_connection().await.expect("Redis answers");
    let list = redis::cmd("RPUSH").arg(&key).arg(1).exec_async(&mut redis).await;
    list.expect("a list where the lock would be");
    let link = link_with(settings);
    let lock = RedisLock::new(link.clone(), LockSettings::default());
    for _ in 0..5 {
        let error = link_error(lock.try_acquire("s", "r").await.expect_err("the wrong type"));
        assert!(matches!(error, LinkError::Refused { .. }), "{error}");
        assert_eq!(error.retryability(), Retryability::Permanent);
    }
    assert_eq!(link.breaker().state(), BreakerState::Closed);
    redis::cmd("DEL").arg(&key).exec_async(&mut redis).await.expect("it does");
}
