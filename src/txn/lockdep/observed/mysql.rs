//! MySQL and MariaDB as lockdep sees them.
//!
//! Decides: the queries on `information_schema`. Never does: lock a row.

use super::{KeyRow, Observed, assemble, key_of};
use crate::txn::dialect::Sent;
use crate::txn::lockdep::arguments;
use crate::txn::lockdep::binding::Argument;
use crate::txn::lockdep::catalogue::{Catalogue, OnDelete};
use crate::txn::lockdep::class::Key;
use crate::txn::lockdep::reading::Flavour;
use sqlx::{MySql, Pool};

/// Casts, because the servers differ in the types of these columns.
const TABLES: &str = "SELECT CAST(LOWER(t.table_name) AS CHAR), \
     CAST(COALESCE(GROUP_CONCAT(LOWER(s.column_name) ORDER BY s.seq_in_index), '') AS CHAR), \
     COALESCE(s.index_name = 'PRIMARY', FALSE) \
     FROM information_schema.tables t LEFT JOIN information_schema.statistics s \
     ON s.table_schema = t.table_schema AND s.table_name = t.table_name AND s.non_unique = 0 \
     WHERE t.table_schema = DATABASE() AND t.table_type = 'BASE TABLE' \
     GROUP BY t.table_name, s.index_name";

const KEYS: &str = "SELECT CAST(k.constraint_name AS CHAR), CAST(LOWER(k.table_name) AS CHAR), \
     CAST(GROUP_CONCAT(LOWER(k.column_name) ORDER BY k.ordinal_position) AS CHAR), \
     CAST(LOWER(k.referenced_table_name) AS CHAR), \
     CAST(GROUP_CONCAT(LOWER(k.referenced_column_name) ORDER BY k.ordinal_position) AS CHAR), \
     CAST(r.delete_rule AS CHAR) \
     FROM information_schema.key_column_usage k \
     JOIN information_schema.referential_constraints r \
     ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name \
     AND r.table_name = k.table_name \
     WHERE k.table_schema = DATABASE() AND k.referenced_table_name IS NOT NULL \
     GROUP BY k.constraint_name, k.table_name, k.referenced_table_name, r.delete_rule \
     ORDER BY k.table_name, k.constraint_name";

const INDEXED: &str = "SELECT DISTINCT CAST(LOWER(table_name) AS CHAR), \
     CAST(LOWER(column_name) AS CHAR) FROM information_schema.statistics \
     WHERE table_schema = DATABASE() AND seq_in_index = 1 AND index_name <> 'PRIMARY'";

impl Observed for MySql {
    const FLAVOUR: Option<Flavour> = Some(Flavour::MySql);

    fn decoded(arguments: &Self::Arguments) -> Vec<Argument> {
        arguments::mysql(&format!("{arguments:?}")).unwrap_or_default()
    }

    fn key(row: &Self::Row, column: &str) -> Option<Key> {
        use sqlx::Row;
        key_of!(row, column)
            .or_else(|| row.try_get::<u64, _>(column).ok().map(Key::from))
            .or_else(|| row.try_get::<Vec<u8>, _>(column).ok().map(Key::Bytes))
    }

    fn place(pool: &Pool<Self>) -> String {
        pool.connect_options().get_database().unwrap_or_default().to_owned()
    }

    fn catalogue(connection: &mut Self::Connection) -> Sent<'_, Catalogue> {
        Box::pin(async move {
            let tables = sqlx::query_as(TABLES).persistent(false).fetch_all(&mut *connection);
            let tables: Vec<(String, String, bool)> = tables.await?;
            let keys = sqlx::query_as(KEYS).persistent(false).fetch_all(&mut *connection);
            let keys: Vec<KeyRow> = keys.await?;
            let indexed = sqlx::query_as(INDEXED).persistent(false).fetch_all(connection);
            let indexed: Vec<(String, String)> = indexed.await?;
            let mut catalogue = assemble(tables, keys, |action| match action {
                "CASCADE" => OnDelete::Cascade,
                "SET NULL" | "SET DEFAULT" => OnDelete::Overwrite,
                _ => OnDelete::Refuse,
            });
            for (table, column) in indexed {
                let table = catalogue.tables.entry(table.into()).or_default();
                table.indexed.insert(column.into());
            }
            Ok(catalogue)
        })
    }
}
