//! A circuit breaker: stop calling what is down, look now and then whether it is back.
//!
//! Decides: who may call, and when the breaker opens and closes. Never does: read a clock (`now`
//! is any monotonic time since a fixed origin), or judge an error (see [`Settlement::of`]).
//!
//! ```text
//!            failures in the window                 open_for has passed
//!   Closed ───────────────────────────▶ Open ─────────────────────────────▶ HalfOpen
//!      ▲                                 ▲              a probe fails          │ │
//!      │                                 └─────────────────────────────────────┘ │
//!      └──────────────────────── enough probes succeed ──────────────────────────┘
//! ```

use super::retryability::Retryability;
use std::collections::VecDeque;
use std::time::Duration;

/// When a breaker opens, and how it closes again.
///
/// ```
/// use cupping::resilience::breaker::BreakerSettings;
/// use std::time::Duration;
///
/// let settings = BreakerSettings { open_for: Duration::from_secs(5), ..Default::default() };
/// assert_eq!(settings.probes, 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures inside the window that open it; at least one.
    pub failures: u32,
    /// How long a failure counts.
    pub window: Duration,
    /// How long it stays open, and how long a probe may take before another is let through.
    pub open_for: Duration,
    /// Most probes under way at once while half-open; at least one.
    pub probes: u32,
    /// Probes that have to succeed before it closes; at least one.
    pub successes: u32,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures: 5,
            window: Duration::from_secs(60),
            open_for: Duration::from_secs(60),
            probes: 1,
            successes: 1,
        }
    }
}

/// Where a breaker stands.
///
/// ```
/// use cupping::resilience::breaker::BreakerState;
///
/// assert_eq!(BreakerState::HalfOpen.label(), "half_open");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Everybody may call.
    Closed,
    /// A few may, to see whether it is back.
    HalfOpen,
    /// Nobody may.
    Open,
}

impl BreakerState {
    /// The metric label. Example: see [`BreakerState`].
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// What a call said about the health of what was called.
///
/// ```
/// use cupping::resilience::breaker::{BreakerMachine, BreakerSettings, BreakerState, Settlement};
/// use std::time::Duration;
///
/// let mut machine = BreakerMachine::new(BreakerSettings::default());
/// let call = machine.admit(Duration::ZERO).expect("closed");
/// machine.settle(call, Settlement::Neutral, Duration::ZERO);
/// assert_eq!(machine.state(), BreakerState::Closed, "one that learns nothing changes nothing");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// It answered.
    Success,
    /// It is out of reach, or has no room.
    Failure,
    /// Nothing was learnt: the call was given up before an answer.
    Neutral,
}

impl Settlement {
    /// Only an outage is a failure. A deadlock, a serialization failure, a lock timeout or an
    /// error for good is an answer: the server is there and works. A lost COMMIT is a lost
    /// connection; a shutdown or a timeout of our own says nothing about the server.
    ///
    /// ```
    /// use cupping::resilience::breaker::Settlement;
    /// use cupping::resilience::retryability::{Reason, Retryability};
    ///
    /// let of = |reason| Settlement::of(Retryability::Transient(reason));
    /// assert_eq!(of(Reason::Connection), Settlement::Failure);
    /// assert_eq!(of(Reason::Deadlock), Settlement::Success);
    /// ```
    #[must_use]
    pub fn of(error: Retryability) -> Self {
        use super::retryability::Reason;
        match error {
            Retryability::Transient(Reason::Connection | Reason::Overload)
            | Retryability::OutcomeUnknown => Self::Failure,
            Retryability::Transient(Reason::Timeout | Reason::Shutdown | Reason::Other) => {
                Self::Neutral
            }
            Retryability::Transient(_) | Retryability::Permanent => Self::Success,
        }
    }
}

/// The right to make one call; it says in which phase it was given, so that a late answer to an
/// earlier phase changes nothing.
///
/// ```
/// use cupping::resilience::breaker::{BreakerMachine, BreakerSettings, Settlement};
/// use std::time::Duration;
///
/// let mut machine = BreakerMachine::new(BreakerSettings { failures: 1, ..Default::default() });
/// let now = Duration::ZERO;
/// let (first, late) = (machine.admit(now).expect("closed"), machine.admit(now).expect("closed"));
/// machine.settle(first, Settlement::Failure, now);
/// assert_eq!(machine.settle(late, Settlement::Success, now), None, "of an earlier phase");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    phase: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// The times of the last failures, oldest first; fewer than would open it.
    Closed(VecDeque<Duration>),
    Open {
        until: Duration,
    },
    HalfOpen {
        since: Duration,
        running: u32,
        succeeded: u32,
    },
}

