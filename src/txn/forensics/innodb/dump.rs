//! One dump: its transactions with their locks, and the graph that follows from them.
//!
//! Decides: who waits for whom, which conflicts belong to the cycle, and who is the victim.
//! Never does: find the sections of a dump (see the module above).

use super::lock::{self, OwnedLock};
use crate::txn::forensics::DeadlockReport;
use crate::txn::forensics::model::{Edge, Engine, Lock, Node};
use crate::txn::forensics::scan;
use std::collections::HashSet;

/// Most locks kept of one section.
const LOCKS: usize = 256;

/// Where a line belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Header,
    Transaction,
    Statement,
    Waits,
    Holds,
    Conflicts,
}

#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) id: String,
    pub(super) thread: Option<String>,
    pub(super) user: Option<String>,
    pub(super) statement: String,
    pub(super) waits: Option<OwnedLock>,
    pub(super) holds: Vec<OwnedLock>,
    pub(super) conflicts: Vec<OwnedLock>,
}

#[derive(Debug)]
pub(super) struct Dump {
    pub(super) transactions: Vec<Transaction>,
    pub(super) section: Section,
    /// The transaction that the section belongs to.
    pub(super) at: usize,
    pub(super) time: Option<String>,
    pub(super) line: usize,
    pub(super) excerpt: String,
    pub(super) victim: Option<usize>,
    pub(super) too_deep: bool,
}

impl Transaction {
    /// A line between the heading and the statement; whether the statement follows.
    pub(super) fn head(&mut self, text: &str) -> bool {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix("TRANSACTION ") {
            let id = rest.split(',').next().unwrap_or_default().trim();
            self.id = scan::head(id.trim_matches(['(', ')']), 40).to_owned();
            return false;
        }
        let Some((_, rest)) = text.split_once("hread id ") else { return false };
        self.thread = scan::digits(rest).map(|(thread, _)| thread.to_owned());
        if let Some((_, rest)) = text.split_once("query id ") {
            let words: Vec<&str> = rest.split_whitespace().collect();
            // `22 127.0.0.1 cupping Updating`, or `22 db1.example 10.0.0.7 app updating`.
            let host = |word: &&str| word.contains('.') || word.contains(':');
            let skip = if words.get(2).is_some_and(host) { 3 } else { 2 };
            self.user = words.get(skip).map(|user| scan::head(user, 80).to_owned());
        }
        true
    }

    pub(super) fn lock_line(&mut self, section: Section, text: &str) {
        if let Some(lock) = lock::parse(text) {
            match section {
                Section::Waits if self.waits.is_none() => self.waits = Some(lock),
                Section::Conflicts if self.conflicts.len() < LOCKS => self.conflicts.push(lock),
                Section::Holds if self.holds.len() < LOCKS => self.holds.push(lock),
                _ => {}
            }
        } else if let Some(heap) = lock::heap(text) {
            let lock = match section {
                Section::Waits => self.waits.as_mut(),
                Section::Conflicts => self.conflicts.last_mut(),
                _ => self.holds.last_mut(),
            };
            if let Some(lock) = lock {
                lock.lock.object.heap_no.get_or_insert(heap);
            }
        }
    }
}

impl Dump {
    /// `Ok(None)` for a heading that nothing followed: the status of a server without a deadlock.
    pub(super) fn report(self) -> Result<Option<DeadlockReport>, String> {
        if self.transactions.is_empty() {
            return if self.too_deep { Err("no transaction follows".into()) } else { Ok(None) };
        }
        if self.transactions.iter().any(|transaction| transaction.id.is_empty()) {
            return Err("a transaction without its lines: the dump is cut, or the log keeps its \
                        headings only, as MySQL's JSON sink does"
                .into());
        }
        let waiting = self.transactions.iter().filter(|one| one.waits.is_some()).count();
        if !self.too_deep && (self.transactions.len() < 2 || waiting == 0) {
            return Err("the dump ends before its second transaction or its locks".into());
        }
        let edges = self.edges();
        let victim = match self.victim {
            // MariaDB may print 0 when it rolls back one that it did not list.
            Some(number) => number.checked_sub(1),
            None => (self.too_deep && self.transactions.len() == 1).then_some(0),
        };
        let mut nodes: Vec<Node> = Vec::new();
        for (at, one) in self.transactions.into_iter().enumerate() {
            let statement = one.statement.trim_end().to_owned();
            let holds: Vec<Lock> = one.holds.into_iter().map(|held| held.lock).collect();
            nodes.push(Node {
                victim: victim == Some(at),
                thread: one.thread,
                user: one.user,
                statement: Some(statement).filter(|statement| !statement.is_empty()),
                holds,
                ..Node::new(one.id)
            });
        }
        let mut known: HashSet<String> = nodes.iter().map(|node| node.id.clone()).collect();
        for edge in &edges {
            if known.insert(edge.holder.clone()) {
                nodes.push(Node::new(&edge.holder));
            }
        }
        let mut report = DeadlockReport::of(Engine::InnoDb, nodes, edges, None);
        report.too_deep = self.too_deep;
        report.timestamp = self.time;
        report.line = self.line;
        Ok(Some(report))
    }

    fn edges(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        let count = self.transactions.len();
        for (at, one) in self.transactions.iter().enumerate() {
            let Some(waits) = &one.waits else { continue };
            let mut conflicts: Vec<(&str, Vec<String>)> = Vec::new();
            for lock in one.conflicts.iter().filter(|lock| lock.owner != one.id) {
                match conflicts.iter_mut().find(|(owner, _)| *owner == lock.owner) {
                    Some((_, modes)) if !modes.contains(&lock.lock.mode) => {
                        modes.push(lock.lock.mode.clone());
                    }
                    Some(_) => {}
                    None => conflicts.push((&lock.owner, vec![lock.lock.mode.clone()])),
                }
            }
            // Of several that conflict, those of the cycle tell the story.
            let listed = |id: &str| self.transactions.iter().any(|other| other.id == id);
            if conflicts.iter().any(|(owner, _)| listed(owner)) {
                conflicts.retain(|(owner, _)| listed(owner));
            }
            if conflicts.is_empty() && count > 1 {
                let next = &self.transactions[(at + 1) % count];
                conflicts.push((&next.id, next.held(&waits.lock)));
            }
            edges.extend(conflicts.into_iter().map(|(holder, held)| Edge {
                waiter: one.id.clone(),
                holder: holder.to_owned(),
                mode: waits.lock.mode.clone(),
                object: waits.lock.object.clone(),
                held,
                ..Edge::default()
            }));
        }
        edges
    }
}

impl Transaction {
    /// The modes of the locks held on the page that another waits for.
    fn held(&self, wanted: &Lock) -> Vec<String> {
        let same = |lock: &&OwnedLock| {
            let (held, wanted) = (&lock.lock.object, &wanted.object);
            held.relation == wanted.relation && held.index == wanted.index
        };
        let mut modes: Vec<String> =
            self.holds.iter().filter(same).map(|lock| lock.lock.mode.clone()).collect();
        modes.sort_unstable();
        modes.dedup();
        modes
    }
}
