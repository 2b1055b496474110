//! A retry budget: how many retries everybody together may make.
//!
//! Decides: whether one more retry is affordable. Never does: read a clock; `now` is any
//! monotonic time since a fixed origin.
//!
//! Why: with three attempts each, an outage triples the load on what is failing already. A budget
//! bounds the retries of all callers by a share of their first attempts, so a storm adds that
//! share and not a multiple.

use std::time::Duration;

/// One token, in the unit that is counted in: whole numbers, so that no fraction drifts.
const TOKEN: u128 = 1_000_000_000;
const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// The size of a budget.
///
/// The defaults are those of Finagle's `RetryBudget`: a fifth of the first attempts, ten a second
/// for callers that are rarely active, and ten seconds of that in reserve.
///
/// ```
/// use cupping::resilience::budget::BudgetSettings;
///
/// let settings = BudgetSettings { ratio: 0.1, ..BudgetSettings::default() };
/// assert!(settings.capacity > 0);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetSettings {
    /// Most retries saved up, and what a new budget starts with.
    pub capacity: u32,
    /// Retries earned by one first attempt; below 1 for a budget that bounds anything.
    pub ratio: f64,
    /// Retries earned by a second of time.
    pub refill_per_second: f64,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self { capacity: 100, ratio: 0.2, refill_per_second: 10.0 }
    }
}

/// The token bucket of a budget: a retry takes one token; first attempts and time put them in.
///
/// Over any stretch of time, retries ≤ capacity + ratio × first attempts + refill × seconds.
///
/// ```
/// use cupping::resilience::budget::{BudgetSettings, TokenBucket};
/// use std::time::Duration;
///
/// let settings = BudgetSettings { capacity: 1, ratio: 0.5, refill_per_second: 0.0 };
/// let mut bucket = TokenBucket::new(&settings);
/// let now = Duration::ZERO;
/// assert!(bucket.try_withdraw(now));
/// assert!(!bucket.try_withdraw(now), "the reserve is used up");
/// bucket.deposit();
/// bucket.deposit();
/// assert!(bucket.try_withdraw(now), "two first attempts earned one retry");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBucket {
    capacity: u128,
    deposit: u128,
    refill_per_second: u128,
    tokens: u128,
    refilled_at: Duration,
}

impl TokenBucket {
    /// A full bucket. Rates that are negative or not finite count as zero.
    /// Example: see [`TokenBucket`].
    #[must_use]
    pub fn new(settings: &BudgetSettings) -> Self {
        let capacity = u128::from(settings.capacity) * TOKEN;
        Self {
            capacity,
            deposit: parts(settings.ratio),
            refill_per_second: parts(settings.refill_per_second),
            tokens: capacity,
            refilled_at: Duration::ZERO,
        }
    }

    /// A first attempt is made. Example: see [`TokenBucket`].
    pub fn deposit(&mut self) {
        self.tokens = self.tokens.saturating_add(self.deposit).min(self.capacity);
    }

    /// Takes the token of one retry, if there is one. A `now` before an earlier one counts as that.
    /// Example: see [`TokenBucket`].
    #[must_use = "without a token the retry must not be made"]
    pub fn try_withdraw(&mut self, now: Duration) -> bool {
        self.refill(now);
        let affordable = self.tokens >= TOKEN;
        if affordable {
            self.tokens -= TOKEN;
        }
        affordable
    }

    /// Whole retries that could be made now.
    ///
    /// ```
    /// use cupping::resilience::budget::{BudgetSettings, TokenBucket};
    /// use std::time::Duration;
    ///
    /// let mut bucket = TokenBucket::new(&BudgetSettings { capacity: 3, ..Default::default() });
    /// assert_eq!(bucket.available(Duration::ZERO), 3);
    /// ```
    #[must_use]
    pub fn available(&mut self, now: Duration) -> u32 {
        self.refill(now);
        u32::try_from(self.tokens / TOKEN).unwrap_or(u32::MAX)
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.refilled_at).as_nanos();
        let gained = self.refill_per_second.saturating_mul(passed) / NANOS_PER_SECOND;
        // Time too short to gain anything is not lost: it counts at the next look.
        if gained > 0 {
            self.tokens = self.tokens.saturating_add(gained).min(self.capacity);
            self.refilled_at = now;
        }
    }
}

