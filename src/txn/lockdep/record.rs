//! What has been seen of one database (or of several alike): its graph, its inversions, what could
//! not be read.
//!
//! Decides: the limits of what is kept. Never does: fail a unit.

use super::account::Added;
use super::graph::{Found, Graph};
use super::report::{self, Inversion};
use std::collections::{BTreeMap, HashMap};
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many different unread statements are kept.
const UNREAD: usize = 1_000;

/// Where a lock was asked for.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) location: &'static Location<'static>,
    pub(super) statement: Arc<str>,
}

/// Who took an edge first.
#[derive(Debug, Clone)]
pub(super) struct Witness {
    pub(super) name: &'static str,
    pub(super) held_at: Place,
    pub(super) asked_at: Place,
}

#[derive(Debug, Default)]
pub(super) struct Record {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    graph: Graph<Witness>,
    inversions: Vec<Inversion>,
    /// The report of each edge that closed a cycle.
    reports: HashMap<usize, String>,
    unread: BTreeMap<String, String>,
    locks: u64,
}

impl Record {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Whoever panicked in here has at worst lost an edge.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an edge; the report, if it closes a cycle or did so before.
    pub(super) fn add(
        &self,
        added: Added<Place>,
        asked_at: &Place,
        name: &'static str,
    ) -> Option<String> {
        let mut seen = self.seen();
        let Added { edge, held_at } = added;
        let witness = || Witness { name, held_at, asked_at: asked_at.clone() };
        match seen.graph.add(edge, witness) {
            Found::Order => None,
            Found::Again(number) => seen.reports.get(&number).cloned(),
            Found::Cycle(cycle) => {
                let inversion = report::inversion(&seen.graph, &cycle);
                let report = inversion.report.clone();
                tracing::warn!(name, inversion = report, "lock order inverted");
                seen.reports.insert(cycle[0], report.clone());
                seen.inversions.push(inversion);
                Some(report)
            }
        }
    }

    pub(super) fn unread(&self, statement: &str, reason: &str) {
        let mut seen = self.seen();
        if seen.unread.len() < UNREAD {
            seen.unread.entry(statement.to_owned()).or_insert_with(|| reason.to_owned());
        }
    }

    pub(super) fn inversions(&self) -> Vec<Inversion> {
        self.seen().inversions.clone()
    }

    pub(super) fn all_unread(&self) -> Vec<(String, String)> {
        self.seen().unread.clone().into_iter().collect()
    }

    pub(super) fn note(&self) {
        self.seen().locks += 1;
    }

    pub(super) fn locks(&self) -> u64 {
        self.seen().locks
    }
}
