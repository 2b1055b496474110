//! What foreign keys take besides: of parents, and of children.
//!
//! Decides: which rows, and how. Never does: look at what is held.

use super::values::{Value, resolve};
use super::{Binder, Covering, Deed, Flavour, Mode, Order, Pair, Taken, Which};
use crate::txn::lockdep::catalogue::OnDelete;
use crate::txn::lockdep::class::Class;
use crate::txn::lockdep::graph::Lock;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Binder<'_> {
    /// What the foreign keys of written rows take of their parents.
    ///
    /// `again`: the transaction may have written one of these rows before. PostgreSQL then checks
    /// the keys of an UPDATE that leaves them alone: of two checks in one transaction it cannot
    /// tell whether the first is still to come.
    pub(super) fn parents(&self, table: &str, deed: &Deed, again: bool) -> Vec<Taken> {
        let (Deed::Insert(set, _) | Deed::Update(set)) = deed else { return Vec::new() };
        let inserts = matches!(deed, Deed::Insert(..));
        let mode = match self.flavour {
            Flavour::Postgres => Mode::KeyShare,
            Flavour::MySql => Mode::Share,
        };
        let mut taken = Vec::new();
        for key in self.catalogue.parents_of(table) {
            let touched = key.columns.iter().any(|column| set.iter().any(|(set, _)| set == column));
            // An INSERT without columns may set any of them.
            let unnamed = inserts && set.is_empty();
            let rechecked = again && !inserts && self.flavour == Flavour::Postgres;
            let may_touch = touched || unnamed || rechecked;
            if !may_touch {
                continue;
            }
            let of_key = set.iter().filter(|(name, _)| key.columns.contains(name));
            let all_null = of_key.clone().count() > 0
                && of_key
                    .flat_map(|(_, values)| resolve(values, self.arguments))
                    .all(|value| value == Value::Null);
            if all_null {
                continue;
            }
            let renamed: Vec<Pair> = key
                .columns
                .iter()
                .zip(&key.parent_columns)
                .filter_map(|(column, parent)| {
                    let (_, values) = set.iter().find(|(name, _)| name == column)?;
                    Some((parent.clone(), values.clone()))
                })
                .collect();
            let (which, order) = self.which(&renamed, &key.parent_columns);
            let lock = Lock::new(Class::Rows(key.parent.clone()), mode);
            let order = order.unwrap_or(Order::Plan);
            let covering = Covering::Nothing;
            let (waits, implied, written) = (true, true, false);
            taken.push(Taken { lock, which, order, waits, covering, implied, written });
        }
        taken
    }

    /// What a DELETE takes of the children, and of theirs.
    pub(super) fn cascade(
        &self,
        parent: &str,
        deleted: &Which,
        seen: &mut BTreeSet<Arc<str>>,
        taken: &mut Vec<Taken>,
    ) {
        for key in self.catalogue.children_of(parent) {
            if key.on_delete == OnDelete::Refuse || !seen.insert(key.name.clone()) {
                continue;
            }
            let which = match (deleted, key.columns.as_slice()) {
                (Which::Known(_, keys), [column]) => Which::Where(column.clone(), keys.clone()),
                _ => Which::Unseen,
            };
            let mode = match (key.on_delete, self.flavour) {
                (_, Flavour::MySql) => Mode::Update,
                (OnDelete::Cascade, _) => Mode::Delete,
                _ => Mode::NoKeyUpdate,
            };
            let mut lock = Lock::new(Class::Rows(key.child.clone()), mode);
            lock.guards.insert(key.name.clone());
            let (order, covering) = (Order::Plan, Covering::Nothing);
            let (waits, implied, written) = (true, true, true);
            taken.push(Taken { lock, which, order, waits, covering, implied, written });
            if key.on_delete == OnDelete::Cascade {
                self.cascade(&key.child, &Which::Unseen, seen, taken);
            }
        }
    }
}
