//! The shared breaker: what it counts, who gets through, what it says in numbers.

use crate::support::{eventually, metering};
use cupping::resilience::breaker::{BreakerSettings, BreakerState};
use cupping::resilience::retryability::{Reason, Retryability};
use cupping::txn::Breaker;
use cupping::txn::breaker::CallError;
use std::io;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

fn breaker(open_for: Duration) -> Breaker {
    Breaker::new("test", BreakerSettings { open_for, ..BreakerSettings::default() })
}

fn fail(breaker: &Breaker, times: u32) {
    for _ in 0..times {
        breaker.admit().expect("closed").failure();
    }
}

/// An open one whose time is over at once, so that whoever asks is a probe.
fn due() -> Breaker {
    let breaker = breaker(Duration::ZERO);
    fail(&breaker, 5);
    assert_eq!(breaker.state(), BreakerState::Open);
    breaker
}

#[test]
fn an_outage_opens_it_and_calls_are_refused_by_name() {
    let recorder = metering::recorder();
    let _metrics = metrics::set_default_local_recorder(recorder);
    let breaker = breaker(LONG);
    let value = |name, labels: &[&str]| metering::value(recorder, name, labels);
    fail(&breaker, 4);
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(value("cupping_breaker_state", &["name=\"test\""]), 0.0);
    fail(&breaker, 1);
    let refused = breaker.admit().expect_err("open");
    assert_eq!(refused.name, "test");
    assert!(refused.retry_after > LONG / 2 && refused.retry_after <= LONG);
    assert!(refused.retryability().is_outage());
    assert_eq!(value("cupping_breaker_state", &["name=\"test\""]), 2.0);
    assert_eq!(value("cupping_breaker_rejections_total", &["name=\"test\""]), 1.0);
    assert_eq!(value("cupping_breaker_transitions_total", &["to=\"open\""]), 1.0);
}

#[test]
fn deadlocks_serialization_failures_and_lock_timeouts_never_open_it() {
    let breaker = breaker(LONG);
    for reason in [Reason::Deadlock, Reason::Serialization, Reason::LockTimeout] {
        for _ in 0..20 {
            breaker.admit().expect("closed").settle(Retryability::Transient(reason));
        }
    }
    for _ in 0..20 {
        breaker.admit().expect("closed").settle(Retryability::Permanent);
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
    for reason in [Reason::Connection, Reason::Overload].into_iter().cycle().take(5) {
        breaker.admit().expect("closed").settle(Retryability::Transient(reason));
    }
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn a_probe_that_succeeds_closes_it() {
    let breaker = due();
    let probe = breaker.admit().expect("a probe");
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    probe.success();
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn a_probe_that_fails_opens_it_again() {
    let breaker = due();
    breaker.admit().expect("a probe").failure();
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[tokio::test]
async fn a_dropped_probe_gives_its_place_back() {
    let open_for = Duration::from_millis(500);
    let breaker = breaker(open_for);
    fail(&breaker, 5);
    let mut probe = None;
    eventually("the open time passes", LONG, async || {
        probe = breaker.admit().ok();
        probe.is_some()
    })
    .await;
    assert!(breaker.admit().is_err(), "one probe at a time");
    drop(probe);
    assert_eq!(breaker.state(), BreakerState::HalfOpen, "nothing was learnt");
    breaker.admit().expect("the place is free").success();
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test]
async fn a_call_settles_by_its_result_and_a_dropped_call_does_not() {
    let breaker = breaker(LONG);
    let lost = |_: &io::Error| Retryability::Transient(Reason::Connection);
    for _ in 0..10 {
        let hanging = breaker.call(std::future::pending::<Result<(), io::Error>>(), lost);
        tokio::select! {
            biased;
            _ = hanging => panic!("it never ends"),
            () = std::future::ready(()) => {}
        }
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
    for _ in 0..5 {
        let failing = async { Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionReset)) };
        let error = breaker.call(failing, lost).await.expect_err("it fails");
        assert!(matches!(error, CallError::Failed(_)), "{error}");
    }
    let made = std::cell::Cell::new(false);
    let call = async {
        made.set(true);
        Ok::<_, io::Error>(())
    };
    let error = breaker.call(call, lost).await.expect_err("open");
    assert!(matches!(error, CallError::Open(_)), "{error}");
    assert!(!made.get(), "the call is not made");
}
