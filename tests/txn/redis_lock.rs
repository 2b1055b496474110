//! The Redis lock by behaviour, on a real Redis.

use crate::support::redis::{link, link_with, proxied, settings, touchy};
use crate::support::{eventually, metering, redis_url};
use cupping::resilience::breaker::{BreakerSettings, BreakerState};
use cupping::txn::redis::{LockError, LockSettings, RedisLock, RedisSettings};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const PATIENT: Duration = Duration::from_secs(20);

/// Lives long, is not extended by itself, is not waited for.
fn plain() -> LockSettings {
    LockSettings {
        ttl: Duration::from_secs(60),
        heartbeat: false,
        timeout: Duration::ZERO,
        ..LockSettings::default()
    }
}

fn brief(ttl: Duration) -> LockSettings {
    LockSettings { ttl, ..plain() }
}

fn waiting() -> LockSettings {
    LockSettings { timeout: PATIENT, ..plain() }
}

/// Two processes that share a Redis and a namespace.
fn two(one: LockSettings, other: LockSettings) -> (RedisLock, RedisLock) {
    let settings = settings();
    let first = RedisLock::new(link_with(settings.clone()), one);
    (first, RedisLock::new(link_with(settings), other))
}

#[tokio::test]
async fn a_lock_is_exclusive_until_it_is_released() {
    let recorder = metering::recorder();
    let _metrics = metrics::set_default_local_recorder(recorder);
    let (one, other) = two(plain(), plain());
    let guard = one.acquire("s", "r").await.expect("free");
    assert!(guard.remaining() > Duration::from_secs(50));
    assert!(other.try_acquire("s", "r").await.expect("Redis answers").is_none());
    guard.release().await.expect("still held");
    let guard = other.try_acquire("s", "r").await.expect("Redis answers").expect("free again");
    guard.release().await.expect("still held");
    let counted =
        |outcome| metering::value(recorder, "cupping_redis_lock_acquisitions_total", &[outcome]);
    assert_eq!((counted("acquired"), counted("busy")), (2.0, 1.0));
    assert_eq!(metering::value(recorder, "cupping_redis_lock_wait_seconds_count", &[]), 1.0);
}

#[tokio::test]
async fn other_resources_and_scopes_do_not_exclude() {
    let lock = RedisLock::new(link(), plain());
    let names = [("a", "1"), ("a", "2"), ("b", "1"), ("a:1", ""), ("a", ":1")];
    let mut guards = Vec::new();
    for (scope, resource) in names {
        let guard = lock.try_acquire(scope, resource).await.expect("Redis answers");
        guards.push(guard.unwrap_or_else(|| panic!("{scope} {resource} is its own")));
    }
    for guard in guards {
        guard.release().await.expect("still held");
    }
}

#[tokio::test]
async fn many_that_wait_hold_it_one_after_the_other() {
    let settings = settings();
    let (inside, most, done) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    let worker = async || {
        let fast = LockSettings { max_delay: Duration::from_millis(30), ..waiting() };
        let lock = RedisLock::new(link_with(settings.clone()), fast);
        for _ in 0..5 {
            let guard = lock.acquire("s", "r").await.expect("in time");
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            inside.fetch_sub(1, Ordering::SeqCst);
            done.fetch_add(1, Ordering::SeqCst);
            guard.release().await.expect("still held");
        }
    };
    futures_util::future::join_all((0..8).map(|_| worker())).await;
    assert_eq!((most.into_inner(), done.into_inner()), (1, 40));
}

#[tokio::test]
async fn an_acquisition_ends_at_its_timeout_and_names_the_lock() {
    let timeout = Duration::from_millis(150);
    let (one, other) = two(plain(), LockSettings { timeout, ..plain() });
    let guard = one.acquire("schedule", "7").await.expect("free");
    let error = other.acquire("schedule", "7").await.expect_err("it is held");
    let LockError::Timeout { name, waited } = error else { panic!("{error}") };
    assert_eq!(name, "schedule:7");
    assert!(waited >= timeout && waited < PATIENT, "{waited:?}");
    guard.release().await.expect("still held");
}

#[tokio::test]
async fn an_expired_lock_is_free_and_its_holder_is_told() {
    let recorder = metering::recorder();
    let _metrics = metrics::set_default_local_recorder(recorder);
    let (one, other) = two(brief(Duration::from_millis(100)), waiting());
    let old = one.acquire("s", "r").await.expect("free");
    let new = other.acquire("s", "r").await.expect("it expires");
    tokio::time::timeout(PATIENT, old.lost().cancelled()).await.expect("it is told");
    assert_eq!(old.remaining(), Duration::ZERO);
    let work = old.while_held(std::future::pending::<()>()).await;
    assert!(matches!(work, Err(LockError::Lost { .. })));
    assert!(matches!(old.extend(PATIENT).await, Err(LockError::Lost { .. })));
    let released = old.release().await;
    assert!(matches!(released, Err(LockError::NotHeld { .. })), "{released:?}");
    new.extend(PATIENT).await.expect("the release of the old holder did nothing");
    new.release().await.expect("still held");
    assert_eq!(metering::value(recorder, "cupping_redis_locks_lost_total", &["expired"]), 1.0);
}

