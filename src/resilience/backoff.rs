//! Delays between attempts: the retry ladder of messages, and jitter for transactions.
//!
//! Decides: how long to wait before which retry. Never does: sleep, or draw randomness itself:
//! `u`, uniform in `[0, 1)`, is passed in.

use std::time::Duration;

/// The retry ladder of messages: a fixed set of steps, so that each can be a queue of its own.
///
/// ```
/// use cupping::resilience::backoff::Ladder;
/// use std::time::Duration;
///
/// let ladder = Ladder {
///     max_retries: 3,
///     delay: Duration::from_secs(1),
///     multiplier: 2.0,
///     max_delay: Duration::from_secs(3),
///     jitter: 0.1,
/// };
/// assert_eq!(ladder.steps(), [1, 2, 3].map(Duration::from_secs));
/// assert_eq!(ladder.step(4), None, "no fourth retry");
/// assert_eq!(ladder.jittered(Duration::from_secs(1), 0.0).as_millis(), 900);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Ladder {
    /// Retries after the first attempt; 0 for none.
    pub max_retries: u32,
    /// Delay before the first retry.
    pub delay: Duration,
    /// Factor from one step to the next.
    pub multiplier: f64,
    /// Longest step.
    pub max_delay: Duration,
    /// Share by which a delay varies around its step, 0 to 1.
    pub jitter: f64,
}

impl Ladder {
    /// The delay before retry number `retry` (the first is 1), without jitter, in whole
    /// milliseconds; `None` for 0 and beyond `max_retries`. Example: see [`Ladder`].
    #[must_use]
    pub fn step(&self, retry: u32) -> Option<Duration> {
        if retry == 0 || retry > self.max_retries {
            return None;
        }
        let exact = exponential(self.delay, self.multiplier, self.max_delay, retry);
        let half_a_millisecond = Duration::from_micros(500);
        let rounded = exact.saturating_add(half_a_millisecond).as_millis();
        Some(Duration::from_millis(u64::try_from(rounded).unwrap_or(u64::MAX)))
    }

    /// Every step, first to last; steps may repeat once they reach the longest.
    /// Example: see [`Ladder`].
    #[must_use]
    pub fn steps(&self) -> Vec<Duration> {
        (1..=self.max_retries).map_while(|retry| self.step(retry)).collect()
    }

    /// A step varied by the jitter: `step × (1 − j + 2·j·u)`, uniform in `step × [1 − j, 1 + j)`.
    /// Example: see [`Ladder`].
    #[must_use]
    pub fn jittered(&self, step: Duration, u: f64) -> Duration {
        let jitter = if self.jitter.is_finite() { self.jitter.clamp(0.0, 1.0) } else { 0.0 };
        scaled(step, 1.0 - jitter + 2.0 * jitter * share(u))
    }
}

/// Full jitter: any delay up to an exponentially growing bound. Spreads rivals best, which is
/// what transactions that collided need.
///
/// ```
/// use cupping::resilience::backoff::FullJitter;
/// use std::time::Duration;
///
/// let (base, cap) = (Duration::from_millis(100), Duration::from_secs(5));
/// let jitter = FullJitter { base, multiplier: 2.0, cap };
/// assert_eq!(jitter.upper(3).as_millis(), 400);
/// assert_eq!(jitter.delay(3, 0.25).as_millis(), 100);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FullJitter {
    /// Bound of the first delay.
    pub base: Duration,
    /// Factor from one bound to the next.
    pub multiplier: f64,
    /// Highest bound.
    pub cap: Duration,
}

impl FullJitter {
    /// The bound of the delay after failed attempt number `attempt` (the first is 1).
    /// Example: see [`FullJitter`].
    #[must_use]
    pub fn upper(&self, attempt: u32) -> Duration {
        exponential(self.base, self.multiplier, self.cap, attempt)
    }

    /// The delay after failed attempt number `attempt`: `upper × u`. Example: see [`FullJitter`].
    #[must_use]
    pub fn delay(&self, attempt: u32, u: f64) -> Duration {
        scaled(self.upper(attempt), share(u))
    }
}

/// Equal jitter: at least half of the bound, for a peer that needs a pause (reconnection).
///
/// ```
/// use cupping::resilience::backoff::EqualJitter;
/// use std::time::Duration;
///
/// let (base, cap) = (Duration::from_millis(100), Duration::from_secs(5));
/// let jitter = EqualJitter { base, multiplier: 2.0, cap };
/// assert_eq!(jitter.upper(2).as_millis(), 200);
/// assert_eq!(jitter.delay(2, 0.0).as_millis(), 100, "half of the bound at least");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct EqualJitter {
    /// Bound of the first delay.
    pub base: Duration,
    /// Factor from one bound to the next.
    pub multiplier: f64,
    /// Highest bound.
    pub cap: Duration,
}

