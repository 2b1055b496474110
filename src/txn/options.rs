//! How a unit of work is to be run.
//!
//! Decides: the defaults, and the pause before a retry. Never does: sleep.

use crate::resilience::backoff::{EqualJitter, FullJitter};
use crate::resilience::retryability::Reason;
use std::sync::Arc;
use std::time::Duration;

/// The isolation level of a transaction.
///
/// ```
/// use cupping::txn::{Isolation, TxnOptions};
///
/// let strict = TxnOptions { isolation: Isolation::Serializable, ..TxnOptions::default() };
/// assert_eq!(TxnOptions::default().isolation, Isolation::ReadCommitted);
/// # drop(strict);
/// ```
///
/// # Hazards
/// At [`Isolation::RepeatableRead`] PostgreSQL refuses a write to a row that changed since the
/// snapshot, and the unit runs again; MySQL and MariaDB overwrite it (MariaDB refuses it where
/// `innodb_snapshot_isolation` is on). Neither stops write skew: two units that each read what the
/// other writes. That takes [`Isolation::Serializable`], or a lock on what was read.
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

/// How a unit of work is to be run.
///
/// SQLite has one isolation level (serializable) and no statement timeout; it takes `lock_timeout`
/// as its busy timeout. MySQL and MariaDB take `lock_timeout` in whole seconds, rounded up; MySQL
/// ends only SELECTs at `statement_timeout`. What they keep in the session is given back to it
/// after the transaction.
///
/// ```
/// use cupping::txn::{Isolation, TxnOptions};
/// use std::time::Duration;
///
/// let options = TxnOptions {
///     isolation: Isolation::Serializable,
///     attempts: 5,
///     deadline: Duration::from_secs(10),
///     ..TxnOptions::default()
/// };
/// assert!(!options.read_only);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct TxnOptions {
    /// Attempts in all, at least one.
    pub attempts: u32,
    /// Upper bound of the first pause. After a conflict the pause is uniform from zero to the bound
    /// (full jitter); after a lost connection or a server without room it is at least half of it
    /// (equal jitter).
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
    /// Whether the transaction's number is noted, so that a COMMIT whose answer is lost can be
    /// asked after (PostgreSQL). Without it such a unit ends as `OutcomeUnknown`, unless an
    /// idempotency record tells.
    pub resolve_commit: bool,
    /// What this unit is about (a message's id), for the server's own views and logs.
    pub label: Option<Arc<str>>,
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
            resolve_commit: true,
            label: None,
        }
    }
}

impl TxnOptions {
    /// Options for reading from one snapshot.
    ///
    /// ```
    /// use cupping::txn::{Isolation, TxnOptions};
    ///
    /// let options = TxnOptions::snapshot_read();
    /// assert!(options.read_only && options.isolation == Isolation::RepeatableRead);
    /// ```
    #[must_use]
    pub fn snapshot_read() -> Self {
        Self { isolation: Isolation::RepeatableRead, read_only: true, ..Self::default() }
    }

    /// The pause before retry number `retry` (from 1) after a failure for `reason`, with `u`
    /// uniform in `[0, 1)`; never longer than the deadline.
    ///
    /// ```
    /// use cupping::resilience::retryability::Reason;
    /// use cupping::txn::TxnOptions;
    ///
    /// let options = TxnOptions::default();
    /// assert_eq!(options.pause(Reason::Deadlock, 1, 0.0).as_millis(), 0);
    /// assert_eq!(options.pause(Reason::Connection, 1, 0.0), options.base_delay / 2);
    /// ```
    #[must_use]
    pub fn pause(&self, reason: Reason, retry: u32, u: f64) -> Duration {
        let (base, multiplier, cap) = (self.base_delay, self.multiplier, self.deadline);
        match reason {
            Reason::Connection | Reason::Overload => {
                EqualJitter { base, multiplier, cap }.delay(retry, u)
            }
            _ => FullJitter { base, multiplier, cap }.delay(retry, u),
        }
    }

    /// Whether the transaction's number is wanted: a transaction that only reads has nothing in
    /// doubt.
    pub(super) fn resolves_commit(&self) -> bool {
        self.resolve_commit && !self.read_only
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_uniform_below_a_doubling_bound() {
        let options = TxnOptions::default();
        let pause = |retry, u| options.pause(Reason::Deadlock, retry, u);
        assert_eq!(pause(1, 0.0), Duration::ZERO);
        assert_eq!(pause(1, 0.5), Duration::from_millis(50));
        assert_eq!(pause(2, 0.5), Duration::from_millis(100));
        assert_eq!(pause(3, 0.5), Duration::from_millis(200));
        assert!(pause(u32::MAX, 0.99) <= options.deadline);
    }

    #[test]
    fn a_server_that_needs_a_pause_gets_half_of_it_at_least() {
        let options = TxnOptions::default();
        assert_eq!(options.pause(Reason::Overload, 1, 0.0), Duration::from_millis(50));
        assert_eq!(options.pause(Reason::Connection, 2, 0.5), Duration::from_millis(150));
    }
}
