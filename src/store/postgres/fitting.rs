//! A mapping fitted to a database: refused where it cannot fit, and given its table of lists.
//!
//! Decides: that a missing table of lists is ours to make. Never does: change a table it did not
//! make.

use super::migrate::DOING;
use super::snapshot::failed;
use crate::config::CatalogueConfig;
use crate::store::mapping::{self, DbColumn, DbSchema, quote, quote_qualified};
use crate::store::{Severity, StoreError};
use sqlx::{AssertSqlSafe, PgPool};

/// Creates the table of lists of a mapped catalogue, without foreign keys.
pub(super) async fn create_lists(
    pool: &PgPool,
    catalogue: &CatalogueConfig,
    schema: &DbSchema,
) -> Result<(), StoreError> {
    let id = schema
        .tables
        .get(&catalogue.bean_table)
        .and_then(|table| table.columns.get(&catalogue.bean_id));
    let Some(id) = id else { return refuse_problems(catalogue, schema) };
    let lists = &catalogue.similarity;
    let table = quote_qualified(&catalogue.schema, &lists.table);
    let (source, similar) = (quote(&lists.source), quote(&lists.similar));
    let sql = format!(
        "CREATE TABLE {table} ({source} {kind} NOT NULL, {similar} {kind} NOT NULL, \
         {score} double precision NOT NULL, PRIMARY KEY ({source}, {similar})); \
         CREATE INDEX ON {table} ({similar})",
        kind = id.type_name,
        score = quote(&lists.score),
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.map(drop).map_err(failed(DOING))
}

/// The schema as it will be once a missing table of lists is made.
pub(super) fn with_lists(catalogue: &CatalogueConfig, mut schema: DbSchema) -> DbSchema {
    let bean = schema.tables.get(&catalogue.bean_table);
    let id = bean.and_then(|table| table.columns.get(&catalogue.bean_id)).cloned();
    let lists = &catalogue.similarity;
    if let Some(id) = id
        && !schema.tables.contains_key(&lists.table)
    {
        let table = schema.tables.entry(lists.table.clone()).or_default();
        table.columns.insert(lists.source.clone(), id.clone());
        table.columns.insert(lists.similar.clone(), id);
        let score = DbColumn::new("double precision", true, false);
        table.columns.insert(lists.score.clone(), score);
        table.indexes.push(vec![lists.source.clone(), lists.similar.clone()]);
    }
    schema
}

/// Refuses a mapping that does not fit, with every problem.
pub(super) fn refuse_problems(
    catalogue: &CatalogueConfig,
    schema: &DbSchema,
) -> Result<(), StoreError> {
    let problems: Vec<String> = mapping::check(catalogue, schema)
        .into_iter()
        .filter(|finding| finding.severity == Severity::Problem)
        .map(|finding| format!("{}: {}", finding.subject, finding.message))
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(StoreError::Schema(format!(
        "the mapping does not fit the database:\n  {}",
        problems.join("\n  ")
    )))
}
