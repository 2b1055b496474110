//! What lockdep knows of a database's tables: their keys and their foreign keys.
//!
//! Decides: which locks follow from one. Never does: read it (see `observed`).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What happens to the children of a deleted row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDelete {
    /// They are looked for, and the DELETE is refused if there are any.
    Refuse,
    /// They are deleted.
    Cascade,
    /// Their column is overwritten.
    Overwrite,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// Its name.
    pub name: Arc<str>,
    /// The table that refers.
    pub child: Arc<str>,
    /// The columns that refer.
    pub columns: Vec<Arc<str>>,
    /// The table that is referred to.
    pub parent: Arc<str>,
    /// The columns that are referred to.
    pub parent_columns: Vec<Arc<str>>,
    /// What a DELETE of the parent does.
    pub on_delete: OnDelete,
}

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// The columns of its primary key.
    pub primary: Vec<Arc<str>>,
    /// The columns of each of its unique keys, the primary among them.
    pub unique: BTreeSet<Vec<Arc<str>>>,
    /// The first column of each secondary index, where its entries are locked too (InnoDB).
    pub indexed: BTreeSet<Arc<str>>,
}

/// The tables of a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// By name; in another schema than the session's first with that in front.
    pub tables: HashMap<Arc<str>, Table>,
    /// In the order in which the server checks them.
    pub foreign_keys: Vec<ForeignKey>,
}

impl Catalogue {
    /// The column by which rows of a table are told apart.
    #[must_use]
    pub fn identity(&self, table: &str) -> Vec<Arc<str>> {
        match self.tables.get(table) {
            Some(table) if !table.primary.is_empty() => table.primary.clone(),
            _ => vec!["id".into()],
        }
    }

    /// Whether values for these columns name one row at most.
    #[must_use]
    pub fn names_one(&self, table: &str, columns: &BTreeSet<Arc<str>>) -> bool {
        let within = |key: &Vec<Arc<str>>| key.iter().all(|column| columns.contains(column));
        within(&self.identity(table))
            || self.tables.get(table).is_some_and(|table| table.unique.iter().any(within))
    }

    /// Whether rows chosen by these columns may be found by a secondary index whose entries are
    /// locked.
    #[must_use]
    pub fn found_by_index<'c>(
        &self,
        table: &str,
        columns: impl Iterator<Item = &'c Arc<str>> + Clone,
    ) -> bool {
        let by_primary = self.identity(table).iter().all(|key| columns.clone().any(|c| c == key));
        let indexed = |table: &Table| columns.clone().any(|c| table.indexed.contains(c));
        !by_primary && self.tables.get(table).is_some_and(indexed)
    }

    /// Whether a column belongs to a key that others may refer to.
    #[must_use]
    pub fn is_key(&self, table: &str, column: &str) -> bool {
        self.tables.get(table).is_some_and(|table| {
            table.unique.iter().any(|key| key.iter().any(|part| **part == *column))
        })
    }

    /// The foreign keys of a table.
    pub fn parents_of<'c>(&'c self, child: &'c str) -> impl Iterator<Item = &'c ForeignKey> {
        self.foreign_keys.iter().filter(move |key| *key.child == *child)
    }

    /// The foreign keys that refer to a table.
    pub fn children_of<'c>(&'c self, parent: &'c str) -> impl Iterator<Item = &'c ForeignKey> {
        self.foreign_keys.iter().filter(move |key| *key.parent == *parent)
    }
}
