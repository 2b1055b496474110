//! What happens to a delivery when its run did not simply succeed: a function of values.
//!
//! Decides: ack, retry, dead letter, pause or run again, for each kind of failure and attempt.
//! Never does: settle, sleep, or draw randomness (`u` is passed in).

use crate::resilience::backoff::Ladder;
use crate::resilience::retryability::{Reason, Retryability};
use crate::store::StoreError;
use std::time::Duration;

/// A message for a bean that is not in the catalogue may have overtaken its commit: it is retried
/// after this many attempts, then believed.
const BELIEVED_AFTER: u32 = 2;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The store failed.
    Store {
        /// Whether it may be tried again.
        retryability: Retryability,
        /// Whether work should pause meanwhile.
        pause: bool,
    },
    /// The work on this bean panicked.
    Panic,
    /// The bean is not in the catalogue; `deleted` when the message says so itself.
    Missing {
        /// Whether the message is a `BeanDeleted`.
        deleted: bool,
    },
    /// The message cannot be read, or its id cannot exist here.
    Unreadable,
    /// A kind of message that is not known; `ignored` by configuration.
    UnknownKind {
        /// `transport.unknown_type = "ignore"`.
        ignored: bool,
    },
}

/// What went wrong, with what is told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// What went wrong.
    pub(crate) fault: Fault,
    /// A bounded class for headers and logs.
    pub(crate) class: String,
    /// The SQLSTATE, where a database said one.
    pub(crate) sqlstate: Option<String>,
    /// For people.
    pub(crate) message: String,
}

impl Facts {
    /// The facts of a failed call to the store.
    pub(crate) fn of_store(error: &StoreError) -> Self {
        let retryability = error.retryability();
        let class = match (retryability, error) {
            (Retryability::Transient(reason), _) => reason.label(),
            (Retryability::OutcomeUnknown, _) => "outcome_unknown",
            (Retryability::Permanent, StoreError::ImpossibleId { .. }) => "impossible_id",
            (Retryability::Permanent, StoreError::Data { .. }) => "data",
            (Retryability::Permanent, StoreError::Schema(_)) => "schema",
            (Retryability::Permanent, _) => "database",
        };
        Self {
            fault: Fault::Store { retryability, pause: error.is_pause() },
            class: class.into(),
            sqlstate: error.code(),
            message: chain(error),
        }
    }

    /// The facts of a panic.
    pub(crate) fn of_panic(message: String) -> Self {
        let message = format!("the work on this bean panicked: {message}");
        Self { fault: Fault::Panic, class: "panic".into(), sqlstate: None, message }
    }

    /// The facts of a message for a bean that is not in the catalogue.
    pub(crate) fn of_missing(deleted: bool) -> Self {
        Self {
            fault: Fault::Missing { deleted },
            class: Reason::BeanMissing.label().into(),
            sqlstate: None,
            message: "the bean is not in the catalogue".into(),
        }
    }

    /// The label of the failure in metrics: a bounded set.
    pub(crate) fn reason(&self) -> &'static str {
        match &self.fault {
            Fault::Store { retryability: Retryability::Transient(reason), .. } => reason.label(),
            Fault::Missing { .. } => Reason::BeanMissing.label(),
            _ => Reason::Other.label(),
        }
    }
}

/// An error with its causes, outermost first, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// What happens to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// It is done with (a missing bean's leftover rows are deleted first).
    Ack,
    /// It goes up the ladder.
    Retry {
        /// The step, from 1.
        retry: u32,
        /// The step's delay, jitter included.
        delay: Duration,
    },
    /// It goes to the failed queue.
    DeadLetter {
        /// Whether its attempts were used up (or else more attempts would not help).
        exhausted: bool,
    },
    /// It waits, unharmed, until the service answers again.
    Pause,
    /// Its bean runs again at once; no attempt is counted.
    RunAgain,
}

