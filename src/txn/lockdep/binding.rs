//! From what a statement's text says to what it takes, by its arguments and the catalogue.
//!
//! Decides: modes, ids, orders, and what foreign keys take besides. Never does: parse, or judge an
//! order.

use super::access::{Access, Deed, Pair, Sorting, Twin};
use super::account::{Account, Covering, Order, Taken, Which};
use super::catalogue::Catalogue;
use super::class::{Class, Key, Mode};
use super::graph::Lock;
use super::reading::Flavour;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use values::{Value, resolve};

mod keys;
mod values;

/// An argument, as far as it can be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// One value.
    One(Key),
    /// An array.
    Many(Vec<Key>),
    /// NULL.
    Null,
    /// Anything else.
    Opaque,
}

/// The rows that came back, by the columns that tell them apart.
pub(super) type Returned = Option<Vec<Key>>;

/// What every statement is bound with.
pub(super) struct Binder<'b> {
    /// Whose SQL it is.
    pub(super) flavour: Flavour,
    /// The tables.
    pub(super) catalogue: &'b Catalogue,
    /// Tables whose rows are locked only under a lock of this class.
    pub(super) guarded: &'b HashMap<Arc<str>, Class>,
    /// The statement's arguments.
    pub(super) arguments: &'b [Argument],
}

