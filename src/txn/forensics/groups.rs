//! Equal deadlocks together: how often, when first, when last.
//!
//! Decides: which reports tell of one and the same event (a client's error and the server's log,
//! an exception that a stack trace quotes twice), and the order of groups.
//! Never does: lose a report: every one read is counted in `reports`.

use super::DeadlockReport;
use super::model::{Edge, Engine, ObjectKind, Unread};
use super::pattern::{Pattern, pattern};
use super::reader::Reading;
use std::collections::HashMap;

/// Deadlocks of one shape.
///
/// ```
/// use cupping::txn::forensics::{Deadlock, explain, read};
///
/// let log = "Process 7 waits for ShareLock on transaction 768; blocked by process 12.\n\
///            Process 12 waits for ShareLock on transaction 767; blocked by process 7.\n";
/// let Deadlock { count, report, .. } = &explain(read(log.as_bytes())).deadlocks[0];
/// assert_eq!((*count, report.nodes.len()), (1, 2));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deadlock {
    /// What they share.
    pub fingerprint: String,
    /// How many happened; one that several inputs report happened once.
    pub count: usize,
    /// The earliest time told.
    pub first_seen: Option<String>,
    /// The latest time told.
    pub last_seen: Option<String>,
    /// What kind of deadlock it is.
    pub pattern: Pattern,
    /// The report of them that tells most.
    pub report: DeadlockReport,
}

/// What the command prints: everything that was read, grouped.
///
/// ```
/// use cupping::txn::forensics::{explain, read};
///
/// let explanation = explain(read(b"no report in here"));
/// assert_eq!(explanation.text(), "no deadlock report found");
/// assert!(explanation.mermaid().starts_with("flowchart"));
/// assert!(explanation.dot().starts_with("digraph"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// How many reports were read, repetitions of one event included.
    pub reports: usize,
    /// What looked like a report and could not be read.
    pub unread: Vec<Unread>,
    /// The distinct deadlocks, the most frequent first.
    pub deadlocks: Vec<Deadlock>,
}

/// Groups the reports of a reading by fingerprint.
///
/// ```
/// use cupping::txn::forensics::{explain, read};
///
/// let log = "Process 7 waits for ShareLock on transaction 768; blocked by process 12.\n\
///            Process 12 waits for ShareLock on transaction 767; blocked by process 7.\n";
/// let later = log.replace("76", "99");
/// let explanation = explain(read([log, &later].concat().as_bytes()));
/// assert_eq!(explanation.deadlocks.len(), 1);
/// assert_eq!(explanation.deadlocks[0].count, 2);
/// ```
#[must_use]
pub fn explain(reading: Reading) -> Explanation {
    let Reading { reports, unread } = reading;
    let count = reports.len();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut events = Events::default();
    let mut deadlocks: Vec<Deadlock> = Vec::new();
    for report in reports {
        let once = events.first(&report);
        match places.get(&report.fingerprint) {
            Some(at) => deadlocks[*at].add(report, once),
            None => {
                places.insert(report.fingerprint.clone(), deadlocks.len());
                deadlocks.push(Deadlock {
                    fingerprint: report.fingerprint.clone(),
                    count: 1,
                    first_seen: report.timestamp.clone(),
                    last_seen: report.timestamp.clone(),
                    pattern: Pattern::Unknown,
                    report,
                });
            }
        }
    }
    for deadlock in &mut deadlocks {
        deadlock.pattern = pattern(&deadlock.report);
    }
    deadlocks.sort_by_key(|deadlock| std::cmp::Reverse(deadlock.count));
    Explanation { reports: count, unread, deadlocks }
}

impl Deadlock {
    fn add(&mut self, report: DeadlockReport, once: bool) {
        self.count += usize::from(once);
        if let Some(time) = &report.timestamp {
            if self.first_seen.as_ref().is_none_or(|first| time < first) {
                self.first_seen = Some(time.clone());
            }
            if self.last_seen.as_ref().is_none_or(|last| time > last) {
                self.last_seen = Some(time.clone());
            }
        }
        if told(&report) > told(&self.report) {
            self.report = report;
        }
    }
}

/// How much a report tells.
fn told(report: &DeadlockReport) -> usize {
    let statements = report.nodes.iter().filter(|node| node.statement.is_some()).count();
    let contexts = report.edges.iter().filter(|edge| edge.context.is_some()).count();
    let named = report.nodes.iter().filter(|node| node.application.is_some()).count();
    4 * statements + 2 * contexts + named
}

