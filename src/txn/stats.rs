//! How the units of one transactor have fared.
//!
//! Decides: what is counted. Never does: forget, or label (metrics do).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A reading of [`super::Transactor::stats`], since the transactor was made.
///
/// ```
/// use cupping::txn::Stats;
///
/// assert_eq!(Stats::default().success_rate(), 1.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Units ended.
    pub total: u64,
    /// Units committed.
    pub committed: u64,
    /// Attempts beyond the first ones.
    pub retries: u64,
    /// Mean duration of a unit, all attempts included.
    pub mean: Duration,
    /// Longest duration of a unit.
    pub maximum: Duration,
}

impl Stats {
    /// Share of the units that committed, from 0 to 1; 1 before the first has ended.
    /// Example: see [`Stats`].
    #[must_use]
    pub fn success_rate(&self) -> f64 {
        if self.total == 0 {
            return 1.0;
        }
        self.committed as f64 / self.total as f64
    }
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    total: AtomicU64,
    committed: AtomicU64,
    retries: AtomicU64,
    nanos: AtomicU64,
    longest: AtomicU64,
}

impl Tally {
    pub(super) fn record(&self, committed: bool, attempts: u32, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.total.fetch_add(1, Ordering::Relaxed);
        self.committed.fetch_add(u64::from(committed), Ordering::Relaxed);
        self.retries.fetch_add(u64::from(attempts.saturating_sub(1)), Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        self.longest.fetch_max(nanos, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Stats {
        let total = self.total.load(Ordering::Relaxed);
        let nanos = self.nanos.load(Ordering::Relaxed);
        Stats {
            total,
            committed: self.committed.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            mean: Duration::from_nanos(nanos.checked_div(total).unwrap_or(0)),
            maximum: Duration::from_nanos(self.longest.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_mean_and_maximum_are_of_all_units() {
        let tally = Tally::default();
        tally.record(true, 1, Duration::from_millis(10));
        tally.record(false, 3, Duration::from_millis(30));
        let stats = tally.read();
        assert_eq!((stats.total, stats.committed, stats.retries), (2, 1, 2));
        assert_eq!((stats.mean.as_millis(), stats.maximum.as_millis()), (20, 30));
        assert_eq!(stats.success_rate(), 0.5);
    }
}
