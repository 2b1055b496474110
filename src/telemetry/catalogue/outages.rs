//! The metrics of circuit breakers and of locks in Redis, counted by `txn`.
//!
//! Decides: names, labels and what they mean. Never does: count.

use super::{Kind, Metric, label, metric};

pub(super) fn metrics() -> Vec<Metric> {
    [breakers(), locks()].concat()
}

/// The names in use; a breaker of another name appears when it is made.
const BREAKERS: [&str; 2] = ["database", "redis"];

fn breakers() -> Vec<Metric> {
    use Kind::{Counter, Gauge};
    vec![
        metric(
            "cupping_breaker_state",
            Gauge,
            [label("name", &BREAKERS)],
            "Circuit breaker: 0 closed, 1 half-open, 2 open.",
        ),
        metric(
            "cupping_breaker_transitions_total",
            Counter,
            [label("name", &BREAKERS), label("to", &["closed", "half_open", "open"])],
            "Changes of a circuit breaker's state.",
        ),
        metric(
            "cupping_breaker_rejections_total",
            Counter,
            [label("name", &BREAKERS)],
            "Calls that a circuit breaker refused.",
        ),
    ]
}

fn locks() -> Vec<Metric> {
    use Kind::{Counter, Histogram};
    vec![
        metric(
            "cupping_redis_lock_acquisitions_total",
            Counter,
            [label("outcome", &["acquired", "busy", "timeout", "unavailable"])],
            "Acquisitions of locks in Redis: acquired, busy (not waited for), timeout (waited for \
             in vain), unavailable (Redis did not answer).",
        ),
        metric(
            "cupping_redis_lock_wait_seconds",
            Histogram,
            [],
            "Time spent waiting for locks in Redis.",
        ),
        metric(
            "cupping_redis_locks_lost_total",
            Counter,
            [label("reason", &["expired", "taken"])],
            "Locks in Redis lost while they were held: expired (not extended in time), taken \
             (another has it, or Redis forgot it).",
        ),
    ]
}