/// Decides about a delivery on its `attempt` (from 1); `u` in `[0, 1)` is the jitter drawn.
pub(crate) fn decide(facts: &Facts, attempt: u32, ladder: &Ladder, u: f64) -> Disposition {
    let climb = |otherwise| match ladder.step(attempt) {
        Some(step) => Disposition::Retry { retry: attempt, delay: ladder.jittered(step, u) },
        None => otherwise,
    };
    match facts.fault {
        Fault::Store { pause: true, .. }
        | Fault::Store { retryability: Retryability::Transient(Reason::Shutdown), .. } => {
            Disposition::Pause
        }
        Fault::Store { retryability: Retryability::OutcomeUnknown, .. } => Disposition::RunAgain,
        Fault::Store { retryability: Retryability::Transient(_), .. } => {
            climb(Disposition::DeadLetter { exhausted: true })
        }
        Fault::Missing { deleted: false } if attempt <= BELIEVED_AFTER => climb(Disposition::Ack),
        Fault::Missing { .. } | Fault::UnknownKind { ignored: true } => Disposition::Ack,
        Fault::Store { retryability: Retryability::Permanent, .. }
        | Fault::Panic
        | Fault::Unreadable
        | Fault::UnknownKind { ignored: false } => Disposition::DeadLetter { exhausted: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ladder() -> Ladder {
        Ladder {
            max_retries: 5,
            delay: Duration::from_millis(500),
            multiplier: 2.0,
            max_delay: Duration::from_secs(10),
            jitter: 0.1,
        }
    }

    fn facts(fault: Fault) -> Facts {
        Facts { fault, class: "x".into(), sqlstate: None, message: String::new() }
    }

    fn store(retryability: Retryability) -> Facts {
        facts(Fault::Store { retryability, pause: retryability.is_outage() })
    }

    fn at(facts: &Facts, attempt: u32) -> Disposition {
        decide(facts, attempt, &ladder(), 0.5)
    }

    fn retry(retry: u32, ms: u64) -> Disposition {
        Disposition::Retry { retry, delay: Duration::from_millis(ms) }
    }

    #[test]
    fn a_lock_conflict_climbs_the_whole_ladder_and_then_fails() {
        for reason in [Reason::Deadlock, Reason::Serialization, Reason::LockTimeout] {
            let facts = store(Retryability::Transient(reason));
            let delays: Vec<_> = (1..=6).map(|attempt| at(&facts, attempt)).collect();
            let mut expected: Vec<_> =
                (1..).zip([500, 1000, 2000, 4000, 8000]).map(|(n, ms)| retry(n, ms)).collect();
            expected.push(Disposition::DeadLetter { exhausted: true });
            assert_eq!(delays, expected);
        }
    }

    #[test]
    fn an_outage_pauses_at_any_attempt() {
        for reason in [Reason::Connection, Reason::Overload, Reason::Shutdown] {
            let facts = store(Retryability::Transient(reason));
            assert_eq!(at(&facts, 1), Disposition::Pause);
            assert_eq!(at(&facts, 99), Disposition::Pause);
        }
        let graph = Fault::Store {
            retryability: Retryability::Transient(Reason::LockTimeout),
            pause: true,
        };
        assert_eq!(at(&facts(graph), 1), Disposition::Pause);
    }

    #[test]
    fn an_unknown_outcome_runs_the_bean_again() {
        assert_eq!(at(&store(Retryability::OutcomeUnknown), 99), Disposition::RunAgain);
    }

    #[test]
    fn a_missing_bean_is_retried_at_the_first_two_steps_and_then_believed() {
        let missing = Facts::of_missing(false);
        assert_eq!(at(&missing, 1), retry(1, 500));
        assert_eq!(at(&missing, 2), retry(2, 1000));
        assert_eq!(at(&missing, 3), Disposition::Ack);
        assert_eq!(at(&Facts::of_missing(true), 1), Disposition::Ack);
        let short = Ladder { max_retries: 0, ..ladder() };
        assert_eq!(decide(&missing, 1, &short, 0.5), Disposition::Ack);
    }

    #[test]
    fn what_will_fail_again_goes_to_the_failed_queue_at_once() {
        for fault in [Fault::Panic, Fault::Unreadable, Fault::UnknownKind { ignored: false }] {
            assert_eq!(at(&facts(fault), 1), Disposition::DeadLetter { exhausted: false });
        }
        let permanent = store(Retryability::Permanent);
        assert_eq!(at(&permanent, 1), Disposition::DeadLetter { exhausted: false });
        assert_eq!(at(&facts(Fault::UnknownKind { ignored: true }), 1), Disposition::Ack);
    }

    proptest! {
        #[test]
        fn a_delay_stays_within_the_jitter_of_its_step(attempt in 1u32..=5, u in 0.0f64..1.0) {
            let facts = store(Retryability::Transient(Reason::Deadlock));
            let step = ladder().step(attempt).expect("within the ladder").as_secs_f64();
            match decide(&facts, attempt, &ladder(), u) {
                Disposition::Retry { retry, delay } => {
                    prop_assert_eq!(retry, attempt);
                    let share = delay.as_secs_f64() / step;
                    prop_assert!((0.899..=1.101).contains(&share), "{}", share);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
