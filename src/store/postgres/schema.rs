//! Reads what a schema looks like, through `pg_catalog`.
//!
//! Decides: nothing. Never does: read a row of the catalogue itself.

use super::snapshot::failed;
use crate::config::CatalogueConfig;
use crate::store::StoreError;
use crate::store::mapping::{DbColumn, DbSchema};
use sqlx::PgPool;

/// A generated or identity column counts as one with a default.
const COLUMNS: &str = "\
    SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), \
           a.attnotnull, a.atthasdef OR a.attidentity <> '' \
    FROM pg_catalog.pg_attribute a \
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
      AND a.attnum > 0 AND NOT a.attisdropped";

const INDEXES: &str = "\
    SELECT c.relname::text, array_agg(a.attname::text ORDER BY k.position) \
    FROM pg_catalog.pg_index i \
    JOIN pg_catalog.pg_class c ON c.oid = i.indrelid \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (column_number, position) \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.column_number \
    WHERE n.nspname = $1 AND i.indpred IS NULL AND i.indisvalid \
    GROUP BY c.relname, i.indexrelid";

/// Reads one schema's tables, views, columns and indexes.
///
/// # Errors
/// [`StoreError`] when the database cannot be read.
pub(super) async fn read_schema(pool: &PgPool, name: &str) -> Result<DbSchema, StoreError> {
    let broken = failed("reading the schema of the catalogue");
    let columns: Vec<(String, String, String, bool, bool)> =
        sqlx::query_as(COLUMNS).bind(name.to_owned()).fetch_all(pool).await.map_err(broken)?;
    let indexes: Vec<(String, Vec<String>)> =
        sqlx::query_as(INDEXES).bind(name.to_owned()).fetch_all(pool).await.map_err(broken)?;
    let mut schema = DbSchema { name: name.to_owned(), ..DbSchema::default() };
    for (table, column, type_name, not_null, has_default) in columns {
        let table = schema.tables.entry(table).or_default();
        table.columns.insert(column, DbColumn::new(&type_name, not_null, has_default));
    }
    for (table, columns) in indexes {
        if let Some(table) = schema.tables.get_mut(&table) {
            table.indexes.push(columns);
        }
    }
    Ok(schema)
}

/// Whether the lists' table has foreign keys to the bean table, whatever they do on delete: each
/// row written then locks the beans it names.
pub(super) async fn has_foreign_keys(
    pool: &PgPool,
    catalogue: &CatalogueConfig,
) -> Result<bool, StoreError> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint k \
         JOIN pg_catalog.pg_class lists ON lists.oid = k.conrelid \
         JOIN pg_catalog.pg_class bean ON bean.oid = k.confrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = lists.relnamespace \
         WHERE k.contype = 'f' AND n.nspname = $1 AND lists.relname = $2 \
           AND bean.relnamespace = n.oid AND bean.relname = $3)",
    )
    .bind(catalogue.schema.clone())
    .bind(catalogue.similarity.table.clone())
    .bind(catalogue.bean_table.clone())
    .fetch_one(pool)
    .await
    .map_err(failed("looking for foreign keys of the lists"))
}

/// The server's version as a number (`150020`) and as text (`15.20`).
pub(super) async fn server_version(pool: &PgPool) -> Result<(i32, String), StoreError> {
    sqlx::query_as(
        "SELECT current_setting('server_version_num')::int, current_setting('server_version')",
    )
    .fetch_one(pool)
    .await
    .map_err(failed("asking PostgreSQL for its version"))
}
