//! PostgreSQL as lockdep sees it.
//!
//! Decides: the queries on `pg_constraint` and `pg_index`. Never does: lock a row.

use super::{KeyRow, Observed, assemble, key_of};
use crate::txn::dialect::Sent;
use crate::txn::lockdep::arguments;
use crate::txn::lockdep::binding::Argument;
use crate::txn::lockdep::catalogue::{Catalogue, OnDelete};
use crate::txn::lockdep::class::Key;
use crate::txn::lockdep::reading::Flavour;
use sqlx::{Pool, Postgres};

/// A name as unqualified statements write it.
macro_rules! relation {
    ($of:literal) => {
        concat!(
            "(SELECT CASE WHEN n.nspname IN ('public', current_schema()) THEN c.relname::text ",
            "ELSE n.nspname || '.' || c.relname END FROM pg_class c ",
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ",
            $of,
            ")"
        )
    };
}

macro_rules! columns {
    ($of:literal, $numbers:literal) => {
        concat!(
            "(SELECT string_agg(a.attname, ',' ORDER BY k.at) FROM unnest(",
            $numbers,
            "::int2[]) WITH ORDINALITY AS k(attnum, at) JOIN pg_attribute a ON a.attrelid = ",
            $of,
            " AND a.attnum = k.attnum)"
        )
    };
}

/// Every table, with each of its unique keys; one without any is there too. Partial and computed
/// keys name nothing.
const TABLES: &str = concat!(
    "SELECT ",
    relation!("t.oid"),
    ", coalesce(",
    columns!("t.oid", "i.indkey"),
    ", ''), coalesce(i.indisprimary, false) FROM pg_class t \
     JOIN pg_namespace s ON s.oid = t.relnamespace \
     LEFT JOIN pg_index i ON i.indrelid = t.oid AND i.indisunique AND i.indpred IS NULL \
     AND i.indexprs IS NULL AND i.indnatts = i.indnkeyatts \
     WHERE t.relkind IN ('r', 'p') AND s.nspname NOT IN ('pg_catalog', 'information_schema')"
);

const KEYS: &str = concat!(
    "SELECT f.conname::text, ",
    relation!("f.conrelid"),
    ", ",
    columns!("f.conrelid", "f.conkey"),
    ", ",
    relation!("f.confrelid"),
    ", ",
    columns!("f.confrelid", "f.confkey"),
    ", f.confdeltype::text FROM pg_constraint f WHERE f.contype = 'f' ORDER BY f.oid"
);

impl Observed for Postgres {
    const FLAVOUR: Option<Flavour> = Some(Flavour::Postgres);

    fn decoded(arguments: &Self::Arguments) -> Vec<Argument> {
        arguments::postgres(&format!("{arguments:?}")).unwrap_or_default()
    }

    fn key(row: &Self::Row, column: &str) -> Option<Key> {
        key_of!(row, column).or_else(|| {
            use sqlx::{Row, ValueRef};
            let value = row.try_get_raw(column).ok().filter(|value| !value.is_null())?;
            let bytes = value.as_bytes().ok().filter(|bytes| bytes.len() == 16)?;
            Some(Key::Bytes(bytes.to_vec()))
        })
    }

    fn place(pool: &Pool<Self>) -> String {
        pool.connect_options().get_database().unwrap_or_default().to_owned()
    }

    fn catalogue(connection: &mut Self::Connection) -> Sent<'_, Catalogue> {
        Box::pin(async move {
            let tables = sqlx::query_as(TABLES).persistent(false).fetch_all(&mut *connection);
            let tables: Vec<(String, String, bool)> = tables.await?;
            let keys = sqlx::query_as(KEYS).persistent(false).fetch_all(connection);
            let keys: Vec<KeyRow> = keys.await?;
            Ok(assemble(tables, keys, |action| match action {
                "c" => OnDelete::Cascade,
                "n" | "d" => OnDelete::Overwrite,
                _ => OnDelete::Refuse,
            }))
        })
    }
}