#[tokio::test]
async fn extended_by_hand_it_outlives_its_first_time_and_never_gets_shorter() {
    let ttl = Duration::from_secs(1);
    let (one, other) = two(brief(ttl), LockSettings { timeout: ttl * 2, ..plain() });
    let guard = one.acquire("s", "r").await.expect("free");
    guard.extend(PATIENT * 10).await.expect("held");
    guard.extend(Duration::from_millis(1)).await.expect("held");
    assert!(guard.remaining() > PATIENT * 9);
    let error = other.acquire("s", "r").await.expect_err("it is held");
    assert!(matches!(error, LockError::Timeout { .. }), "{error}");
    assert!(!guard.lost().is_cancelled());
    guard.release().await.expect("still held");
}

#[tokio::test]
async fn extended_by_its_heartbeat_it_outlives_its_first_time() {
    let ttl = Duration::from_millis(1200);
    let beating = LockSettings { heartbeat: true, ..brief(ttl) };
    let (one, other) = two(beating, LockSettings { timeout: ttl * 2, ..plain() });
    let guard = one.acquire("s", "r").await.expect("free");
    let error = other.acquire("s", "r").await.expect_err("it is held");
    assert!(matches!(error, LockError::Timeout { .. }), "{error}");
    assert!(guard.remaining() > Duration::ZERO);
    guard.release().await.expect("still held");
    other.try_acquire("s", "r").await.expect("Redis answers").expect("the heartbeat has ended");
}

#[tokio::test]
async fn a_lock_taken_away_is_noticed_by_the_heartbeat() {
    let settings = settings();
    let beating = LockSettings { heartbeat: true, ttl: Duration::from_secs(3), ..plain() };
    let lock = RedisLock::new(link_with(settings.clone()), beating);
    let guard = lock.acquire("s", "r").await.expect("free");
    // What a failover to a replica that never heard of the lock does.
    let client = redis::Client::open(redis_url()).expect("a URL");
    let mut redis = client.get_multiplexed_async_connection().await.expect("Redis answers");
    let key = format!("{}:lock:{{1:s:r}}", settings.namespace);
    let deleted: u32 = redis::cmd("DEL").arg(key).query_async(&mut redis).await.expect("it does");
    assert_eq!(deleted, 1);
    let rival = lock.try_acquire("s", "r").await.expect("Redis answers").expect("it is free");
    tokio::time::timeout(PATIENT, guard.lost().cancelled()).await.expect("it is told");
    assert!(rival.token() > guard.token());
    assert!(guard.release().await.is_err());
    rival.release().await.expect("the rival has it still");
}

#[tokio::test]
async fn a_dropped_guard_frees_the_lock() {
    let (one, other) = two(plain(), waiting());
    drop(one.acquire("s", "r").await.expect("free"));
    other.acquire("s", "r").await.expect("long before it would expire");
}

#[tokio::test]
async fn an_acquisition_dropped_after_it_was_sent_frees_the_lock() {
    let settings = settings();
    let (proxy, link) = proxied(settings.clone()).await;
    let through = RedisLock::new(link, plain());
    through.acquire("s", "warm").await.expect("free").release().await.expect("still held");
    let direct = RedisLock::new(link_with(settings), waiting());
    proxy.freeze();
    // Polled until it waits for the answer, then given up.
    let given_up = tokio::time::timeout(Duration::from_millis(50), through.acquire("s", "r")).await;
    assert!(given_up.is_err());
    proxy.open();
    let guard = direct.acquire("s", "r").await.expect("long before it would expire");
    // The two, sent over one connection, have been executed, in this order.
    guard.release().await.expect("still held");
}

#[tokio::test]
async fn tokens_rise_from_holder_to_holder_whoever_they_are() {
    let (one, other) = two(plain(), plain());
    let mut last = None;
    for lock in [&one, &other].into_iter().cycle().take(50) {
        let guard = lock.acquire("s", "r").await.expect("free");
        assert!(Some(guard.token()) > last, "{last:?} then {}", guard.token());
        last = Some(guard.token());
        guard.release().await.expect("still held");
    }
    assert!(last.expect("fifty").number() < 1 << 53);
}

#[tokio::test]
async fn work_under_a_lock_that_stays_runs_to_its_end() {
    let lock = RedisLock::new(link(), plain());
    let guard = lock.acquire("s", "r").await.expect("free");
    assert_eq!(guard.while_held(async { 7 }).await.expect("held"), 7);
    guard.release().await.expect("still held");
}

#[tokio::test]
async fn a_cut_connection_is_made_anew_without_an_error() {
    let (proxy, link) = proxied(settings()).await;
    let lock = RedisLock::new(link, plain());
    let guard = lock.acquire("s", "r").await.expect("free");
    proxy.cut();
    guard.extend(PATIENT * 10).await.expect("the second connection answers");
    assert_eq!(proxy.accepted(), 2);
    guard.release().await.expect("still held");
}

#[tokio::test]
async fn an_outage_shorter_than_the_lock_s_life_is_survived() {
    // Open after one failure, and whoever asks then is a probe.
    let breaker = BreakerSettings { failures: 1, ..touchy(Duration::ZERO) };
    let (proxy, link) = proxied(RedisSettings { breaker, ..settings() }).await;
    let beating = LockSettings { heartbeat: true, ttl: Duration::from_secs(3), ..plain() };
    let guard = RedisLock::new(link.clone(), beating).acquire("s", "r").await.expect("free");
    proxy.refuse();
    proxy.cut();
    let failed = async || link.breaker().state() == BreakerState::Open;
    eventually("a beat fails", PATIENT, failed).await;
    proxy.open();
    let first = guard.remaining();
    eventually("a later beat extends it", PATIENT, async || guard.remaining() > first).await;
    assert!(!guard.lost().is_cancelled());
    guard.release().await.expect("still held");
}
