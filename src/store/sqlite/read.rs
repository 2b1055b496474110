//! Reading the catalogue: taxonomies, beans, ids.
//!
//! Decides: that a load sees one snapshot, and carries its mark. Never does: a query a bean.

use super::{SqliteStore, failed};
use crate::config::Refresh;
use crate::domain::bean::{Bean, BeanId, Features};
use crate::domain::dimension::Taxonomy;
use crate::store::rows::{TreeRow, bag, nodes, readable_id};
use crate::store::statements::Statements;
use crate::store::streaming::{Pieces, stream};
use crate::store::{Loading, LogMark, StoreError};
use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Executor, Row};

const DOING: &str = "loading the catalogue";

/// The last number ever given in the change log, whether or not its row was pruned.
pub(super) const LAST_SEQ: &str =
    "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'cupping_change_log'";

impl SqliteStore {
    pub(super) async fn load_all(
        &self,
        sink: &mut (dyn FnMut(Loading) + Send),
    ) -> Result<LogMark, StoreError> {
        let store = self.clone();
        let mark = stream(|sender| stream_all(store, sender), sink, failed(DOING)).await?;
        Ok(match self.settings.catalogue.refresh {
            Refresh::Log => mark,
            Refresh::Reload => LogMark::default(),
        })
    }

    pub(super) async fn some_beans(&self, ids: &[BeanId]) -> Result<Vec<Bean>, StoreError> {
        let query = sqlx::query(self.statements.beans.text()).bind(self.bound(ids)?);
        let broken = failed("reading beans");
        let rows = query.fetch_all(&self.read_pool).await.map_err(broken)?;
        rows.iter().filter_map(|row| read_bean(row, &self.statements).transpose()).collect()
    }

    pub(super) async fn page_of_ids(
        &self,
        after: Option<&BeanId>,
        limit: usize,
    ) -> Result<Vec<BeanId>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let query = match after {
            Some(after) => {
                self.accepted(after)?;
                sqlx::query_scalar(self.statements.ids_after.text())
                    .bind(after.as_str().to_owned())
                    .bind(limit)
            }
            None => sqlx::query_scalar(self.statements.ids_first.text()).bind(limit),
        };
        let texts: Vec<String> =
            query.fetch_all(&self.read_pool).await.map_err(failed("reading a page of bean ids"))?;
        Ok(texts.iter().filter_map(|text| readable_id(text)).collect())
    }

    pub(super) async fn count_beans(&self) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar(self.statements.count.text())
            .fetch_one(&self.read_pool)
            .await
            .map_err(failed("counting beans"))?;
        Ok(count.unsigned_abs())
    }
}

async fn stream_all(store: SqliteStore, sender: Pieces<Loading>) -> Result<LogMark, StoreError> {
    let broken = failed(DOING);
    let mut connection = store.read_pool.acquire().await.map_err(broken)?;
    // A read that fails half-way leaves the transaction open; the pool's guard then closes it.
    connection.execute("BEGIN DEFERRED").await.map_err(broken)?;
    let mark: i64 =
        sqlx::query_scalar(LAST_SEQ).fetch_one(&mut *connection).await.map_err(broken)?;
    let taxonomy = read_taxonomy(&mut connection, &store.statements).await?;
    // A receiver that is gone means that nobody waits for the rest.
    if sender.send(Loading::Taxonomy(taxonomy)).await.is_ok() {
        let mut rows = sqlx::query(store.statements.load.text()).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await.map_err(broken)? {
            let Some(bean) = read_bean(&row, &store.statements)? else { continue };
            if sender.send(Loading::Bean(bean)).await.is_err() {
                break;
            }
        }
    }
    connection.execute("COMMIT").await.map_err(broken)?;
    Ok(LogMark(mark.to_string()))
}

async fn read_taxonomy(
    connection: &mut SqliteConnection,
    statements: &Statements,
) -> Result<Taxonomy, StoreError> {
    let broken = failed("reading the taxonomies");
    let mut taxonomy = Taxonomy::default();
    for dimension in &statements.taxonomies {
        let (mut rows, mut pairs): (Vec<TreeRow>, Vec<(String, String)>) = Default::default();
        if let Some(sql) = dimension {
            let query = sqlx::query_as(sql.nodes.text());
            rows = query.fetch_all(&mut *connection).await.map_err(broken)?;
            if let Some(parents) = &sql.parents {
                let query = sqlx::query_as(parents.text());
                pairs = query.fetch_all(&mut *connection).await.map_err(broken)?;
            }
        }
        taxonomy.dimensions.push(nodes(rows, pairs));
    }
    Ok(taxonomy)
}

pub(super) fn read_bean(
    row: &SqliteRow,
    statements: &Statements,
) -> Result<Option<Bean>, StoreError> {
    let broken = failed("reading beans");
    let text: String = row.try_get(0).map_err(broken)?;
    let Some(id) = readable_id(&text) else { return Ok(None) };
    let mut bags = Vec::with_capacity(statements.taxonomies.len());
    for dimension in 0..statements.taxonomies.len() {
        let nodes = values(row.try_get(2 + 2 * dimension).map_err(broken)?, &id)?;
        let texts = values(row.try_get(3 + 2 * dimension).map_err(broken)?, &id)?;
        bags.push(bag(nodes, texts));
    }
    let name = row.try_get(1).map_err(broken)?;
    Ok(Some(Bean { id, name, features: Features { bags } }))
}

/// One bag's values; a bag whose text SQLite could not put into JSON is named.
fn values(json: Option<String>, bean: &BeanId) -> Result<Vec<String>, StoreError> {
    let Some(json) = json else { return Ok(Vec::new()) };
    serde_json::from_str(&json).map_err(|error| StoreError::Data {
        what: format!("a value of bean {bean} that is no text"),
        message: format!("{error}; correct it"),
    })
}