/// The events that were seen.
#[derive(Default)]
struct Events {
    /// Seconds at which an event was reported, by its ids.
    seconds: HashMap<String, Vec<Option<String>>>,
}

impl Events {
    /// Whether a report tells of an event that no report told of before.
    ///
    /// Ids of transactions are not used twice. Where none is told (advisory and table locks), the
    /// second has to be the same too, or be told by only one of both.
    fn first(&mut self, report: &DeadlockReport) -> bool {
        if report.edges.is_empty() {
            return true;
        }
        let transaction = |edge: &Edge| edge.object.kind == ObjectKind::Transaction;
        let unique = report.engine == Engine::InnoDb || report.edges.iter().any(transaction);
        let time = report.timestamp.as_deref().filter(|_| !unique);
        let second = time.and_then(|time| time.get(..19)).map(str::to_owned);
        let seen = self.seconds.entry(ids(report)).or_default();
        let same = |known: &Option<String>| known.is_none() || second.is_none() || *known == second;
        // The newest are enough: two reports of one event stand close to each other.
        if seen.iter().rev().take(8).any(same) {
            return false;
        }
        seen.push(second);
        true
    }
}

/// Everything that has a number in a report.
fn ids(report: &DeadlockReport) -> String {
    let mut ids = report.fingerprint.clone();
    for edge in &report.edges {
        let object = &edge.object;
        let transaction = object.transaction.as_deref().unwrap_or_default();
        let key = object.key.as_deref().unwrap_or_default();
        let oid = object.oid.unwrap_or_default();
        ids.push_str(&format!(" {}-{}-{transaction}-{oid}-{key}", edge.waiter, edge.holder));
    }
    ids
}

#[cfg(feature = "postgres")]
impl Explanation {
    /// The OIDs of all relations, each once.
    pub(super) fn oids(&self) -> std::collections::BTreeSet<u32> {
        let edges = self.deadlocks.iter().flat_map(|deadlock| &deadlock.report.edges);
        edges.filter_map(|edge| edge.object.oid).collect()
    }

    /// Names relations of a database; returns how many edges have a name now.
    pub(super) fn name(&mut self, database: &str, names: &HashMap<u32, String>) -> usize {
        let mut named = 0;
        let edges = self.deadlocks.iter_mut().flat_map(|deadlock| &mut deadlock.report.edges);
        for object in edges.map(|edge| &mut edge.object) {
            // Shared relations stand under database 0.
            let ours = object.database.as_deref().is_none_or(|d| d == database || d == "0");
            if let Some(name) = object.oid.filter(|_| ours).and_then(|oid| names.get(&oid)) {
                object.relation = Some(name.clone());
                named += 1;
            }
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use super::super::reader::read;
    use super::*;

    /// An advisory deadlock of the same two processes, told by a log at a time, or by a client.
    fn told(time: Option<&str>) -> String {
        let label = time.map(|time| format!("2026-11-22 {time} UTC [7] DETAIL:  "));
        let wait = |from, key, to| {
            format!(
                "Process {from} waits for ExclusiveLock on advisory lock [5,0,{key},1]; blocked \
                 by process {to}."
            )
        };
        let (first, second) = (wait(7, 1, 9), wait(9, 2, 7));
        format!("{}{first}\n\t{second}\n", label.unwrap_or_default())
    }

    fn count(texts: &[String]) -> (usize, usize) {
        let explanation = explain(read(texts.concat().as_bytes()));
        assert_eq!(explanation.deadlocks.len(), 1);
        (explanation.reports, explanation.deadlocks[0].count)
    }

    #[test]
    fn without_ids_of_transactions_the_second_tells_events_apart() {
        let at = |time| told(Some(time));
        assert_eq!(count(&[at("06:00:00.100"), at("06:00:07.100")]), (2, 2));
        assert_eq!(count(&[at("06:00:00.100"), at("06:00:00.900")]), (2, 1));
        assert_eq!(count(&[told(None), at("06:00:00.900")]), (2, 1));
    }

    #[test]
    fn first_and_last_are_the_earliest_and_the_latest() {
        let texts = [told(Some("06:00:07")), told(Some("06:00:01")), told(Some("06:00:03"))];
        let explanation = explain(read(texts.concat().as_bytes()));
        let deadlock = &explanation.deadlocks[0];
        assert_eq!(deadlock.first_seen.as_deref(), Some("2026-11-22T06:00:01Z"));
        assert_eq!(deadlock.last_seen.as_deref(), Some("2026-11-22T06:00:07Z"));
    }
}