/// The state machine.
///
/// ```
/// use cupping::resilience::breaker::{BreakerMachine, BreakerSettings, BreakerState, Settlement};
/// use std::time::Duration;
///
/// let settings = BreakerSettings { failures: 1, ..BreakerSettings::default() };
/// let mut machine = BreakerMachine::new(settings.clone());
/// let start = Duration::ZERO;
/// let call = machine.admit(start).expect("closed");
/// assert_eq!(machine.settle(call, Settlement::Failure, start), Some(BreakerState::Open));
/// assert_eq!(machine.admit(start), Err(settings.open_for));
///
/// let probe = machine.admit(settings.open_for).expect("half-open");
/// let closed = machine.settle(probe, Settlement::Success, settings.open_for);
/// assert_eq!(closed, Some(BreakerState::Closed));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerMachine {
    settings: BreakerSettings,
    phase: Phase,
    number: u64,
}

impl BreakerMachine {
    /// A closed one. Counts of zero are taken as one. Example: see [`BreakerMachine`].
    #[must_use]
    pub fn new(settings: BreakerSettings) -> Self {
        let settings = BreakerSettings {
            failures: settings.failures.max(1),
            probes: settings.probes.max(1),
            successes: settings.successes.max(1),
            ..settings
        };
        Self { settings, phase: Phase::Closed(VecDeque::new()), number: 0 }
    }

    /// Where it stands. An open one whose time is over stays open until somebody asks to call.
    ///
    /// ```
    /// use cupping::resilience::breaker::{BreakerMachine, BreakerSettings, BreakerState};
    ///
    /// let machine = BreakerMachine::new(BreakerSettings::default());
    /// assert_eq!(machine.state(), BreakerState::Closed);
    /// ```
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed(_) => BreakerState::Closed,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
            Phase::Open { .. } => BreakerState::Open,
        }
    }

    /// Asks to call. Example: see [`BreakerMachine`].
    ///
    /// # Errors
    /// How long until it is worth asking again: the rest of the open time, or of the time that
    /// the probes under way may take (they may end sooner).
    pub fn admit(&mut self, now: Duration) -> Result<Admission, Duration> {
        let Self { settings, phase, .. } = self;
        let fresh = match phase {
            Phase::Closed(_) => false,
            Phase::Open { until } if now < *until => return Err(*until - now),
            Phase::Open { .. } => true,
            Phase::HalfOpen { running, .. } if *running < settings.probes => false,
            Phase::HalfOpen { since, .. } => {
                let over = since.saturating_add(settings.open_for);
                if now < over {
                    return Err(over - now);
                }
                // The probes hang. Others get their chance, or it would never close.
                true
            }
        };
        if fresh {
            self.enter(Phase::HalfOpen { since: now, running: 0, succeeded: 0 });
        }
        if let Phase::HalfOpen { running, .. } = &mut self.phase {
            *running += 1;
        }
        Ok(Admission { phase: self.number })
    }

    /// Says how an admitted call went; tells the new state if it changed.
    /// Example: see [`BreakerMachine`].
    pub fn settle(
        &mut self,
        admission: Admission,
        settlement: Settlement,
        now: Duration,
    ) -> Option<BreakerState> {
        if admission.phase != self.number {
            return None;
        }
        let next = match &mut self.phase {
            Phase::Open { .. } => return None,
            Phase::Closed(failures) => {
                if settlement != Settlement::Failure {
                    return None;
                }
                let window = self.settings.window;
                failures.retain(|at| now.saturating_sub(*at) < window);
                failures.push_back(now);
                if failures.len() < self.settings.failures as usize {
                    return None;
                }
                Phase::Open { until: now.saturating_add(self.settings.open_for) }
            }
            Phase::HalfOpen { running, succeeded, .. } => {
                *running = running.saturating_sub(1);
                match settlement {
                    Settlement::Neutral => return None,
                    Settlement::Failure => {
                        Phase::Open { until: now.saturating_add(self.settings.open_for) }
                    }
                    Settlement::Success => {
                        *succeeded += 1;
                        if *succeeded < self.settings.successes {
                            return None;
                        }
                        Phase::Closed(VecDeque::new())
                    }
                }
            }
        };
        self.enter(next);
        Some(self.state())
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.number += 1;
    }
}

#[cfg(test)]
mod tests;
