//! The retry budget that many callers share.
//!
//! Decides: nothing of its own; it gives [`TokenBucket`] a clock and a lock. Never does: retry.

use crate::resilience::budget::{BudgetSettings, TokenBucket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A retry budget that many callers share. Cheap to clone; every clone is the same budget.
///
/// ```
/// use cupping::resilience::budget::BudgetSettings;
/// use cupping::txn::RetryBudget;
///
/// let budget = RetryBudget::new(&BudgetSettings::default());
/// budget.on_first_attempt();
/// // … the attempt failed in a way that another may mend:
/// if budget.try_retry() {
///     // try again
/// } else {
///     // fail at once: too many others are trying again already
/// }
/// ```
///
/// # Hazards
/// Share one budget among the callers of one server. One for everything lets a slow server use up
/// the retries of a healthy one.
#[derive(Debug, Clone)]
pub struct RetryBudget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    origin: Instant,
    bucket: Mutex<TokenBucket>,
}

impl RetryBudget {
    /// A full budget. Example: see [`RetryBudget`].
    #[must_use]
    pub fn new(settings: &BudgetSettings) -> Self {
        let bucket = Mutex::new(TokenBucket::new(settings));
        Self { shared: Arc::new(Shared { origin: Instant::now(), bucket }) }
    }

    /// A first attempt is made; call it once a unit of work, whatever becomes of it.
    /// Example: see [`RetryBudget`].
    pub fn on_first_attempt(&self) {
        self.bucket().deposit();
    }

    /// Asks for one retry; `false` means: give up now. Example: see [`RetryBudget`].
    #[must_use = "without the budget's consent the retry must not be made"]
    pub fn try_retry(&self) -> bool {
        let now = self.now();
        self.bucket().try_withdraw(now)
    }

    /// Retries that could be made now.
    ///
    /// ```
    /// use cupping::resilience::budget::BudgetSettings;
    /// use cupping::txn::RetryBudget;
    ///
    /// let settings = BudgetSettings { capacity: 5, refill_per_second: 0.0, ..Default::default() };
    /// let budget = RetryBudget::new(&settings);
    /// assert!(budget.try_retry());
    /// assert_eq!(budget.available(), 4);
    /// ```
    #[must_use]
    pub fn available(&self) -> u32 {
        let now = self.now();
        self.bucket().available(now)
    }

    fn now(&self) -> Duration {
        self.shared.origin.elapsed()
    }

    /// No step on a bucket can be left half done, so a poisoned lock is as good as a whole one.
    fn bucket(&self) -> MutexGuard<'_, TokenBucket> {
        self.shared.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_one_budget_and_never_exceed_it() {
        let settings = BudgetSettings { capacity: 50, ratio: 0.25, refill_per_second: 0.0 };
        let budget = RetryBudget::new(&settings);
        let storm = |budget: RetryBudget| {
            move || {
                let attempts = (0..100).map(|_| {
                    budget.on_first_attempt();
                    (0..2).filter(|_| budget.try_retry()).count()
                });
                attempts.sum::<usize>()
            }
        };
        let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(storm(budget.clone()))).collect();
        let retries: usize = threads.into_iter().map(|t| t.join().expect("no panic")).sum();
        assert!((200..=250).contains(&retries), "{retries} of 800 first attempts");
        assert_eq!(budget.available(), 0);
    }
}
