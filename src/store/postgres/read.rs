//! Reading the catalogue: taxonomies, beans, ids.
//!
//! Decides: that a load sees one snapshot, and carries its mark. Never does: a query a bean.

use super::PostgresStore;
use super::snapshot::{failed, in_task, open};
use crate::config::Refresh;
use crate::domain::bean::{Bean, BeanId, Features};
use crate::domain::dimension::Taxonomy;
use crate::store::rows::{TreeRow, bag, nodes, readable_id};
use crate::store::statements::Statements;
use crate::store::streaming::{Pieces, stream};
use crate::store::{Loading, LogMark, StoreError};
use futures_util::TryStreamExt;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

/// Beans reloaded by one statement, at most.
const PAGE: usize = 2_000;

impl PostgresStore {
    pub(super) async fn load_all(
        &self,
        sink: &mut (dyn FnMut(Loading) + Send),
    ) -> Result<LogMark, StoreError> {
        let store = self.clone();
        let broken = failed("loading the catalogue");
        let mark = stream(|sender| stream_all(store, sender), sink, broken).await?;
        Ok(match self.settings.catalogue.refresh {
            Refresh::Log => mark,
            Refresh::Reload => LogMark::default(),
        })
    }

    pub(super) async fn some_beans(&self, ids: &[BeanId]) -> Result<Vec<Bean>, StoreError> {
        let texts = self.id_texts(ids)?;
        let store = self.clone();
        in_task("reading beans", async move {
            let mut connection = store.pool.acquire().await.map_err(failed("reading beans"))?;
            reload(&mut connection, &store.statements, &texts).await
        })
        .await
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
            query.fetch_all(&self.pool).await.map_err(failed("reading a page of bean ids"))?;
        Ok(texts.iter().filter_map(|text| readable_id(text)).collect())
    }

    pub(super) async fn count_beans(&self) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar(self.statements.count.text())
            .fetch_one(&self.pool)
            .await
            .map_err(failed("counting beans"))?;
        Ok(count.unsigned_abs())
    }
}

async fn stream_all(store: PostgresStore, sender: Pieces<Loading>) -> Result<LogMark, StoreError> {
    let broken = failed("loading the catalogue");
    let mut connection = store.pool.acquire().await.map_err(broken)?;
    let (mut snapshot, mark) = open(&mut connection, store.lock_timeout()).await.map_err(broken)?;
    let taxonomy = read_taxonomy(&mut snapshot, &store.statements).await?;
    // A receiver that is gone means that nobody waits for the rest.
    if sender.send(Loading::Taxonomy(taxonomy)).await.is_ok() {
        let mut rows = sqlx::query(store.statements.load.text()).fetch(&mut *snapshot);
        while let Some(row) = rows.try_next().await.map_err(broken)? {
            let Some(bean) = read_bean(&row, &store.statements).map_err(broken)? else { continue };
            if sender.send(Loading::Bean(bean)).await.is_err() {
                break;
            }
        }
    }
    snapshot.rollback().await.map_err(broken)?;
    Ok(mark)
}

/// Reads every taxonomy, one or two statements a dimension.
async fn read_taxonomy(
    connection: &mut PgConnection,
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

/// Reads beans by id, a page at a time; those that do not exist are left out.
pub(super) async fn reload(
    connection: &mut PgConnection,
    statements: &Statements,
    ids: &[String],
) -> Result<Vec<Bean>, StoreError> {
    let broken = failed("reading beans");
    let mut beans = Vec::with_capacity(ids.len());
    for page in ids.chunks(PAGE) {
        let mut rows =
            sqlx::query(statements.beans.text()).bind(page.to_vec()).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await.map_err(broken)? {
            beans.extend(read_bean(&row, statements).map_err(broken)?);
        }
    }
    Ok(beans)
}

fn read_bean(row: &PgRow, statements: &Statements) -> Result<Option<Bean>, sqlx::Error> {
    let text: String = row.try_get(0)?;
    let Some(id) = readable_id(&text) else { return Ok(None) };
    let mut bags = Vec::with_capacity(statements.taxonomies.len());
    for dimension in 0..statements.taxonomies.len() {
        let nodes: Option<Vec<String>> = row.try_get(2 + 2 * dimension)?;
        let texts: Option<Vec<String>> = row.try_get(3 + 2 * dimension)?;
        bags.push(bag(nodes.unwrap_or_default(), texts.unwrap_or_default()));
    }
    Ok(Some(Bean { id, name: row.try_get(1)?, features: Features { bags } }))
}
