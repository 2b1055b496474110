//! The events of breakers: each function says a thing once, in the log and in the metrics.
//!
//! Decides: names, levels, labels. Never does: open or close anything.

use crate::resilience::breaker::BreakerState;
use metrics::{counter, gauge};
use std::time::Duration;
use tracing::{debug, error, info};

/// The gauge: it rises with the trouble.
pub(super) fn state(name: &'static str, state: BreakerState) {
    let level = match state {
        BreakerState::Closed => 0.0,
        BreakerState::HalfOpen => 1.0,
        BreakerState::Open => 2.0,
    };
    gauge!("cupping_breaker_state", "name" => name).set(level);
}

pub(super) fn transition(name: &'static str, entered: BreakerState) {
    state(name, entered);
    let to = entered.label();
    counter!("cupping_breaker_transitions_total", "name" => name, "to" => to).increment(1);
    match entered {
        BreakerState::Open => error!(name, "circuit breaker opened"),
        BreakerState::HalfOpen => info!(name, "circuit breaker half-open, a probe is let through"),
        BreakerState::Closed => info!(name, "circuit breaker closed"),
    }
}

pub(super) fn rejected(name: &'static str, retry_after: Duration) {
    counter!("cupping_breaker_rejections_total", "name" => name).increment(1);
    let retry_after_ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
    debug!(name, retry_after_ms, "call refused by the circuit breaker");
}
