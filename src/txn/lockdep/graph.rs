//! The order in which transactions take locks, as a graph, and the first cycle in it.
//!
//! Decides: when orders of locking contradict each other. Never does: know of a statement or a
//! server.
//!
//! An edge says: a transaction that holds this asks for that. It leads on to another edge when what
//! it asks for is what the other holds, in modes of which one waits for the other. A way back to
//! where it began is a deadlock that transactions can run into, though none of them has yet.

use super::class::{Class, Mode};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// One end of an edge.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Lock {
    /// What.
    pub(super) class: Class,
    /// How.
    pub(super) mode: Mode,
    /// What else is held alone whenever this is, row for row: two transactions that are both under
    /// the same guard never meet here.
    pub(super) guards: BTreeSet<Arc<str>>,
}

impl Lock {
    /// Without guards.
    #[must_use]
    pub(super) fn new(class: Class, mode: Mode) -> Self {
        Self { class, mode, guards: BTreeSet::new() }
    }

    /// Whether who asks for this can be made to wait by who holds that.
    fn waits_for(&self, held: &Self) -> bool {
        self.class == held.class
            && self.mode.waits_for(held.mode)
            && self.guards.is_disjoint(&held.guards)
    }
}

/// How what is asked for lies to what is held, where both are of one class.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// They are of different classes.
    Across,
    /// The same thing in another mode.
    Same,
    /// To a greater one, by this column.
    Up(Arc<str>),
    /// To a smaller one, by this column.
    Down(Arc<str>),
    /// Within one statement, in the order of its plan.
    Plan,
    /// It cannot be told.
    Unknown,
}

/// A transaction that held this asked for that.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Edge {
    /// What it held.
    pub(super) held: Lock,
    /// What it asked for.
    pub(super) asked: Lock,
    /// How one lies to the other.
    pub(super) step: Step,
}

impl Edge {
    fn leads_to(&self, next: &Self) -> bool {
        self.asked.waits_for(&next.held)
    }

    /// Whether two transactions, one taking each edge within one class, can wait for each other.
    fn contradicts(&self, other: &Self) -> bool {
        if !self.leads_to(other) || !other.leads_to(self) {
            return false;
        }
        match (&self.step, &other.step) {
            (Step::Same, Step::Same) => self.held.mode.goes_with(other.held.mode),
            (Step::Same | Step::Across, _) | (_, Step::Same | Step::Across) => false,
            (Step::Unknown, _) | (_, Step::Unknown) => true,
            // Every plan on its own may be right; one text has one plan, more or less.
            (Step::Plan, Step::Plan) => false,
            (Step::Plan, _) | (_, Step::Plan) => true,
            (Step::Up(one), Step::Up(other)) | (Step::Down(one), Step::Down(other)) => one != other,
            (Step::Up(_), Step::Down(_)) | (Step::Down(_), Step::Up(_)) => true,
        }
    }
}

/// The edges seen so far, each with its first witness.
#[derive(Debug)]
pub(super) struct Graph<W> {
    edges: Vec<(Edge, W, bool)>,
    numbers: HashMap<Edge, usize>,
    by_held: HashMap<Class, Vec<usize>>,
}

impl<W> Default for Graph<W> {
    fn default() -> Self {
        Self { edges: Vec::new(), numbers: HashMap::new(), by_held: HashMap::new() }
    }
}

/// What an edge is to the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// It contradicts none.
    Order,
    /// It was seen before, and closed a cycle then.
    Again(usize),
    /// It closes a cycle now: numbers of edges, itself first.
    Cycle(Vec<usize>),
}

impl<W> Graph<W> {
    /// An edge by its number, with its first witness.
    #[must_use]
    pub(super) fn edge(&self, number: usize) -> (&Edge, &W) {
        let (edge, witness, _) = &self.edges[number];
        (edge, witness)
    }

    /// Adds an edge. One that closes a cycle is kept aside: whoever takes it again is told again,
    /// and nobody else is blamed for it.
    pub(super) fn add(&mut self, edge: Edge, witness: impl FnOnce() -> W) -> Found {
        if let Some(number) = self.numbers.get(&edge) {
            let inverted = self.edges[*number].2;
            return if inverted { Found::Again(*number) } else { Found::Order };
        }
        let number = self.edges.len();
        self.numbers.insert(edge.clone(), number);
        self.edges.push((edge, witness(), false));
        let cycle = self.cycle(number);
        let Some(cycle) = cycle else {
            let class = self.edges[number].0.held.class.clone();
            self.by_held.entry(class).or_default().push(number);
            return Found::Order;
        };
        self.edges[number].2 = true;
        Found::Cycle(cycle)
    }

    /// The shortest cycle through an edge that is not among the others yet.
    fn cycle(&self, start: usize) -> Option<Vec<usize>> {
        let first = &self.edges[start].0;
        if first.held.class == first.asked.class {
            if first.contradicts(first) {
                return Some(vec![start]);
            }
            let others = self.by_held.get(&first.held.class).into_iter().flatten();
            let other = others.copied().find(|other| first.contradicts(&self.edges[*other].0));
            if let Some(other) = other {
                return Some(vec![start, other]);
            }
        }
        self.way_back(start)
    }

    /// Breadth first, over edges; a way that never leaves its class is no cycle by itself.
    fn way_back(&self, start: usize) -> Option<Vec<usize>> {
        let first = &self.edges[start].0;
        let across = |number: usize| self.edges[number].0.step == Step::Across;
        let origin = (start, across(start));
        let mut from: HashMap<(usize, bool), (usize, bool)> = HashMap::new();
        let mut queue = VecDeque::from([origin]);
        while let Some(at) = queue.pop_front() {
            let edge = &self.edges[at.0].0;
            if at != origin && at.1 && edge.leads_to(first) {
                let mut way = vec![at.0];
                let mut back = at;
                while let Some(before) = from.get(&back).filter(|_| back != origin) {
                    way.push(before.0);
                    back = *before;
                }
                way.reverse();
                return Some(way);
            }
            for next in self.by_held.get(&edge.asked.class).into_iter().flatten().copied() {
                let step = (next, at.1 || across(next));
                if edge.leads_to(&self.edges[next].0) && !from.contains_key(&step) {
                    from.insert(step, at);
                    queue.push_back(step);
                }
            }
        }
        None
    }
}

#[cfg(test)]
#[path = "graph_tests.rs"]
mod tests;
