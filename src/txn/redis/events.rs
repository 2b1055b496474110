//! The events of Redis locks: each function says a thing once, in the log and in the metrics.
//!
//! Decides: names, levels, labels. Never does: take or release anything.

use super::error::LinkError;
use metrics::{counter, histogram};
use std::time::Duration;
use tracing::warn;

/// How an acquisition ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    Acquired,
    Busy,
    Timeout,
    Unavailable,
}

pub(super) fn acquisition(outcome: Outcome) {
    let outcome = match outcome {
        Outcome::Acquired => "acquired",
        Outcome::Busy => "busy",
        Outcome::Timeout => "timeout",
        Outcome::Unavailable => "unavailable",
    };
    counter!("cupping_redis_lock_acquisitions_total", "outcome" => outcome).increment(1);
}

pub(super) fn waited(duration: Duration) {
    histogram!("cupping_redis_lock_wait_seconds").record(duration);
}

pub(super) fn lost(lock: &str, reason: &'static str) {
    counter!("cupping_redis_locks_lost_total", "reason" => reason).increment(1);
    warn!(lock, reason, "redis lock lost while it was held");
}

pub(super) fn beat_failed(lock: &str, error: &LinkError) {
    warn!(lock, %error, "redis lock could not be extended, it is tried again until it expires");
}
