//! `[pipeline]`, `[retry]`, `[transaction]`, `[shutdown]`: how much at once, how often, how long.
//!
//! Decides: shape and defaults. Never does: wait or count.

use serde::{Deserialize, Serialize};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// `[retry]`: the ladder of messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// Retries after the first attempt.
    pub max_retries: u32,
    /// Delay before the first retry.
    #[serde(with = "humantime_serde")]
    pub delay: Duration,
    /// Factor from one delay to the next.
    pub multiplier: f64,
    /// Longest delay.
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
    /// Share by which each delay varies, 0 to 1.
    pub jitter: f64,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            max_retries: 5,
            delay: Duration::from_millis(500),
            multiplier: 2.0,
            max_delay: Duration::from_secs(10),
            jitter: 0.1,
        }
    }
}

/// `[pipeline]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PipelineConfig {
    /// Beans started and not yet settled, at most.
    pub concurrency: NonZeroUsize,
    /// Beans scored together and written in one transaction, at most.
    pub batch: NonZeroUsize,
    /// Batches under way at once; one is enough for SQLite, which has one writer.
    pub workers: NonZeroUsize,
    /// Threads that score; 0 for as many as the machine has.
    pub scoring_threads: usize,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        Self {
            concurrency: NonZeroUsize::new(256).expect("not zero"),
            batch: NonZeroUsize::new(64).expect("not zero"),
            workers: NonZeroUsize::new(4).expect("not zero"),
            scoring_threads: 0,
        }
    }
}

/// `[transaction]`: the write transaction.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransactionConfig {
    /// Attempts in all.
    pub attempts: NonZeroU32,
    /// Upper bound of the first pause between attempts (full jitter).
    #[serde(with = "humantime_serde")]
    pub base_delay: Duration,
    /// Factor from one upper bound to the next.
    pub multiplier: f64,
    /// Longest wait for a lock; above the server's `deadlock_timeout`.
    #[serde(with = "humantime_serde")]
    pub lock_timeout: Duration,
    /// Longest statement.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
    /// Longest unit of work, all attempts included: the client's own deadline.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// Rows of one transaction, at most; a batch with more is split.
    pub max_rows: NonZeroUsize,
}

impl Default for TransactionConfig {
    fn default() -> Self {
        Self {
            attempts: NonZeroU32::new(3).expect("three is not zero"),
            base_delay: Duration::from_millis(100),
            multiplier: 2.0,
            lock_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
            max_rows: NonZeroUsize::new(10_000).expect("not zero"),
        }
    }
}

/// `[shutdown]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// How long what runs may take to finish.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { grace: Duration::from_secs(20) }
    }
}
