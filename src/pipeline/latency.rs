//! A small histogram of latencies for the summary: fixed memory, about 6 % resolution.
//!
//! Decides: the buckets (sixteen to each doubling, from one microsecond). Never does: replace the
//! histograms of the metrics, which have buckets of their own.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Buckets to a doubling.
const SHARES: u64 = 16;
/// log2 of [`SHARES`].
const SHARE_BITS: u32 = 4;
/// Covers up to 2^40 µs, twelve days.
const BUCKETS: usize = 16 * 37 + 16;

/// Counts of latencies.
pub(crate) struct Latencies(Box<[AtomicU64]>);

impl Default for Latencies {
    fn default() -> Self {
        Self((0..BUCKETS).map(|_| AtomicU64::new(0)).collect())
    }
}

fn bucket(micros: u64) -> usize {
    let exact = if micros < SHARES {
        micros
    } else {
        let shift = micros.ilog2() - SHARE_BITS;
        u64::from(shift + 1) * SHARES + ((micros >> shift) - SHARES)
    };
    usize::try_from(exact).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

/// The smallest number of microseconds in a bucket.
fn lower(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SHARES {
        return bucket;
    }
    let shift = bucket / SHARES - 1;
    (bucket % SHARES + SHARES) << shift
}

impl Latencies {
    /// Counts one.
    pub(crate) fn record(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0[bucket(micros)].fetch_add(1, Relaxed);
    }

    /// The latency that the share `q` of all stayed at or below (rounded down to its bucket);
    /// zero when there are none.
    pub(crate) fn quantile(&self, q: f64) -> Duration {
        let counts: Vec<u64> = self.0.iter().map(|count| count.load(Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank among far fewer than 2^52 samples"
        )]
        let rank = (total as f64 * q).ceil() as u64;
        let mut below = 0;
        for (bucket, count) in counts.iter().enumerate() {
            below += count;
            if below >= rank.max(1) {
                return Duration::from_micros(lower(bucket));
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_continuous_and_within_the_resolution() {
        for micros in (0..4096).chain([1 << 20, (1 << 20) + 12345, 1 << 39]) {
            let low = lower(bucket(micros));
            assert!(low <= micros, "{micros}");
            assert!((micros - low) * SHARES <= micros, "{micros} in a bucket from {low}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_the_samples() {
        let latencies = Latencies::default();
        assert_eq!(latencies.quantile(0.5), Duration::ZERO);
        (1..=100).for_each(|ms| latencies.record(Duration::from_millis(ms)));
        let p50 = latencies.quantile(0.5).as_secs_f64();
        let p99 = latencies.quantile(0.99).as_secs_f64();
        assert!((0.046..=0.050).contains(&p50), "{p50}");
        assert!((0.092..=0.099).contains(&p99), "{p99}");
    }
}
