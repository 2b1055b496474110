//! What one transaction has locked so far, and which edges each further lock adds.
//!
//! Decides: what is covered by a lock already held, and in which direction a lock of the same class
//! lies. Never does: judge an edge (see `graph`), or know of a statement.

use super::class::{Class, Key, Mode};
use super::graph::{Edge, Lock, Step};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Which things of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Which {
    /// These, by the value of a column; several can be compared only by the same column.
    Known(Arc<str>, BTreeSet<Key>),
    /// Those of which a column has one of these values, however many they are.
    Where(Arc<str>, BTreeSet<Key>),
    /// It cannot be seen.
    Unseen,
}

impl Which {
    fn column(&self) -> Option<(&Arc<str>, &BTreeSet<Key>)> {
        match self {
            Self::Known(column, keys) | Self::Where(column, keys) => Some((column, keys)),
            Self::Unseen => None,
        }
    }

    /// Whether these are among those, whatever they are.
    fn within(&self, other: &Self) -> bool {
        match (self.column(), other.column()) {
            (Some((mine, keys)), Some((its, all))) => mine == its && keys.is_subset(all),
            _ => false,
        }
    }
}

/// In which order one statement locks several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// It locks one at most.
    One,
    /// Sorted by this column, upwards or not.
    By(Arc<str>, bool),
    /// In the order of this list.
    Listed(Vec<Key>),
    /// As the plan has it.
    Plan,
}

/// Something that a statement locks.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    /// What and how.
    pub(super) lock: Lock,
    /// Which of them.
    pub(super) which: Which,
    /// In which order.
    pub(super) order: Order,
    /// Whether it may have to wait.
    pub(super) waits: bool,
    /// What it is believed to cover when ids cannot be compared.
    pub(super) covering: Covering,
    /// Whether a foreign key asks for it, not the statement itself.
    pub(super) implied: bool,
    /// Whether it is written, not only locked.
    pub(super) written: bool,
}

/// What a lock is believed to cover when its ids, or those asked for later, cannot be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Covering {
    /// Nothing.
    Nothing,
    /// Whatever the transaction does to this table later: a sorted `SELECT … FOR UPDATE`, a claim
    /// that skips what is locked.
    Later,
    /// The parents of later rows: new rows whose ids the server chose.
    Parents,
}

/// What one transaction holds; `S` says where it asked for it.
#[derive(Debug)]
pub(super) struct Account<S> {
    held: Vec<(Taken, S)>,
    written: Vec<(Class, Which)>,
}

impl<S> Default for Account<S> {
    fn default() -> Self {
        Self { held: Vec::new(), written: Vec::new() }
    }
}

/// An edge, with the place where the first of the two was locked.
#[derive(Debug)]
pub(super) struct Added<S> {
    /// The edge.
    pub(super) edge: Edge,
    /// Where what is held was asked for.
    pub(super) held_at: S,
}

impl<S: Clone> Account<S> {
    /// Notes a lock, and gives back the edges that it adds.
    pub(super) fn take(&mut self, mut taken: Taken, at: &S) -> Vec<Added<S>> {
        if taken.written {
            self.written.push((taken.lock.class.clone(), taken.which.clone()));
        }
        let none = matches!(&taken.which, Which::Known(_, keys) if keys.is_empty());
        if none || self.covers(&mut taken) {
            return Vec::new();
        }
        let mut added = Vec::new();
        if taken.waits {
            for (held, held_at) in &self.held {
                for step in steps(held, &taken) {
                    let (held, asked) = (held.lock.clone(), taken.lock.clone());
                    added
                        .push(Added { edge: Edge { held, asked, step }, held_at: held_at.clone() });
                }
            }
            for step in steps_within(&taken) {
                let (held, asked) = (taken.lock.clone(), taken.lock.clone());
                added.push(Added { edge: Edge { held, asked, step }, held_at: at.clone() });
            }
        }
        self.held.push((taken, at.clone()));
        added
    }

    /// Whether this is held alone, so that it can guard other things: each of these values of a
    /// column, or any when none are named.
    #[must_use]
    pub(super) fn holds_alone(&self, class: &Class, which: Option<(&str, &BTreeSet<Key>)>) -> bool {
        let alone = || {
            self.held.iter().map(|(held, _)| held).filter(|held| {
                held.lock.class == *class && !held.lock.mode.goes_with(held.lock.mode)
            })
        };
        let Some((column, keys)) = which else { return alone().next().is_some() };
        keys.iter().all(|key| {
            alone().any(|held| match &held.which {
                Which::Known(by, held) => **by == *column && held.contains(key),
                _ => false,
            })
        })
    }

