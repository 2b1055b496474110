//! Names for the OIDs in reports, asked of PostgreSQL.
//!
//! Decides: that only OIDs of the connected database are named: another database may use the same
//! numbers. Never does: change anything, or fail a report because a relation is gone.

use super::Explanation;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use std::collections::HashMap;
use std::time::Duration;

/// How long to wait for a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// The names could not be asked for.
///
/// ```no_run
/// # async fn example(log: &[u8]) {
/// use cupping::txn::forensics::names::{NamesError, name_relations_at};
/// use cupping::txn::forensics::{explain, read};
///
/// let mut explanation = explain(read(log));
/// let named = name_relations_at("postgres://reader@db/shop", &mut explanation).await;
/// if let Err(NamesError::Connect(error)) = named {
///     tracing::warn!(%error, "relations keep their numbers");
/// }
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NamesError {
    /// The URL is none of PostgreSQL, or no connection came about in ten seconds.
    #[error("cannot connect to the database that names the relations: {0}")]
    Connect(#[source] sqlx::Error),
    /// The query failed.
    #[error("cannot read the names of relations: {0}")]
    Query(#[source] sqlx::Error),
}

/// Gives names to the relations of an explanation by their OIDs; returns how many it named.
///
/// # Errors
/// [`NamesError::Query`] when the query fails.
///
/// ```no_run
/// # async fn example(pool: sqlx::PgPool, log: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
/// use cupping::txn::forensics::{explain, names, read};
///
/// let mut explanation = explain(read(log));
/// names::name_relations(&pool, &mut explanation).await?;
/// # Ok(()) }
/// ```
pub async fn name_relations(
    pool: &PgPool,
    explanation: &mut Explanation,
) -> Result<usize, NamesError> {
    let oids = explanation.oids();
    if oids.is_empty() {
        return Ok(0);
    }
    let numbers: Vec<i64> = oids.into_iter().map(i64::from).collect();
    // Only what the search path hides is qualified, as in regclass.
    let sql = "SELECT (SELECT oid::int8 FROM pg_database WHERE datname = current_database()), \
                      oid::int8, oid::regclass::text \
               FROM pg_class WHERE oid::int8 = ANY($1)";
    let rows: Vec<(i64, i64, String)> =
        sqlx::query_as(sql).bind(numbers).fetch_all(pool).await.map_err(NamesError::Query)?;
    let Some((database, _, _)) = rows.first() else { return Ok(0) };
    let database = database.to_string();
    let names: HashMap<u32, String> = rows
        .into_iter()
        .filter_map(|(_, oid, name)| Some((u32::try_from(oid).ok()?, name)))
        .collect();
    Ok(explanation.name(&database, &names))
}

/// Like [`name_relations`], over a connection of its own that ends with the call.
///
/// # Errors
/// [`NamesError::Connect`] when the URL is wrong or nobody answers; else as [`name_relations`].
///
/// ```no_run
/// # async fn example(log: &[u8]) -> Result<(), cupping::txn::forensics::names::NamesError> {
/// use cupping::txn::forensics::{explain, names, read};
///
/// let mut explanation = explain(read(log));
/// names::name_relations_at("postgres://reader@db.example/shop", &mut explanation).await?;
/// # Ok(()) }
/// ```
pub async fn name_relations_at(
    url: &str,
    explanation: &mut Explanation,
) -> Result<usize, NamesError> {
    let options = PgPoolOptions::new().max_connections(1).acquire_timeout(PATIENCE);
    let pool = options.connect(url).await.map_err(NamesError::Connect)?;
    let named = name_relations(&pool, explanation).await;
    pool.close().await;
    named
}
