//! The breaker by example, and against all orders of events.

use super::super::retryability::Reason;
use super::*;
use proptest::prelude::*;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn fail(machine: &mut BreakerMachine, now: Duration) -> Option<BreakerState> {
    let call = machine.admit(now).expect("admitted");
    machine.settle(call, Settlement::Failure, now)
}

fn opened() -> BreakerMachine {
    let mut machine = BreakerMachine::new(BreakerSettings::default());
    for _ in 0..4 {
        assert_eq!(fail(&mut machine, at(0)), None);
    }
    assert_eq!(fail(&mut machine, at(0)), Some(BreakerState::Open));
    machine
}

#[test]
fn failures_in_the_window_open_it_and_older_ones_do_not_count() {
    let mut machine = BreakerMachine::new(BreakerSettings::default());
    for second in [0, 20, 40, 59, 60, 80] {
        assert_eq!(fail(&mut machine, at(second)), None, "at {second} s");
    }
    assert_eq!(fail(&mut machine, at(81)), Some(BreakerState::Open), "40, 59, 60, 80, 81");
}

#[test]
fn successes_between_failures_do_not_hide_them() {
    let mut machine = BreakerMachine::new(BreakerSettings::default());
    for n in 1..=5 {
        let call = machine.admit(at(n)).expect("closed");
        assert_eq!(machine.settle(call, Settlement::Success, at(n)), None);
        let opens = (n == 5).then_some(BreakerState::Open);
        assert_eq!(fail(&mut machine, at(n)), opens);
    }
}

#[test]
fn an_open_breaker_says_how_long_and_lets_one_probe_through_after() {
    let mut machine = opened();
    assert_eq!(machine.admit(at(1)), Err(at(59)));
    let probe = machine.admit(at(60)).expect("a probe");
    assert_eq!(machine.state(), BreakerState::HalfOpen);
    assert_eq!(machine.admit(at(61)), Err(at(59)), "one at a time");
    assert_eq!(machine.settle(probe, Settlement::Failure, at(62)), Some(BreakerState::Open));
    assert_eq!(machine.admit(at(62)), Err(at(60)), "the whole time again");
    let probe = machine.admit(at(122)).expect("another probe");
    assert_eq!(machine.settle(probe, Settlement::Success, at(123)), Some(BreakerState::Closed));
    assert_eq!(fail(&mut machine, at(124)), None, "the count starts anew");
}

#[test]
fn a_probe_that_learnt_nothing_frees_its_slot() {
    let mut machine = opened();
    let probe = machine.admit(at(60)).expect("a probe");
    assert_eq!(machine.settle(probe, Settlement::Neutral, at(61)), None);
    assert_eq!(machine.state(), BreakerState::HalfOpen);
    machine.admit(at(61)).expect("the next probe");
}

#[test]
fn a_probe_that_hangs_does_not_keep_it_shut_for_ever() {
    let mut machine = opened();
    let hanging = machine.admit(at(60)).expect("a probe");
    assert_eq!(machine.admit(at(119)), Err(at(1)));
    let next = machine.admit(at(120)).expect("the first hangs");
    assert_eq!(machine.settle(hanging, Settlement::Failure, at(121)), None, "too late");
    assert_eq!(machine.settle(next, Settlement::Success, at(121)), Some(BreakerState::Closed));
}

#[test]
fn an_answer_to_an_earlier_phase_changes_nothing() {
    let mut machine = BreakerMachine::new(BreakerSettings::default());
    let early = machine.admit(at(0)).expect("closed");
    let other = machine.admit(at(0)).expect("closed");
    for _ in 0..5 {
        fail(&mut machine, at(0));
    }
    assert_eq!(machine.settle(early, Settlement::Failure, at(1)), None);
    let _probe = machine.admit(at(60)).expect("a probe");
    assert_eq!(machine.settle(other, Settlement::Success, at(61)), None);
    assert_eq!(machine.state(), BreakerState::HalfOpen);
}