impl EqualJitter {
    /// The bound of the delay after failed attempt number `attempt` (the first is 1).
    /// Example: see [`EqualJitter`].
    #[must_use]
    pub fn upper(&self, attempt: u32) -> Duration {
        exponential(self.base, self.multiplier, self.cap, attempt)
    }

    /// The delay after failed attempt number `attempt`: `upper × (½ + u/2)`.
    /// Example: see [`EqualJitter`].
    #[must_use]
    pub fn delay(&self, attempt: u32, u: f64) -> Duration {
        scaled(self.upper(attempt), 0.5 + share(u) / 2.0)
    }
}

/// `base × multiplier^(n − 1)`, at most `cap`; the cap too where the power overflows.
fn exponential(base: Duration, multiplier: f64, cap: Duration, n: u32) -> Duration {
    let power = i32::try_from(n.saturating_sub(1)).unwrap_or(i32::MAX);
    let seconds = base.as_secs_f64() * multiplier.max(0.0).powi(power);
    if base.is_zero() {
        return Duration::ZERO;
    }
    Duration::try_from_secs_f64(seconds).map_or(cap, |delay| delay.min(cap))
}

/// A duration times a small factor; unchanged where the product overflows.
fn scaled(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(duration)
}

/// `u` forced into `[0, 1]`, so that a careless caller cannot produce a negative delay.
fn share(u: f64) -> f64 {
    if u.is_finite() { u.clamp(0.0, 1.0) } else { 0.0 }
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

    #[test]
    fn default_ladder_has_the_planned_steps() {
        let millis: Vec<u128> = ladder().steps().iter().map(Duration::as_millis).collect();
        assert_eq!(millis, [500, 1000, 2000, 4000, 8000]);
        assert_eq!(ladder().step(0), None);
        assert_eq!(ladder().step(6), None);
    }

    #[test]
    fn steps_stop_growing_at_the_longest() {
        let ladder = Ladder { max_retries: 4, max_delay: Duration::from_millis(900), ..ladder() };
        let millis: Vec<u128> = ladder.steps().iter().map(Duration::as_millis).collect();
        assert_eq!(millis, [500, 900, 900, 900]);
    }

    #[test]
    fn the_ladder_of_the_running_application_is_possible_too() {
        let ladder =
            Ladder { max_retries: 3, delay: Duration::from_secs(1), jitter: 0.0, ..ladder() };
        let millis: Vec<u128> = ladder.steps().iter().map(Duration::as_millis).collect();
        assert_eq!(millis, [1000, 2000, 4000]);
        assert_eq!(ladder.jittered(Duration::from_secs(1), 0.9), Duration::from_secs(1));
    }

    #[test]
    fn an_enormous_retry_number_is_capped_not_a_panic() {
        let ladder = Ladder { max_retries: u32::MAX, ..ladder() };
        assert_eq!(ladder.step(u32::MAX), Some(Duration::from_secs(10)));
        let zero = Ladder { delay: Duration::ZERO, ..ladder };
        assert_eq!(zero.step(u32::MAX), Some(Duration::ZERO));
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_share(millis in 0u64..100_000, jitter in 0.0f64..=1.0,
                                         u in 0.0f64..1.0) {
            let ladder = Ladder { jitter, ..ladder() };
            let step = Duration::from_millis(millis);
            let delay = ladder.jittered(step, u).as_secs_f64();
            prop_assert!(delay >= step.as_secs_f64() * (1.0 - jitter) - 1e-6);
            prop_assert!(delay <= step.as_secs_f64() * (1.0 + jitter) + 1e-6);
        }

        #[test]
        fn steps_never_fall_and_never_pass_the_longest(
            retries in 0u32..30, delay in 0u64..5_000, multiplier in 1.0f64..4.0,
            longest in 0u64..20_000,
        ) {
            let ladder = Ladder {
                max_retries: retries,
                delay: Duration::from_millis(delay),
                multiplier,
                max_delay: Duration::from_millis(longest),
                jitter: 0.0,
            };
            let steps = ladder.steps();
            prop_assert_eq!(steps.len(), retries as usize);
            prop_assert!(steps.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(steps.iter().all(|step| *step <= ladder.max_delay));
        }

        #[test]
        fn full_and_equal_jitter_stay_within_their_bounds(attempt in 0u32..60, u in 0.0f64..1.0) {
            let (base, cap) = (Duration::from_millis(100), Duration::from_secs(5));
            let full = FullJitter { base, multiplier: 2.0, cap };
            let equal = EqualJitter { base, multiplier: 2.0, cap };
            prop_assert!(full.upper(attempt) <= cap);
            prop_assert!(full.delay(attempt, u) <= full.upper(attempt));
            let delay = equal.delay(attempt, u);
            prop_assert!(delay <= equal.upper(attempt));
            prop_assert!(delay + Duration::from_nanos(2) >= equal.upper(attempt) / 2);
        }
    }
}