/// A rate in parts of a token; at most a million tokens, so that products stay in range.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped above zero")]
fn parts(rate: f64) -> u128 {
    let rate = if rate.is_finite() { rate.clamp(0.0, 1e6) } else { 0.0 };
    (rate * 1e9) as u128
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_storm_of_failing_first_attempts_is_retried_by_the_ratio_and_the_reserve() {
        let settings = BudgetSettings { capacity: 10, ratio: 0.2, refill_per_second: 0.0 };
        let mut bucket = TokenBucket::new(&settings);
        let mut retries = 0;
        for _ in 0..1000 {
            bucket.deposit();
            // Each would try again twice.
            retries += (0..2).filter(|_| bucket.try_withdraw(Duration::ZERO)).count();
        }
        assert!((200..=210).contains(&retries), "{retries}");
    }

    #[test]
    fn time_fills_the_bucket_to_its_capacity_and_no_further() {
        let settings = BudgetSettings { capacity: 3, ratio: 0.0, refill_per_second: 2.0 };
        let mut bucket = TokenBucket::new(&settings);
        while bucket.try_withdraw(Duration::ZERO) {}
        assert_eq!(bucket.available(Duration::from_millis(499)), 0);
        assert_eq!(bucket.available(Duration::from_millis(500)), 1);
        assert_eq!(bucket.available(Duration::from_secs(3600)), 3);
        assert_eq!(bucket.available(Duration::ZERO), 3, "time does not run backwards");
    }

    #[test]
    fn looks_too_close_together_to_gain_anything_lose_nothing() {
        let settings = BudgetSettings { capacity: 1, ratio: 0.0, refill_per_second: 0.001 };
        let mut bucket = TokenBucket::new(&settings);
        assert!(bucket.try_withdraw(Duration::ZERO));
        for nanos in 0..999 {
            assert_eq!(bucket.available(Duration::from_nanos(nanos)), 0);
        }
        assert_eq!(bucket.available(Duration::from_secs(1000)), 1);
    }

    #[test]
    fn senseless_rates_are_no_rates() {
        for rate in [-1.0, f64::NAN, f64::INFINITY] {
            let settings = BudgetSettings { capacity: 0, ratio: rate, refill_per_second: rate };
            let mut bucket = TokenBucket::new(&settings);
            bucket.deposit();
            assert!(!bucket.try_withdraw(Duration::from_secs(u64::MAX)));
        }
    }

    proptest! {
        /// Steps: how long since the one before (ms), and whether a first attempt or a retry.
        #[test]
        fn in_no_window_are_there_more_retries_than_the_bound(
            capacity in 0u32..20, ratio in 0.0f64..1.5, refill in 0.0f64..20.0,
            steps in prop::collection::vec((0u64..300, any::<bool>()), 1..200),
        ) {
            let settings = BudgetSettings { capacity, ratio, refill_per_second: refill };
            let mut bucket = TokenBucket::new(&settings);
            let mut now = Duration::ZERO;
            let mut seen: Vec<(Duration, bool)> = Vec::new();
            for (pause, first) in steps {
                now += Duration::from_millis(pause);
                if first {
                    bucket.deposit();
                    seen.push((now, true));
                } else if bucket.try_withdraw(now) {
                    seen.push((now, false));
                }
            }
            for from in 0..seen.len() {
                let window = &seen[from..];
                let (start, end) = (window[0].0, window[window.len() - 1].0);
                let firsts = window.iter().filter(|(_, first)| *first).count() as f64;
                let retries = (window.len() as f64) - firsts;
                let bound = f64::from(capacity) + ratio * firsts
                    + refill * (end - start).as_secs_f64();
                prop_assert!(retries <= bound + 1e-6, "{retries} > {bound}");
            }
        }
    }
}
