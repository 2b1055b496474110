//! The events of transactions: each function says a thing once, in the log and in the metrics.
//!
//! Decides: names, levels, labels. Never does: retry.
//!
//! `cupping_deadlocks_total` counts every deadlock that struck one of our transactions;
//! `cupping_transaction_retries_total` counts the retries decided on. So the two are equal while
//! attempts suffice; a deadlock on the last attempt counts in the first alone.

use super::forensics::DeadlockReport;
use crate::resilience::retryability::Reason;
use metrics::{counter, histogram};
use std::time::Duration;
use tracing::{error, warn};

/// How a unit of work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Committed,
    Failed,
    Exhausted,
    Abandoned,
    Unknown,
}

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Failed => "failed",
            Self::Exhausted => "exhausted",
            Self::Abandoned => "abandoned",
            Self::Unknown => "unknown",
        }
    }
}

pub(super) fn finished(name: &'static str, outcome: Outcome, duration: Duration) {
    let outcome = outcome.label();
    counter!("cupping_transactions_total", "name" => name, "outcome" => outcome).increment(1);
    histogram!("cupping_transaction_duration_seconds", "name" => name).record(duration);
}

pub(super) fn retried(
    name: &'static str,
    attempt: u32,
    attempts_max: u32,
    delay: Duration,
    reason: Reason,
    error: &sqlx::Error,
) {
    let reason = reason.label();
    counter!("cupping_transaction_retries_total", "name" => name, "reason" => reason).increment(1);
    let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    warn!(name, attempt, attempts_max, delay_ms, reason, %error, "transaction retried");
}

pub(super) fn exhausted(name: &'static str, attempts: u32, reason: Reason, error: &sqlx::Error) {
    let reason = reason.label();
    counter!("cupping_retries_exhausted_total", "level" => "transaction", "reason" => reason)
        .increment(1);
    error!(name, attempts, reason, %error, "retries exhausted");
}

pub(super) fn deadlock(name: &'static str, attempt: u32, report: &DeadlockReport) {
    counter!("cupping_deadlocks_total", "relation" => report.relation.clone()).increment(1);
    warn!(
        name,
        attempt,
        relation = report.relation,
        fingerprint = report.fingerprint,
        graph = report.graph,
        "deadlock"
    );
}

pub(super) fn lock_wait(duration: Duration) {
    histogram!("cupping_lock_wait_seconds").record(duration);
}

pub(super) fn leaked() {
    counter!("cupping_transactions_leaked_total").increment(1);
    warn!("a connection came back to its pool inside an open transaction and was closed");
}
