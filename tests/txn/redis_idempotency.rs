//! Work done once a key, on a real Redis.

use crate::support::redis::{link, link_with, proxied, settings, touchy};
use crate::support::{eventually, unique};
use cupping::resilience::retryability::Retryability;
use cupping::txn::redis::{Once, OnceError, OnceOptions, RedisIdempotency, RedisSettings, Twin};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

const PATIENT: Duration = Duration::from_secs(20);

/// Work that counts how often it ran and answers with that.
#[derive(Clone, Default)]
struct Effect(Arc<AtomicU32>);

impl Effect {
    async fn happen(&self) -> Result<u32, Infallible> {
        Ok(self.0.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn times(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

fn options() -> OnceOptions {
    OnceOptions { twin: Twin::Wait(PATIENT), ..OnceOptions::default() }
}

#[tokio::test]
async fn a_duplicate_gets_the_stored_result() {
    let (records, effect) = (RedisIdempotency::new(link()), Effect::default());
    let call = async || records.once("s", "k", "f", &options(), || effect.happen()).await;
    assert_eq!(call().await.expect("new"), Once::Fresh(1));
    for _ in 0..5 {
        assert_eq!(call().await.expect("stored"), Once::Replayed(1));
    }
    assert_eq!(effect.times(), 1);
}

#[tokio::test]
async fn keys_and_scopes_are_apart() {
    let (records, effect) = (RedisIdempotency::new(link()), Effect::default());
    for (n, (scope, key)) in (1..).zip([("a", "1"), ("a", "2"), ("b", "1")]) {
        let call = records.once(scope, key, "f", &options(), || effect.happen()).await;
        assert_eq!(call.expect("new"), Once::Fresh(n));
    }
}

#[tokio::test]
async fn a_key_used_for_something_else_is_refused_done_or_not() {
    let records = RedisIdempotency::new(link());
    let other = async || {
        let work = async || -> Result<(), Infallible> { panic!("it must not run") };
        records.once("s", "k", "other", &options(), work).await.expect_err("another fingerprint")
    };
    let work = async || {
        let error = other().await;
        assert!(matches!(error, OnceError::FingerprintMismatch { .. }), "{error}");
        Ok::<_, Infallible>(())
    };
    records.once("s", "k", "f", &options(), work).await.expect("new");
    let error = other().await;
    assert!(matches!(error, OnceError::FingerprintMismatch { ref key } if key == "s:k"), "{error}");
    assert_eq!(error.retryability(), Retryability::Permanent);
}

#[tokio::test]
async fn a_result_is_forgotten_after_its_time() {
    let (records, effect) = (RedisIdempotency::new(link()), Effect::default());
    let options = OnceOptions { ttl: Duration::from_millis(100), ..options() };
    let call = async || records.once("s", "k", "f", &options, || effect.happen()).await;
    assert_eq!(call().await.expect("new"), Once::Fresh(1));
    eventually("the key is new again", PATIENT, async || {
        call().await.expect("Redis answers") == Once::Fresh(2)
    })
    .await;
}

#[tokio::test]
async fn a_concurrent_twin_waits_for_the_result() {
    let settings = settings();
    let (effect, begun, go_on) = (Effect::default(), Notify::new(), Notify::new());
    let one = RedisIdempotency::new(link_with(settings.clone()));
    let other = RedisIdempotency::new(link_with(settings));
    let options = options();
    let work = async || {
        begun.notify_one();
        go_on.notified().await;
        effect.happen().await
    };
    let first = one.once("s", "k", "f", &options, work);
    let second = async {
        begun.notified().await;
        let refusing = OnceOptions { twin: Twin::Refuse, ..options.clone() };
        let refused = other.once("s", "k", "f", &refusing, || effect.happen()).await;
        let error = refused.expect_err("the first is at work");
        assert!(matches!(error, OnceError::InProgress { .. }), "{error}");
        let brief = OnceOptions { twin: Twin::Wait(Duration::from_millis(50)), ..options.clone() };
        let error = other.once("s", "k", "f", &brief, || effect.happen()).await;
        assert!(matches!(error, Err(OnceError::InProgress { .. })), "{error:?}");
        go_on.notify_one();
        other.once("s", "k", "f", &options, || effect.happen()).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.expect("new"), Once::Fresh(1));
    assert_eq!(second.expect("stored"), Once::Replayed(1));
}

#[tokio::test]
async fn of_many_at_once_exactly_one_works() {
    let (settings, effect) = (settings(), Effect::default());
    let call = async || {
        let records = RedisIdempotency::new(link_with(settings.clone()));
        records.once("s", "k", "f", &options(), || effect.happen()).await.expect("a result")
    };
    let results = futures_util::future::join_all((0..20).map(|_| call())).await;
    let fresh = results.iter().filter(|result| matches!(result, Once::Fresh(_))).count();
    assert_eq!((fresh, effect.times()), (1, 1));
    assert!(results.into_iter().all(|result| result.into_value() == 1));
}

#[tokio::test]
async fn work_that_failed_frees_its_key() {
    let (records, effect) = (RedisIdempotency::new(link()), Effect::default());
    let failing = async || Err::<u32, _>(std::io::Error::other("no"));
    let error = records.once("s", "k", "f", &options(), failing).await.expect_err("it fails");
    assert!(matches!(error, OnceError::Work(_)), "{error}");
    let refusing = OnceOptions { twin: Twin::Refuse, ..options() };
    let again = records.once("s", "k", "other", &refusing, || effect.happen()).await;
    assert_eq!(again.expect("free, for anything"), Once::Fresh(1));
}

#[tokio::test]
async fn a_crashed_worker_s_key_is_free_when_its_lease_is_over() {
    let (records, effect) = (RedisIdempotency::new(link()), Effect::default());
    let options = OnceOptions { lease: Duration::from_millis(200), ..options() };
    let begun = Notify::new();
    let crashing = records.once("s", "k", "f", &options, async || {
        begun.notify_one();
        std::future::pending::<Result<u32, Infallible>>().await
    });
    tokio::select! {
        result = crashing => panic!("it hangs: {result:?}"),
        () = begun.notified() => {}
    }
    let next = records.once("s", "k", "f", &options, || effect.happen()).await;
    assert_eq!(next.expect("the lease is over"), Once::Fresh(1));
}

#[tokio::test]
async fn a_living_worker_keeps_its_lease_however_long_it_takes() {
    let (records, effect) = (RedisIdempotency::new(link()), Effect::default());
    let lease = Duration::from_millis(900);
    let options = OnceOptions { lease, ..options() };
    let work = async || {
        // A twin waits through several leases and does not get to work.
        let brief = OnceOptions { twin: Twin::Wait(lease * 2), ..options.clone() };
        let twin = records.once("s", "k", "f", &brief, || effect.happen()).await;
        assert!(matches!(twin, Err(OnceError::InProgress { .. })), "{twin:?}");
        effect.happen().await
    };
    let result = records.once("s", "k", "f", &options, work).await;
    assert_eq!(result.expect("the lease was renewed"), Once::Fresh(1));
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_is_stopped_and_stores_nothing() {
    let settings = settings();
    let breaker = touchy(Duration::ZERO);
    let (proxy, link) = proxied(RedisSettings { breaker, ..settings.clone() }).await;
    let (one, other) = (RedisIdempotency::new(link), RedisIdempotency::new(link_with(settings)));
    let effect = Effect::default();
    let options = OnceOptions { lease: Duration::from_millis(300), ..options() };
    let cut_off = one.once("s", "k", "f", &options, async || {
        proxy.refuse();
        proxy.cut();
        std::future::pending::<Result<u32, Infallible>>().await
    });
    let error = cut_off.await.expect_err("it cannot renew");
    assert!(matches!(error, OnceError::LeaseLost { .. }), "{error}");
    assert_eq!(error.retryability(), Retryability::OutcomeUnknown);
    let next = other.once("s", "k", "f", &options, || effect.happen()).await;
    assert_eq!(next.expect("the lease is over"), Once::Fresh(1));
}

#[tokio::test]
async fn done_but_not_recorded_is_said_so() {
    let (proxy, link) = proxied(RedisSettings { breaker: touchy(PATIENT), ..settings() }).await;
    let effect = Effect::default();
    let (records, options) = (RedisIdempotency::new(link), options());
    let result = records.once("s", "k", "f", &options, async || {
        proxy.refuse();
        proxy.cut();
        effect.happen().await
    });
    let error = result.await.expect_err("it cannot be stored");
    assert!(matches!(error, OnceError::NotRecorded { .. }), "{error}");
    assert_eq!(effect.times(), 1);
}

#[tokio::test]
async fn an_answer_lost_on_the_way_does_not_make_a_worker_wait_for_itself() {
    let (proxy, link) = proxied(settings()).await;
    let (records, effect) = (RedisIdempotency::new(link), Effect::default());
    let key = unique("k");
    let call = async || {
        let work = || effect.happen();
        records.once("s", &key, "f", &OnceOptions::default(), work).await.expect("a result")
    };
    assert_eq!(call().await, Once::Fresh(1));
    proxy.cut();
    assert_eq!(call().await, Once::Replayed(1), "sent again over a new connection");
}

#[tokio::test]
async fn a_stored_result_of_another_type_is_said_so() {
    let (records, effect) = (RedisIdempotency::new(link()), Effect::default());
    records.once("s", "k", "f", &options(), || effect.happen()).await.expect("new");
    let work = async || Ok::<String, Infallible>(String::new());
    let error = records.once("s", "k", "f", &options(), work).await.expect_err("a number");
    assert!(matches!(error, OnceError::Unreadable { .. }), "{error}");
}
