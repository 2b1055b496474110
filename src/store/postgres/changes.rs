//! What changed since a mark.
//!
//! Decides: exactness. A row belongs to the answer if it is visible now and its transaction was not
//! visible to the mark's snapshot: that finds a change that was logged early and committed late,
//! which a sequence number would miss. Never does: wait for older transactions.

use super::PostgresStore;
use super::read::reload;
use super::snapshot::{answered, failed, in_task, open};
use crate::config::Refresh;
use crate::domain::bean::{Bean, BeanId};
use crate::index::BeanChange;
use crate::store::rows::readable_id;
use crate::store::{Changes, LogMark, ReloadReason, StoreError};
use sqlx::PgConnection;
use std::collections::HashMap;

const DOING: &str = "reading the change log";

/// In one statement, so in one snapshot: that snapshot's mark, and whether anything is new. A mark
/// from the future was taken before the server was put back in time (a restore, a standby that had
/// not seen everything); its log no longer reaches back to it either.
const PEEK: &str = "\
    SELECT pg_current_snapshot()::text, \
           EXISTS (SELECT FROM cupping.change_log \
                   WHERE xid >= pg_snapshot_xmin($1::text::pg_snapshot) \
                     AND NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot) \
                     AND kind <> 'threshold') \
        OR EXISTS (SELECT FROM cupping.state \
                   WHERE key = 'pruned_below' \
                     AND value::xid8 > pg_snapshot_xmin($1::text::pg_snapshot)) \
        OR pg_snapshot_xmax($1::text::pg_snapshot) > pg_snapshot_xmax(pg_current_snapshot())";

const NEWS: &str = "\
    SELECT DISTINCT kind, bean_id FROM cupping.change_log \
    WHERE xid >= pg_snapshot_xmin($1::text::pg_snapshot) \
      AND NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot) \
      AND kind <> 'threshold' \
    UNION ALL \
    SELECT 'pruned', NULL FROM cupping.state \
    WHERE key = 'pruned_below' AND value::xid8 > pg_snapshot_xmin($1::text::pg_snapshot) \
    UNION ALL \
    SELECT 'pruned', NULL \
    WHERE pg_snapshot_xmax($1::text::pg_snapshot) > pg_snapshot_xmax(pg_current_snapshot())";

impl PostgresStore {
    pub(super) async fn changes_since(&self, since: &LogMark) -> Result<Changes, StoreError> {
        if self.settings.catalogue.refresh == Refresh::Reload || since.0.is_empty() {
            let reload = Some(ReloadReason::NoLog);
            return Ok(Changes { mark: LogMark::default(), beans: Vec::new(), reload });
        }
        let peek = sqlx::query_as(PEEK).bind(since.0.clone()).fetch_one(&self.pool);
        let (mark, news): (String, bool) = answered(self.patience(), DOING, peek).await?;
        if !news {
            return Ok(Changes { mark: LogMark(mark), beans: Vec::new(), reload: None });
        }
        let (store, since) = (self.clone(), since.clone());
        in_task(DOING, async move { store.read_news(&since).await }).await
    }

    async fn read_news(&self, since: &LogMark) -> Result<Changes, StoreError> {
        let broken = failed(DOING);
        let mut connection = self.pool.acquire().await.map_err(broken)?;
        let (mut snapshot, mark) =
            open(&mut connection, self.lock_timeout()).await.map_err(broken)?;
        let answer = self.news_in(&mut snapshot, since, mark).await;
        snapshot.rollback().await.map_err(broken)?;
        answer
    }

    async fn news_in(
        &self,
        snapshot: &mut PgConnection,
        since: &LogMark,
        mark: LogMark,
    ) -> Result<Changes, StoreError> {
        let rows: Vec<(String, Option<String>)> = sqlx::query_as(NEWS)
            .bind(since.0.clone())
            .fetch_all(&mut *snapshot)
            .await
            .map_err(failed(DOING))?;
        let has = |wanted: &str| rows.iter().any(|(kind, _)| kind == wanted);
        let reload_for = if has("pruned") {
            Some(ReloadReason::Pruned)
        } else if has("epoch") {
            Some(ReloadReason::TaxonomyChanged)
        } else {
            None
        };
        if reload_for.is_some() {
            return Ok(Changes { mark, beans: Vec::new(), reload: reload_for });
        }
        let ids: Vec<BeanId> =
            rows.iter().filter_map(|(_, id)| readable_id(id.as_deref()?)).collect();
        let texts: Vec<String> = ids.iter().map(|id| id.as_str().to_owned()).collect();
        let found = reload(snapshot, &self.statements, &texts).await?;
        let mut found: HashMap<BeanId, Bean> =
            found.into_iter().map(|bean| (bean.id.clone(), bean)).collect();
        let beans = ids.into_iter().map(|id| BeanChange { bean: found.remove(&id), id }).collect();
        Ok(Changes { mark, beans, reload: None })
    }
}