    /// Whether the transaction may have written one of these before.
    pub(super) fn may_have_written(&self, class: &Class, which: &Which) -> bool {
        self.written.iter().any(|(written, before)| {
            written == class
                && match (before, which) {
                    (Which::Known(one, before), Which::Known(other, now)) if one == other => {
                        !before.is_disjoint(now)
                    }
                    _ => true,
                }
        })
    }

    /// Gives back what is no longer held.
    pub(super) fn release(&mut self, class: &Class, which: &Which) {
        self.held.retain(|(held, _)| held.lock.class != *class || held.which != *which);
    }

    /// Whether all of it is held already. Leaves in `taken` only what is not.
    fn covers(&self, taken: &mut Taken) -> bool {
        for (held, _) in &self.held {
            if covers_by_table(held, taken) {
                return true;
            }
            if held.lock.class != taken.lock.class || !held.lock.mode.covers(taken.lock.mode) {
                continue;
            }
            if taken.which.within(&held.which) || held.lock.class.is_single() {
                return true;
            }
            match (&held.which, &mut taken.which) {
                (Which::Known(its, all), Which::Known(mine, keys)) if its == mine => {
                    let left: BTreeSet<Key> = keys.difference(all).cloned().collect();
                    if left.is_empty() {
                        return true;
                    }
                    if left.len() == 1 {
                        taken.order = Order::One;
                    }
                    *keys = left;
                }
                _ => match held.covering {
                    Covering::Later => return true,
                    Covering::Parents if taken.implied => return true,
                    Covering::Parents | Covering::Nothing => {}
                },
            }
        }
        false
    }
}

impl Class {
    /// Whether there is but one of it.
    fn is_single(&self) -> bool {
        matches!(self, Self::Table(_))
    }
}

/// A table that nobody else may write or lock rows of.
fn covers_by_table(held: &Taken, taken: &Taken) -> bool {
    match (&held.lock.class, &taken.lock.class) {
        (Class::Table(one), Class::Rows(other)) => {
            one == other && held.lock.mode >= Mode::Exclusive
        }
        _ => false,
    }
}

/// How what is asked for lies to what is held.
fn steps(held: &Taken, asked: &Taken) -> Vec<Step> {
    if held.lock.class != asked.lock.class {
        return vec![Step::Across];
    }
    if held.lock.class.is_single() {
        return vec![Step::Same];
    }
    let (Which::Known(column, before), Which::Known(by, after)) = (&held.which, &asked.which)
    else {
        let same = held.which.column().is_some() && held.which == asked.which;
        return vec![if same { Step::Same } else { Step::Unknown }];
    };
    if column != by {
        return vec![Step::Unknown];
    }
    let others = || after.difference(before);
    let mut steps = Vec::new();
    if before.iter().any(|key| after.contains(key)) {
        steps.push(Step::Same);
    }
    if others().any(|key| before.first().is_some_and(|least| key > least)) {
        steps.push(Step::Up(Arc::clone(column)));
    }
    if others().any(|key| before.last().is_some_and(|greatest| key < greatest)) {
        steps.push(Step::Down(Arc::clone(column)));
    }
    steps
}

/// How what one statement locks lies to itself.
fn steps_within(taken: &Taken) -> Vec<Step> {
    let several = match &taken.which {
        Which::Known(_, keys) => keys.len() > 1,
        _ => !taken.lock.class.is_single(),
    };
    let column = match &taken.which {
        Which::Known(column, _) => Arc::clone(column),
        _ => "".into(),
    };
    match &taken.order {
        _ if !several => Vec::new(),
        Order::One => Vec::new(),
        Order::By(column, true) => vec![Step::Up(Arc::clone(column))],
        Order::By(column, false) => vec![Step::Down(Arc::clone(column))],
        Order::Plan => vec![Step::Plan],
        Order::Listed(keys) => {
            let turns = || keys.iter().zip(keys.iter().skip(1));
            let mut steps = Vec::new();
            if turns().any(|(one, next)| one < next) {
                steps.push(Step::Up(Arc::clone(&column)));
            }
            if turns().any(|(one, next)| one > next) {
                steps.push(Step::Down(column));
            }
            steps
        }
    }
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
