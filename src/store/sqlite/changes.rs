//! What changed since a mark.
//!
//! Decides: exactness. One writer at a time gives the log its numbers, so a number above the mark
//! is a change the mark has not seen, and none becomes visible late. Never does: write.

use super::SqliteStore;
use super::read::{LAST_SEQ, read_bean};
use crate::config::Refresh;
use crate::domain::bean::{Bean, BeanId};
use crate::index::BeanChange;
use crate::store::rows::readable_id;
use crate::store::{Changes, LogMark, ReloadReason, StoreError};
use crate::txn::{BodyError, Tx, work};
use sqlx::Sqlite;
use std::collections::HashMap;

/// How far the log was pruned: marks below it cannot be answered.
pub(super) const PRUNED_TO: &str = "\
    SELECT coalesce((SELECT CAST(value AS INTEGER) FROM cupping_state \
     WHERE key = 'pruned_to'), 0)";

const NEWS: &str = "SELECT DISTINCT kind, bean_id FROM cupping_change_log \
                    WHERE seq > ?1 AND kind <> 'threshold'";

impl SqliteStore {
    pub(super) async fn changes_since(&self, since: &LogMark) -> Result<Changes, StoreError> {
        if self.settings.catalogue.refresh == Refresh::Reload || since.0.is_empty() {
            let reload = Some(ReloadReason::NoLog);
            return Ok(Changes { mark: LogMark::default(), beans: Vec::new(), reload });
        }
        let since = number(since)?;
        let (store, options) = (self.clone(), self.settings.snapshot_read());
        let body = work!([store] => |tx: Sqlite| { store.news(tx, since).await });
        let news = self.reader.run("read_changes", &options, body).await?;
        let (last, reload, ids, mut found) = news;
        let beans = ids.into_iter().map(|id| BeanChange { bean: found.remove(&id), id }).collect();
        Ok(Changes { mark: LogMark(last.to_string()), beans, reload })
    }

    async fn news(&self, tx: &mut Tx<Sqlite>, since: i64) -> Result<News, BodyError> {
        let (last,): (i64,) = one(tx, LAST_SEQ).await?;
        if last == since {
            return Ok((last, None, Vec::new(), HashMap::new()));
        }
        let (pruned_to,): (i64,) = one(tx, PRUNED_TO).await?;
        let query = sqlx::query(NEWS).bind(since);
        let rows: Vec<(String, Option<String>)> = tx.fetch_all_as(query).await?;
        let reload = if since < pruned_to || since > last {
            Some(ReloadReason::Pruned)
        } else if rows.iter().any(|(kind, _)| kind == "epoch") {
            Some(ReloadReason::TaxonomyChanged)
        } else {
            None
        };
        if reload.is_some() {
            return Ok((last, reload, Vec::new(), HashMap::new()));
        }
        let ids: Vec<BeanId> =
            rows.iter().filter_map(|(_, id)| readable_id(id.as_deref()?)).collect();
        let query = sqlx::query(self.statements.beans.text()).bind(self.bound(&ids)?);
        let mut found = HashMap::new();
        for row in tx.fetch_all(query).await? {
            if let Some(bean) = read_bean(&row, &self.statements)? {
                found.insert(bean.id.clone(), bean);
            }
        }
        Ok((last, None, ids, found))
    }
}

type News = (i64, Option<ReloadReason>, Vec<BeanId>, HashMap<BeanId, Bean>);

/// The only row of a statement that has one.
pub(super) async fn one(tx: &mut Tx<Sqlite>, sql: &'static str) -> Result<(i64,), BodyError> {
    let row: Option<(i64,)> = tx.fetch_optional_as(sqlx::query(sql)).await?;
    Ok(row.unwrap_or_default())
}

/// The sequence number in a mark of ours.
pub(super) fn number(mark: &LogMark) -> Result<i64, StoreError> {
    mark.0.parse().map_err(|_| StoreError::Data {
        what: format!("the mark {:?}", mark.0),
        message: "it was made by another store; load the catalogue anew".into(),
    })
}
