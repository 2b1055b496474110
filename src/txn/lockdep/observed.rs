//! What lockdep asks of each database: its arguments, its rows, its catalogue.
//!
//! Decides: the queries. Never does: judge what they say.

use super::binding::Argument;
use super::catalogue::Catalogue;
use super::class::Key;
use super::reading::Flavour;
use crate::txn::dialect::Sent;
use sqlx::{Database, Pool};

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

/// A database whose statements can be observed.
pub trait Observed: Database {
    /// Whose SQL it speaks; `None` where there is nothing to find (SQLite has one writer).
    const FLAVOUR: Option<Flavour>;

    /// The arguments of a statement, as far as they can be read.
    fn decoded(arguments: &Self::Arguments) -> Vec<Argument>;

    /// A row's value in a column.
    fn key(row: &Self::Row, column: &str) -> Option<Key>;

    /// The name of the database that a pool connects to.
    fn place(pool: &Pool<Self>) -> String;

    /// The tables and foreign keys.
    fn catalogue(connection: &mut Self::Connection) -> Sent<'_, Catalogue>;
}

/// An integer, else a text.
#[cfg(any(feature = "postgres", feature = "mysql"))]
macro_rules! key_of {
    ($row:expr, $column:expr) => {{
        use sqlx::Row;
        None.or_else(|| $row.try_get::<i64, _>($column).ok().map(Key::from))
            .or_else(|| $row.try_get::<i32, _>($column).ok().map(Key::from))
            .or_else(|| $row.try_get::<i16, _>($column).ok().map(Key::from))
            .or_else(|| $row.try_get::<String, _>($column).ok().map(Key::from))
    }};
}
#[cfg(any(feature = "postgres", feature = "mysql"))]
use key_of;

/// A row of a catalogue's foreign keys: name, child, columns, parent, its columns, on delete.
#[cfg(any(feature = "postgres", feature = "mysql"))]
type KeyRow = (String, String, String, String, String, String);

#[cfg(any(feature = "postgres", feature = "mysql"))]
fn names(joined: &str) -> Vec<std::sync::Arc<str>> {
    joined.split(',').filter(|name| !name.is_empty()).map(Into::into).collect()
}

/// Puts what the two queries of a catalogue gave together.
#[cfg(any(feature = "postgres", feature = "mysql"))]
fn assemble(
    tables: Vec<(String, String, bool)>,
    keys: Vec<KeyRow>,
    on_delete: impl Fn(&str) -> super::catalogue::OnDelete,
) -> Catalogue {
    let mut catalogue = Catalogue::default();
    for (table, columns, primary) in tables {
        let table = catalogue.tables.entry(table.into()).or_default();
        let columns = names(&columns);
        if primary {
            table.primary.clone_from(&columns);
        }
        if !columns.is_empty() {
            table.unique.insert(columns);
        }
    }
    catalogue.foreign_keys = keys
        .into_iter()
        .map(|(name, child, columns, parent, parent_columns, action)| {
            super::catalogue::ForeignKey {
                name: format!("{child}.{name}").into(),
                child: child.into(),
                columns: names(&columns),
                parent: parent.into(),
                parent_columns: names(&parent_columns),
                on_delete: on_delete(&action),
            }
        })
        .collect();
    catalogue
}
