//! From a failed run to what becomes of each of its deliveries: each has attempts of its own.
//!
//! Decides: how a disposition is worded for the queue. Never does: settle.

use super::disposition::{Disposition, Facts, decide};
use super::messages::{Decided, Fate, Held, Run, Settling};
use super::schedule::End;
use crate::resilience::backoff::Ladder;
use crate::transport::{Delivery, Failure};
use std::time::SystemTime;

/// The failure as it is written to the headers of a retried or failed message.
fn failure(facts: &Facts, delivery: &Delivery, now: SystemTime) -> Failure {
    Failure {
        class: facts.class.clone(),
        sqlstate: facts.sqlstate.clone(),
        message: facts.message.clone(),
        attempts: delivery.attempt,
        first_failed_at: delivery.first_failed_at.unwrap_or(now),
        last_failed_at: now,
    }
}

/// What becomes of one delivery after a failure.
pub(crate) fn fate(facts: &Facts, delivery: &Delivery, ladder: &Ladder) -> Fate {
    let failure = || failure(facts, delivery, SystemTime::now());
    match decide(facts, delivery.attempt, ladder, fastrand::f64()) {
        Disposition::Ack => Fate::Ack,
        Disposition::Retry { retry, delay } => {
            Fate::Retry { retry, delay, reason: facts.reason(), failure: failure() }
        }
        Disposition::DeadLetter { exhausted } => {
            Fate::DeadLetter { exhausted: exhausted.then(|| facts.reason()), failure: failure() }
        }
        // Both are the whole run's, and decided for it; a delivery on its own goes back.
        Disposition::Pause | Disposition::RunAgain => Fate::HandBack,
    }
}

impl Decided {
    /// Adds a run that failed for good, or must be tried later.
    pub(crate) fn fail(&mut self, run: Run, facts: &Facts, ladder: &Ladder) {
        let Run { held, guard, .. } = run;
        self.settlings.extend(held.into_iter().map(|held| {
            let fate = fate(facts, &held.delivery, ladder);
            Settling::of(held, fate)
        }));
        self.guards.push(guard);
    }

    /// Whether there is nothing to settle and no run to end.
    pub(crate) fn is_empty(&self) -> bool {
        self.settlings.is_empty() && self.guards.is_empty()
    }
}

impl Run {
    /// Its beans wait again; nothing is counted.
    pub(crate) fn back(self) {
        self.guard.end(End::Back(self.held));
    }

    /// It runs once more.
    pub(crate) fn again(self, reason: &'static str) {
        self.guard.end(End::Again(self.held, reason));
    }

    /// The highest attempt among its deliveries.
    pub(crate) fn attempt(&self) -> u32 {
        self.held.iter().map(|Held { delivery, .. }| delivery.attempt).max().unwrap_or(1)
    }
}
