//! Every metric there is: name, kind, labels, meaning.
//!
//! Decides: what is registered at start, with zero values, so that an alert sees the series.
//! Never does: count (see `events`). `docs/METRICS.md` is held equal to this table by a test.

mod outages;
mod transactions;

use crate::domain::message::MessageKind;
use crate::resilience::retryability::Reason;

/// What kind of number a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations, or attempts, in buckets.
    Histogram,
}

impl Kind {
    /// The name in the exposition format.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One label and the values that are registered at start.
#[derive(Debug, Clone)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// The values known in advance; empty where they are known only when they occur.
    pub values: Vec<&'static str>,
}

/// One metric.
#[derive(Debug, Clone)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What kind of number.
    pub kind: Kind,
    /// Its labels.
    pub labels: Vec<Label>,
    /// What it counts, for people.
    pub help: &'static str,
}

impl Metric {
    /// Every combination of the labels' known values; one empty combination without labels, none
    /// where a label has no known value.
    #[must_use]
    pub fn series(&self) -> Vec<Vec<(&'static str, &'static str)>> {
        self.labels.iter().fold(vec![Vec::new()], |series, label| {
            let with = |value: &&'static str| {
                let pair = (label.name, *value);
                series.iter().map(move |one: &Vec<_>| [one.as_slice(), &[pair]].concat())
            };
            label.values.iter().flat_map(with).collect()
        })
    }
}

fn label(name: &'static str, values: &[&'static str]) -> Label {
    Label { name, values: values.to_vec() }
}

fn reasons(chosen: &[Reason]) -> Label {
    Label { name: "reason", values: chosen.iter().map(|reason| reason.label()).collect() }
}

/// The table.
#[must_use]
pub fn metrics() -> Vec<Metric> {
    [messages(), transactions::metrics(), outages::metrics(), rows_and_index(), service()].concat()
}

fn metric(
    name: &'static str,
    kind: Kind,
    labels: impl Into<Vec<Label>>,
    help: &'static str,
) -> Metric {
    Metric { name, kind, labels: labels.into(), help }
}

fn messages() -> Vec<Metric> {
    use Kind::{Counter, Gauge, Histogram};
    let kinds = MessageKind::ALL.map(MessageKind::name);
    let outcomes = ["acked", "retried", "failed", "returned", "lost"];
    let stages = ["queue", "score", "write", "total"];
    vec![
        metric(
            "cupping_messages_received_total",
            Counter,
            [label("kind", &[kinds.as_slice(), &["unknown"]].concat())],
            "Messages taken from a queue, by kind.",
        ),
        metric(
            "cupping_messages_settled_total",
            Counter,
            [label("outcome", &outcomes)],
            "Messages settled: acked, retried (up the ladder), failed (to the failed queue), \
             returned (unstarted, to the queue), lost (the queue gave them to somebody else).",
        ),
        metric(
            "cupping_messages_coalesced_total",
            Counter,
            [],
            "Messages merged into a run that was already waiting.",
        ),
        metric(
            "cupping_message_age_seconds",
            Histogram,
            [],
            "Age of a message when its run began, by its publisher's clock.",
        ),
        metric(
            "cupping_message_duration_seconds",
            Histogram,
            [label("stage", &stages)],
            "Time spent in a stage: waiting here (queue), scoring, writing, and in total.",
        ),
        metric(
            "cupping_message_retries_total",
            Counter,
            [reasons(&Reason::ALL)],
            "Messages sent up the retry ladder, by reason.",
        ),
        metric("cupping_in_flight", Gauge, [], "Beans started and not yet settled."),
        metric(
            "cupping_concurrency_limit",
            Gauge,
            [],
            "Most beans started and not yet settled (pipeline.concurrency).",
        ),
        metric(
            "cupping_reruns_total",
            Counter,
            [label("reason", &["outdated", "arrived"])],
            "Beans run again: outdated (changed after the snapshot) or arrived (a message came \
             while the bean ran).",
        ),
        metric("cupping_ripples_total", Counter, [], "Ripple messages sent to other beans."),
    ]
}

fn rows_and_index() -> Vec<Metric> {
    use Kind::{Counter, Gauge};
    vec![
        metric(
            "cupping_rows_written_total",
            Counter,
            [label("op", &["delete", "insert"])],
            "Rows of the similarity table deleted and inserted.",
        ),
        metric(
            "cupping_writes_skipped_total",
            Counter,
            [label("reason", &["unchanged", "outdated"])],
            "Lists not written: equal to the stored rows, or computed from an outdated snapshot.",
        ),
        metric("cupping_index_beans", Gauge, [], "Beans in the index."),
        metric(
            "cupping_index_lag_changes",
            Gauge,
            [],
            "Changed beans that the last refresh found: how far the index was behind.",
        ),
    ]
}

fn service() -> Vec<Metric> {
    use Kind::{Counter, Gauge};
    vec![
        metric(
            "cupping_broker_reconnects_total",
            Counter,
            [],
            "Times the connection to the broker was rebuilt.",
        ),
        metric(
            "cupping_pool_connections",
            Gauge,
            [label("state", &["in_use", "idle"])],
            "Database connections of the pool.",
        ),
        metric(
            "cupping_stage_restarts_total",
            Counter,
            [label("stage", &["receiver", "dispatcher", "scorer", "writer", "settler"])],
            "Stages of the pipeline that ended unexpectedly and were started again.",
        ),
        metric(
            "cupping_log_lines_dropped_total",
            Counter,
            [],
            "Log lines dropped because the writer could not keep up.",
        ),
        metric(
            "cupping_build_info",
            Gauge,
            [label("version", &[env!("CARGO_PKG_VERSION")])],
            "Always 1; the version is in the label.",
        ),
    ]
}
