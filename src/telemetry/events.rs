//! The events of the service: each function says a thing once, in the log and in the metrics.
//!
//! Decides: names, levels, labels. Never does: format for people (the log layer does).

use metrics::{counter, gauge, histogram};
use std::time::Duration;
use tracing::{debug, error, info, warn};

/// A message was taken from a queue. `kind`: a message kind's name, or `unknown`.
pub fn message_received(kind: &'static str) {
    counter!("cupping_messages_received_total", "kind" => kind).increment(1);
}

/// A message was settled. `outcome`: `acked`, `retried`, `failed`, `returned` or `lost`.
pub fn message_settled(outcome: &'static str) {
    counter!("cupping_messages_settled_total", "outcome" => outcome).increment(1);
}

/// A message was merged into a run that was already waiting.
pub fn message_coalesced() {
    counter!("cupping_messages_coalesced_total").increment(1);
}

/// How old a message was when its run began, by its publisher's clock.
pub fn message_age(age: Duration) {
    histogram!("cupping_message_age_seconds").record(age);
}

/// How long a stage took. `stage`: `queue`, `score`, `write` or `total`.
pub fn stage_duration(stage: &'static str, duration: Duration) {
    histogram!("cupping_message_duration_seconds", "stage" => stage).record(duration);
}

/// A run began.
pub fn similarity_started(bean: &str, attempt: u32) {
    debug!(bean.id = bean, attempt, "similarity started");
}

/// A list is committed (or was found unchanged).
pub fn similarity_completed(bean: &str, similar: usize, duration: Duration) {
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    debug!(bean.id = bean, similar.count = similar, duration_ms, "similarity completed");
}

/// A delivery goes up the ladder.
pub fn delivery_retried(
    bean: &str,
    attempt: u32,
    delay: Duration,
    reason: &'static str,
    error: &str,
) {
    counter!("cupping_message_retries_total", "reason" => reason).increment(1);
    let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    warn!(bean.id = bean, attempt, delay_ms, reason, error, "delivery retried");
}

/// A delivery goes to the failed queue.
pub fn delivery_failed(bean: Option<&str>, attempts: u32, class: &str, error: &str) {
    error!(bean.id = bean, attempts, class, error, "delivery failed");
}

/// A message's attempts are used up.
pub fn message_retries_exhausted(bean: &str, attempts: u32, reason: &'static str, error: &str) {
    counter!("cupping_retries_exhausted_total", "level" => "message", "reason" => reason)
        .increment(1);
    error!(bean.id = bean, attempts, reason, error, "retries exhausted");
}

/// A delivery was dropped unsettled; its queue gets it back.
pub fn delivery_dropped() {
    message_settled("returned");
    warn!("delivery dropped unsettled; it goes back to its queue");
}

/// A settlement came too late: the queue had given the delivery to somebody else.
pub fn settlement_lost(tag: u64) {
    message_settled("lost");
    warn!(delivery.tag = tag, "settlement lost; the message is delivered again");
}

/// The bean of a message is not in the catalogue and the early retries are used up.
pub fn bean_missing(bean: &str, attempts: u32) {
    warn!(bean.id = bean, attempts, "bean is not in the catalogue; leftover rows deleted");
}

/// Beans started and not yet settled.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub fn in_flight(beans: usize, limit: usize) {
    gauge!("cupping_in_flight").set(beans as f64);
    gauge!("cupping_concurrency_limit").set(limit as f64);
}

/// Rows of a committed batch.
pub fn rows_written(deleted: u64, inserted: u64) {
    counter!("cupping_rows_written_total", "op" => "delete").increment(deleted);
    counter!("cupping_rows_written_total", "op" => "insert").increment(inserted);
}

/// A write was not made. `reason`: `unchanged` or `outdated`.
pub fn write_skipped(reason: &'static str) {
    counter!("cupping_writes_skipped_total", "reason" => reason).increment(1);
}

/// A bean is run again. `reason`: `outdated`, `arrived` (a message came while it ran).
pub fn rerun(reason: &'static str) {
    counter!("cupping_reruns_total", "reason" => reason).increment(1);
}

/// The index was refreshed: it has `beans` now, and was `changes` behind.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub fn index_refreshed(beans: usize, changes: usize) {
    gauge!("cupping_index_beans").set(beans as f64);
    gauge!("cupping_index_lag_changes").set(changes as f64);
    if changes > 0 {
        debug!(beans, changes, "index refreshed");
    }
}

/// The index was filled from the whole catalogue.
pub fn index_loaded(beans: usize, bytes: usize, duration: Duration, reason: &str) {
    index_refreshed(beans, 0);
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    info!(beans, bytes, duration_ms, reason, "index loaded");
}

/// The broker connection was rebuilt.
pub fn broker_reconnected(attempts: u32) {
    counter!("cupping_broker_reconnects_total").increment(1);
    info!(attempts, "broker reconnected");
}

/// The broker connection was lost, or could not be made.
pub fn broker_lost(error: &str, delay: Duration) {
    let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    warn!(error, delay_ms, "broker unreachable; trying again");
}

/// Work pauses because a service is out of reach; no attempt is counted.
pub fn paused(service: &'static str, error: &str) {
    warn!(service, error, "paused: service unreachable; no attempt is counted");
}

/// Work goes on after a pause.
pub fn resumed(service: &'static str, after: Duration) {
    let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    info!(service, after_ms, "resumed");
}

/// A stage of the pipeline ended unexpectedly and was started anew.
pub fn stage_restarted(stage: &'static str) {
    counter!("cupping_stage_restarts_total", "stage" => stage).increment(1);
    error!(stage, "stage ended unexpectedly and was restarted");
}

/// Connections of the pool.
pub fn pool(in_use: u32, idle: u32) {
    gauge!("cupping_pool_connections", "state" => "in_use").set(f64::from(in_use));
    gauge!("cupping_pool_connections", "state" => "idle").set(f64::from(idle));
}