#[test]
fn several_successes_may_be_asked_for() {
    let settings = BreakerSettings { failures: 1, successes: 2, ..BreakerSettings::default() };
    let mut machine = BreakerMachine::new(settings);
    fail(&mut machine, at(0));
    let probe = machine.admit(at(60)).expect("a probe");
    assert_eq!(machine.settle(probe, Settlement::Success, at(60)), None);
    let probe = machine.admit(at(60)).expect("a second probe");
    assert_eq!(machine.settle(probe, Settlement::Success, at(60)), Some(BreakerState::Closed));
}

#[test]
fn only_an_outage_is_a_failure() {
    for reason in Reason::ALL {
        let failure = Settlement::of(Retryability::Transient(reason)) == Settlement::Failure;
        assert_eq!(failure, matches!(reason, Reason::Connection | Reason::Overload), "{reason:?}");
    }
    assert_eq!(Settlement::of(Retryability::OutcomeUnknown), Settlement::Failure);
    assert_eq!(Settlement::of(Retryability::Permanent), Settlement::Success);
}

/// One event of a random history.
#[derive(Debug, Clone)]
enum Event {
    Pass(u64),
    Admit,
    Settle(usize, Settlement),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let settlement = prop_oneof![
        1 => Just(Settlement::Success),
        3 => Just(Settlement::Failure),
        1 => Just(Settlement::Neutral),
    ];
    let event = prop_oneof![
        1 => (0u64..40).prop_map(Event::Pass),
        2 => Just(Event::Admit),
        2 => (any::<prop::sample::Index>(), settlement)
            .prop_map(|(index, settlement)| Event::Settle(index.index(1000), settlement)),
    ];
    prop::collection::vec(event, 1..300)
}

proptest! {
    #[test]
    fn in_any_history_an_open_one_admits_nobody_and_a_half_open_one_few(
        failures in 0u32..4, probes in 0u32..4, successes in 0u32..3, history in events(),
    ) {
        let settings = BreakerSettings {
            failures, window: at(30), open_for: at(20), probes, successes,
        };
        let mut machine = BreakerMachine::new(settings.clone());
        let (mut now, mut calls) = (at(0), Vec::new());
        let (mut opened_at, mut recent) = (None, Vec::new());
        for event in history {
            match event {
                Event::Pass(seconds) => now += at(seconds),
                Event::Admit => match machine.admit(now) {
                    Ok(call) => {
                        prop_assert!(opened_at.is_none_or(|opened| now >= opened + at(20)));
                        prop_assert!(machine.state() != BreakerState::Open);
                        calls.push((call, machine.state(), machine.number));
                        let current = calls.iter().filter(|(_, state, number)| {
                            *state == BreakerState::HalfOpen && *number == machine.number
                        });
                        prop_assert!(current.count() <= settings.probes.max(1) as usize);
                        if machine.state() == BreakerState::HalfOpen {
                            opened_at = None;
                        }
                    }
                    Err(wait) => {
                        prop_assert!(machine.state() != BreakerState::Closed);
                        prop_assert!(wait > Duration::ZERO && wait <= at(20));
                    }
                },
                Event::Settle(index, settlement) if !calls.is_empty() => {
                    let (call, _, number) = calls.swap_remove(index % calls.len());
                    let was = machine.state();
                    if number == machine.number && was == BreakerState::Closed
                        && settlement == Settlement::Failure {
                        recent.push(now);
                    }
                    let counted = recent.iter().filter(|at_| now - **at_ < at(30)).count();
                    let next = machine.settle(call, settlement, now);
                    if was == BreakerState::Closed {
                        let opens = counted >= failures.max(1) as usize;
                        prop_assert_eq!(next == Some(BreakerState::Open), opens);
                    }
                    match next {
                        Some(BreakerState::Open) => (opened_at, recent) = (Some(now), Vec::new()),
                        Some(BreakerState::Closed) => recent = Vec::new(),
                        _ => {}
                    }
                }
                Event::Settle(..) => {}
            }
        }
    }
}
