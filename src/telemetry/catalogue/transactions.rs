//! The metrics of transactions, counted by `txn`.
//!
//! Decides: names, labels and what they mean. Never does: count.

use super::{Kind, Metric, label, metric, reasons};
use crate::resilience::retryability::Reason;

/// The transaction that every worker runs.
const WRITE: &str = "write_similarities";

pub(super) fn metrics() -> Vec<Metric> {
    [units(), waits(), rarities()].concat()
}

/// Units of work: how many, how long, how often.
fn units() -> Vec<Metric> {
    use Kind::{Counter, Histogram};
    let retried = [
        Reason::Deadlock,
        Reason::Serialization,
        Reason::LockTimeout,
        Reason::Connection,
        Reason::Overload,
    ];
    let outcomes =
        ["committed", "failed", "exhausted", "abandoned", "unknown", "ignored", "refused"];
    vec![
        metric(
            "cupping_transactions_total",
            Counter,
            [label("name", &[WRITE]), label("outcome", &outcomes)],
            "Units of work, by how they ended: failed (for good), exhausted (out of attempts), \
             abandoned (out of time), unknown (the answer to COMMIT was lost), ignored (a deadlock \
             that does not matter), refused (the circuit breaker is open).",
        ),
        metric(
            "cupping_transaction_retries_total",
            Counter,
            [label("name", &[WRITE]), reasons(&retried)],
            "Attempts at a transaction made again, by reason.",
        ),
        metric(
            "cupping_transaction_duration_seconds",
            Histogram,
            [label("name", &[WRITE])],
            "Duration of a unit of work, all attempts included.",
        ),
        metric(
            "cupping_transaction_attempts",
            Histogram,
            [label("name", &[WRITE])],
            "Attempts of a unit of work.",
        ),
    ]
}

/// What units wait for.
fn waits() -> Vec<Metric> {
    use Kind::Histogram;
    vec![
        metric("cupping_lock_wait_seconds", Histogram, [], "Time spent waiting for locks."),
        metric(
            "cupping_connection_wait_seconds",
            Histogram,
            [],
            "Time until a unit of work had a connection of the pool.",
        ),
    ]
}

/// What should be rare.
fn rarities() -> Vec<Metric> {
    use Kind::Counter;
    vec![
        metric(
            "cupping_retries_exhausted_total",
            Counter,
            [label("level", &["message", "transaction"]), reasons(&Reason::ALL)],
            "Work given up after its last attempt: a message's, or a transaction's.",
        ),
        metric(
            "cupping_deadlocks_total",
            Counter,
            [label("relation", &["unknown"])],
            "Deadlocks of which one of our transactions was the victim, by the table named in \
             the error.",
        ),
        metric(
            "cupping_deadlocks_ignored_total",
            Counter,
            [label("name", &[WRITE])],
            "Units given up as the victim of a deadlock, by their own wish.",
        ),
        metric(
            "cupping_retry_budget_spent_total",
            Counter,
            [label("name", &[WRITE])],
            "Units not tried again because the shared budget of retries was spent.",
        ),
        metric(
            "cupping_statements_cancelled_total",
            Counter,
            [label("name", &[WRITE])],
            "Statements cancelled on the server because their caller had given up.",
        ),
        metric(
            "cupping_commits_resolved_total",
            Counter,
            [label("outcome", &["committed", "rolled_back", "unknown"])],
            "COMMITs whose answer was lost, by what was found out.",
        ),
        metric(
            "cupping_transactions_leaked_total",
            Counter,
            [],
            "Connections that came back to the pool inside an open transaction and were closed.",
        ),
    ]
}