impl Binder<'_> {
    /// What an access takes, in order. `returned` are the ids of the rows that it gave back.
    pub(super) fn bind<S: Clone>(
        &self,
        access: &Access,
        returned: &Returned,
        account: &Account<S>,
    ) -> Vec<Taken> {
        let one = |class, mode, which, order, waits| {
            let lock = Lock::new(class, mode);
            let (covering, implied) = (Covering::Nothing, false);
            vec![Taken { lock, which, order, waits, covering, implied, written: false }]
        };
        match access {
            Access::Table(table, mode, waits) => {
                one(Class::Table(table.clone()), *mode, Which::Unseen, Order::One, *waits)
            }
            Access::Advisory(space, keys, mode, waits) => {
                let space = space.as_ref().map(|space| match self.operand(space) {
                    Value::Known(key) => key,
                    _ => Key::Text("?".into()),
                });
                let (which, order) = self.which(&[("key".into(), keys.clone())], &["key".into()]);
                let order = order.unwrap_or(Order::Plan);
                one(Class::Advisory(space), *mode, which, order, *waits)
            }
            Access::Named(name, waits) => {
                one(Class::Named, Mode::Exclusive, self.named(name), Order::One, *waits)
            }
            Access::Unnamed(_) => Vec::new(),
            Access::Rows { table, deed, filter, sorting, single, waits } => {
                let fetched_none = returned.as_ref().is_some_and(Vec::is_empty);
                if fetched_none && matches!(deed, Deed::Lock(_)) {
                    return Vec::new();
                }
                let mut rows = self.rows(table, deed, filter, sorting, *single, *waits);
                let identity = self.identity(table);
                let seen = matches!(&rows.which, Which::Known(by, _) if *by == identity);
                // Rows may come back as texts; what was asked for has the type of the argument.
                if let Some(keys) = returned.as_ref().filter(|keys| !seen && !keys.is_empty()) {
                    rows.which = Which::Known(identity, keys.iter().cloned().collect());
                }
                rows.lock.guards = self.guards(table, filter, account);
                let again = account.may_have_written(&rows.lock.class, &rows.which);
                let mut taken = self.parents(table, deed, again);
                if *deed == Deed::Delete {
                    let mut seen = BTreeSet::new();
                    self.cascade(table, &rows.which, &mut seen, &mut taken);
                }
                let inserts = matches!(deed, Deed::Insert(..));
                let columns = filter.iter().map(|(column, _)| column);
                if !inserts && self.catalogue.found_by_index(table, columns) {
                    let mut entries = self.rows(table, deed, filter, sorting, *single, *waits);
                    let lock = Lock::new(Class::Index(table.clone()), entries.lock.mode);
                    entries.lock = Lock { guards: rows.lock.guards.clone(), ..lock };
                    // The order within is the rows' to judge.
                    entries.order = Order::One;
                    entries.written = false;
                    taken.insert(0, rows);
                    taken.insert(0, entries);
                } else {
                    taken.insert(0, rows);
                }
                taken
            }
        }
    }

    /// The name of a named lock.
    pub(super) fn named(&self, name: &super::access::Operand) -> Which {
        match self.operand(name) {
            Value::Known(key) => Which::Known("name".into(), [key].into()),
            _ => Which::Unseen,
        }
    }

    fn operand(&self, operand: &super::access::Operand) -> Value {
        values::one(operand, self.arguments)
    }

    fn identity(&self, table: &str) -> Arc<str> {
        self.catalogue.identity(table).join(",").into()
    }

    fn rows(
        &self,
        table: &Arc<str>,
        deed: &Deed,
        filter: &[Pair],
        sorting: &Sorting,
        single: bool,
        waits: bool,
    ) -> Taken {
        let pairs = if let Deed::Insert(values, _) = deed { values.as_slice() } else { filter };
        let identity = self.catalogue.identity(table);
        let (mut which, mut order) = self.which(pairs, &identity);
        if !matches!(which, Which::Known(..))
            && let Some(table) = self.catalogue.tables.get(table)
        {
            let by_key = table.unique.iter().map(|key| self.which(pairs, key));
            if let Some(found) = by_key.into_iter().find(|(w, _)| matches!(w, Which::Known(..))) {
                (which, order) = found;
            }
        }
        let inserts = matches!(deed, Deed::Insert(..));
        let columns = pairs.iter().filter(|(_, values)| resolve(values, self.arguments).len() == 1);
        let columns: BTreeSet<Arc<str>> = columns.map(|(name, _)| name.clone()).collect();
        let by_key = !inserts && self.catalogue.names_one(table, &columns);
        let one = single || by_key;
        let order = match (sorting, order) {
            _ if one => Order::One,
            (Sorting::By(column, upwards), _) => Order::By(column.clone(), *upwards),
            (Sorting::None, order) => order.unwrap_or(Order::Plan),
        };
        let (mode, waits) = match self.mode(table, deed) {
            (mode, true) => (mode, waits),
            (mode, false) => (mode, false),
        };
        // One row by its key says nothing about any other.
        let sorted = !by_key && (matches!(order, Order::By(..)) || !waits);
        let covering = match deed {
            Deed::Lock(_) if sorted => Covering::Later,
            Deed::Insert(..) if which == Which::Unseen => Covering::Parents,
            _ => Covering::Nothing,
        };
        let lock = Lock::new(Class::Rows(table.clone()), mode);
        let written = !matches!(deed, Deed::Lock(_));
        Taken { lock, which, order, waits, covering, implied: false, written }
    }

    /// How rows are locked, and whether that may wait. An INSERT waits only for a twin, which then
    /// makes it fail; so it waits for nothing that an order could put right.
    fn mode(&self, table: &str, deed: &Deed) -> (Mode, bool) {
        match (deed, self.flavour) {
            (Deed::Lock(mode), _) => (*mode, true),
            (Deed::Insert(_, twin), Flavour::MySql) => (Mode::Update, *twin != Twin::Fail),
            (Deed::Insert(_, Twin::Fail), Flavour::Postgres) => (Mode::Insert, false),
            (Deed::Insert(_, Twin::Keep), Flavour::Postgres) => (Mode::Insert, true),
            (Deed::Insert(_, Twin::Update), Flavour::Postgres) => (Mode::Upsert, true),
            (Deed::Update(_) | Deed::Delete, Flavour::MySql) => (Mode::Update, true),
            (Deed::Delete, Flavour::Postgres) => (Mode::Delete, true),
            (Deed::Update(set), Flavour::Postgres) => {
                let keys = set.iter().any(|(column, _)| self.catalogue.is_key(table, column));
                (if keys { Mode::Update } else { Mode::NoKeyUpdate }, true)
            }
        }
    }

    /// Which rows have these values in all of these columns, and the order of their list.
    fn which(&self, pairs: &[Pair], columns: &[Arc<str>]) -> (Which, Option<Order>) {
        let found = values::tuples(pairs, columns, self.arguments);
        if let Some((keys, listed)) = found {
            let order = listed.then(|| Order::Listed(keys.clone()));
            let name = columns.join(",").into();
            return (Which::Known(name, keys.into_iter().collect()), order);
        }
        let visible = pairs.iter().find_map(|(name, values)| {
            let keys = values::keys(values, self.arguments)?;
            Some((name.clone(), keys.into_iter().collect::<BTreeSet<Key>>()))
        });
        match visible {
            Some((name, keys)) => (Which::Where(name, keys), None),
            None => (Which::Unseen, None),
        }
    }

    /// What is held alone whenever these rows are: the parents by which they are chosen, or what
    /// the table is said to be guarded by.
    fn guards<S: Clone>(
        &self,
        table: &str,
        filter: &[Pair],
        account: &Account<S>,
    ) -> BTreeSet<Arc<str>> {
        let mut guards = BTreeSet::new();
        if let Some(class) = self.guarded.get(table)
            && account.holds_alone(class, None)
        {
            guards.insert(format!("declared for {table}").into());
        }
        for key in self.catalogue.parents_of(table) {
            let ([column], [parent_column]) =
                (key.columns.as_slice(), key.parent_columns.as_slice())
            else {
                continue;
            };
            let values = filter.iter().find(|(name, _)| name == column);
            let Some(keys) = values.and_then(|(_, values)| values::keys(values, self.arguments))
            else {
                continue;
            };
            let keys: BTreeSet<Key> = keys.into_iter().collect();
            let class = Class::Rows(key.parent.clone());
            if account.holds_alone(&class, Some((parent_column, &keys))) {
                guards.insert(key.name.clone());
            }
        }
        guards
    }
}

#[cfg(test)]
#[path = "binding_tests.rs"]
mod tests;
