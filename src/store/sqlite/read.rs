//! Reading the catalogue: taxonomies, beans, ids.
//!
//! Decides: how rows become beans (bags sorted and without repetition, ids canonical). A bean
//! whose id no message could name is left out with a warning. Never does: a query a bean.

use super::statements::Statements;
use super::{SqliteStore, failed};
use crate::config::Refresh;
use crate::domain::bean::{Bean, BeanId, Features, Value};
use crate::domain::dimension::{Node, NodeMap, Taxonomy};
use crate::store::{Loading, LogMark, StoreError};
use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Executor, Row};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Beans under way between the connection and the caller of a load, at most.
const LOADING: usize = 1024;

const DOING: &str = "loading the catalogue";

/// The last number ever given in the change log, whether or not its row was pruned.
pub(super) const LAST_SEQ: &str =
    "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'cupping_change_log'";

type TreeRow = (String, Option<String>, Option<String>, Option<i64>);

impl SqliteStore {
    pub(super) async fn load_all(
        &self,
        sink: &mut (dyn FnMut(Loading) + Send),
    ) -> Result<LogMark, StoreError> {
        let (sender, mut receiver) = mpsc::channel(LOADING);
        let reading = tokio::spawn(stream_all(self.clone(), sender));
        while let Some(item) = receiver.recv().await {
            sink(item);
        }
        let mark = joined(DOING, reading).await?;
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

async fn stream_all(
    store: SqliteStore,
    sender: mpsc::Sender<Loading>,
) -> Result<LogMark, StoreError> {
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

/// Waits for a read that was spawned; a panic in it goes on here.
pub(super) async fn joined<T>(
    doing: &'static str,
    task: JoinHandle<Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match task.await {
        Ok(answer) => answer,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(failed(doing)(sqlx::Error::WorkerCrashed)),
        },
    }
}

async fn read_taxonomy(
    connection: &mut SqliteConnection,
    statements: &Statements,
) -> Result<Taxonomy, StoreError> {
    let broken = failed("reading the taxonomies");
    let mut taxonomy = Taxonomy::default();
    for dimension in &statements.taxonomies {
        let mut nodes = NodeMap::new();
        if let Some(sql) = dimension {
            let rows: Vec<TreeRow> = sqlx::query_as(sql.nodes.text())
                .fetch_all(&mut *connection)
                .await
                .map_err(broken)?;
            for (key, name, parent, rank) in rows {
                let key: Arc<str> = key.into();
                let name = name.map_or_else(|| Arc::clone(&key), Into::into);
                let parents = parent.into_iter().map(Into::into).collect();
                nodes.insert(Arc::clone(&key), Node { key, name, parents, rank });
            }
            if let Some(parents) = &sql.parents {
                let pairs: Vec<(String, String)> = sqlx::query_as(parents.text())
                    .fetch_all(&mut *connection)
                    .await
                    .map_err(broken)?;
                add_parents(&mut nodes, pairs);
            }
        }
        taxonomy.dimensions.push(nodes);
    }
    Ok(taxonomy)
}

fn add_parents(nodes: &mut NodeMap, pairs: Vec<(String, String)>) {
    for (child, parent) in pairs {
        if let Some(node) = nodes.get_mut(child.as_str()) {
            node.parents.push(parent.into());
        }
    }
    for node in nodes.values_mut() {
        node.parents.sort();
        node.parents.dedup();
    }
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
        let mut bag: Vec<Value> = nodes
            .into_iter()
            .map(|key| Value::Node(key.into()))
            .chain(
                texts
                    .into_iter()
                    .filter(|text| !text.trim().is_empty())
                    .map(|text| Value::Text(text.into())),
            )
            .collect();
        bag.sort();
        bag.dedup();
        bags.push(bag);
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

/// The id, if a message could name this bean: a UUID in another spelling than the canonical one
/// could not be found again.
pub(super) fn readable_id(text: &str) -> Option<BeanId> {
    match BeanId::parse(text) {
        Ok(id) if id.as_str() == text => Some(id),
        Ok(id) => {
            tracing::warn!(
                bean.id = text,
                canonical = id.as_str(),
                "bean left out: its id is a uuid in an unusual spelling; store the canonical one"
            );
            None
        }
        Err(error) => {
            tracing::warn!(bean.id = text, %error, "bean left out: its id cannot be used");
            None
        }
    }
}
