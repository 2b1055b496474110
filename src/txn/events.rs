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
use std::error::Error;
use std::time::Duration;
use tracing::{error, info, warn};

/// How a unit of work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Committed,
    Failed,
    Exhausted,
    Abandoned,
    Unknown,
    Ignored,
    Refused,
}

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Failed => "failed",
            Self::Exhausted => "exhausted",
            Self::Abandoned => "abandoned",
            Self::Unknown => "unknown",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
        }
    }
}

pub(super) fn finished(name: &'static str, outcome: Outcome, attempts: u32, duration: Duration) {
    let outcome = outcome.label();
    histogram!("cupping_transaction_attempts", "name" => name).record(attempts);
    counter!("cupping_transactions_total", "name" => name, "outcome" => outcome).increment(1);
    histogram!("cupping_transaction_duration_seconds", "name" => name).record(duration);
}

pub(super) fn retried(
    name: &'static str,
    attempt: u32,
    attempts_max: u32,
    delay: Duration,
    reason: Reason,
    error: &dyn Error,
) {
    let reason = reason.label();
    counter!("cupping_transaction_retries_total", "name" => name, "reason" => reason).increment(1);
    let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    warn!(name, attempt, attempts_max, delay_ms, reason, error = %error, "transaction retried");
}

pub(super) fn exhausted(name: &'static str, attempts: u32, reason: Reason, error: &dyn Error) {
    let reason = reason.label();
    counter!("cupping_retries_exhausted_total", "level" => "transaction", "reason" => reason)
        .increment(1);
    error!(name, attempts, reason, error = %error, "retries exhausted");
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

pub(super) fn budget_spent(name: &'static str, attempts: u32, reason: Reason) {
    let reason = reason.label();
    counter!("cupping_retry_budget_spent_total", "name" => name).increment(1);
    warn!(name, attempts, reason, "retry budget spent");
}

pub(super) fn connection_obtained(duration: Duration) {
    histogram!("cupping_connection_wait_seconds").record(duration);
}

pub(super) fn deadlock_ignored(name: &'static str, attempt: u32) {
    counter!("cupping_deadlocks_ignored_total", "name" => name).increment(1);
    info!(name, attempt, "deadlock ignored");
}

pub(super) fn cancelled(name: &'static str, session: u64) {
    counter!("cupping_statements_cancelled_total", "name" => name).increment(1);
    warn!(name, db.session = session, "statement cancelled after the deadline");
}

pub(super) fn cancel_failed(name: &'static str, session: u64, error: &sqlx::Error) {
    warn!(name, db.session = session, %error, "statement not cancelled; its timeout will end it");
}

pub(super) fn commit_lost(name: &'static str, error: &sqlx::Error) {
    warn!(name, %error, "answer to commit lost");
}

pub(super) fn commit_resolved(name: &'static str, outcome: &'static str) {
    counter!("cupping_commits_resolved_total", "outcome" => outcome).increment(1);
    info!(name, outcome, "lost commit resolved");
}

pub(super) fn effect_panicked(name: &'static str) {
    error!(name, "an effect after the commit panicked; the transaction is committed");
}
