//! An explanation as JSON: `reports`, `unread`, `deadlocks`.

use crate::txn::forensics::model::{Edge, Node, Unread};
use crate::txn::forensics::{Deadlock, Explanation, advice};
use serde::{Serialize, Serializer};

#[derive(Serialize)]
struct ExplanationJson<'a> {
    reports: usize,
    unread: &'a [Unread],
    deadlocks: &'a [Deadlock],
}

#[derive(Serialize)]
struct DeadlockJson<'a> {
    fingerprint: &'a str,
    count: usize,
    first_seen: Option<&'a str>,
    last_seen: Option<&'a str>,
    victim: Option<&'a str>,
    nodes: &'a [Node],
    edges: &'a [Edge],
    advice: &'static str,
}

impl Serialize for Explanation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { reports, unread, deadlocks } = self;
        ExplanationJson { reports: *reports, unread, deadlocks }.serialize(serializer)
    }
}

impl Serialize for Deadlock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        DeadlockJson {
            fingerprint: &self.fingerprint,
            count: self.count,
            first_seen: self.first_seen.as_deref(),
            last_seen: self.last_seen.as_deref(),
            victim: self.report.victim().map(|node| node.id.as_str()),
            nodes: &self.report.nodes,
            edges: &self.report.edges,
            advice: advice(self.pattern),
        }
        .serialize(serializer)
    }
}
