//! How a unit of work is to be run.
//!
//! Decides: the defaults, and the pause before a retry. Never does: sleep.

use crate::resilience::backoff::FullJitter;
use std::time::Duration;

/// The isolation level of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Each statement sees what was committed before it.
    #[default]
    ReadCommitted,
    /// Every statement sees the same snapshot.
    RepeatableRead,
    /// As if transactions ran one after the other.
    Serializable,
}

/// How a unit of work is to be run. SQLite has one isolation level (serializable) and no
/// statement timeout; it takes `lock_timeout` as its busy timeout.
#[derive(Debug, Clone, PartialEq)]
pub struct TxnOptions {
    /// Attempts in all, at least one.
    pub attempts: u32,
    /// Upper bound of the first pause (full jitter: the pause is uniform from zero to the bound).
    pub base_delay: Duration,
    /// Factor from one upper bound to the next.
    pub multiplier: f64,
    /// Longest wait for a lock. It must exceed the server's `deadlock_timeout` (one second unless
    /// set), or lock timeouts hide every deadlock.
    pub lock_timeout: Duration,
    /// Longest statement.
    pub statement_timeout: Duration,
    /// Longest unit of work, all attempts and pauses included; above the server-side timeouts.
    pub deadline: Duration,
    /// Isolation level.
    pub isolation: Isolation,
    /// Whether the transaction may only read.
    pub read_only: bool,
}

impl Default for TxnOptions {
    fn default() -> Self {
        Self {
            attempts: 3,
            base_delay: Duration::from_millis(100),
            multiplier: 2.0,
            lock_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
            isolation: Isolation::ReadCommitted,
            read_only: false,
        }
    }
}

impl TxnOptions {
    /// Options for reading from one snapshot.
    #[must_use]
    pub fn snapshot_read() -> Self {
        Self { isolation: Isolation::RepeatableRead, read_only: true, ..Self::default() }
    }

    /// The pause before retry number `retry` (from 1), with `u` uniform in `[0, 1)`; never longer
    /// than the deadline.
    #[must_use]
    pub fn pause(&self, retry: u32, u: f64) -> Duration {
        let (base, multiplier) = (self.base_delay, self.multiplier);
        FullJitter { base, multiplier, cap: self.deadline }.delay(retry, u)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_uniform_below_a_doubling_bound() {
        let options = TxnOptions::default();
        assert_eq!(options.pause(1, 0.0), Duration::ZERO);
        assert_eq!(options.pause(1, 0.5), Duration::from_millis(50));
        assert_eq!(options.pause(2, 0.5), Duration::from_millis(100));
        assert_eq!(options.pause(3, 0.5), Duration::from_millis(200));
        assert!(options.pause(u32::MAX, 0.99) <= options.deadline);
    }
}
