//! The write protocol on SQLite: one short transaction replaces the lists of a batch.
//!
//! Decides: what is written: nothing for a source that is outdated or stored as it should be.
//! `BEGIN IMMEDIATE` is the only lock, so writers queue and cannot deadlock. The body may run
//! again: all it needs is made beforehand. Never does: write anything but the similarity table and
//! our own bookkeeping; split a batch.

use super::changes::{PRUNED_TO, number, one};
use super::{SqliteStore, json_array};
use crate::domain::ranking::SimilarList;
use crate::store::batch::{Planned, committed, planned, tickets, unsettled};
use crate::store::rows::{StoredRow, lists};
use crate::store::statements::Statements;
use crate::store::{StoreError, WriteBatch, WriteOutcome, WriteReport};
use crate::txn::ticket::Ticket;
use crate::txn::{BodyError, Tx, work};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Sqlite};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tracing::Instrument;

/// Sources whose bean changed after the mark, or all of them when a taxonomy did.
const OUTDATED: &str = "\
    SELECT batch.value FROM json_each(?1) AS batch \
    WHERE EXISTS (SELECT 1 FROM cupping_change_log AS log \
                  WHERE log.kind = 'bean' AND log.bean_id = batch.value AND log.seq > ?2) \
       OR EXISTS (SELECT 1 FROM cupping_change_log AS log \
                  WHERE log.kind = 'epoch' AND log.seq > ?2)";

/// Logs the thresholds in `?1` that differ from the state; an array of `[source, count, ppm, id]`.
const LOG_THRESHOLDS: &str = "\
    INSERT INTO cupping_change_log (kind, bean_id, count, kth_ppm, kth_id) \
    SELECT 'threshold', list.id, list.count, list.ppm, list.kth FROM ( \
        SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS count, \
               json_extract(value, '$[2]') AS ppm, json_extract(value, '$[3]') AS kth \
        FROM json_each(?1)) AS list \
    WHERE NOT EXISTS (SELECT 1 FROM cupping_source_state AS old \
                      WHERE old.source_id = list.id AND old.count = list.count \
                        AND old.kth_ppm IS list.ppm AND old.kth_id IS list.kth)";

const SET_THRESHOLDS: &str = "\
    INSERT INTO cupping_source_state (source_id, count, kth_ppm, kth_id) \
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), \
           json_extract(value, '$[2]'), json_extract(value, '$[3]') \
    FROM json_each(?1) WHERE true \
    ON CONFLICT (source_id) DO UPDATE \
    SET count = excluded.count, kth_ppm = excluded.kth_ppm, kth_id = excluded.kth_id \
    WHERE (count, kth_ppm, kth_id) IS NOT (excluded.count, excluded.kth_ppm, excluded.kth_id)";

/// Logs that the beans in `?1`, which are gone, have no threshold any more.
const LOG_GONE: &str = "\
    INSERT INTO cupping_change_log (kind, bean_id) \
    SELECT 'threshold', source_id FROM cupping_source_state \
    WHERE source_id IN (SELECT value FROM json_each(?1))";

const FORGET: &str =
    "DELETE FROM cupping_source_state WHERE source_id IN (SELECT value FROM json_each(?1))";

/// A batch, ready to be written, as often as it takes.
#[derive(Debug)]
struct Plan {
    statements: Arc<Statements>,
    computed_at: Option<i64>,
    sources: String,
    items: Vec<Planned>,
}

impl SqliteStore {
    pub(super) async fn write_batch(&self, batch: WriteBatch) -> Result<WriteReport, StoreError> {
        if batch.items.is_empty() {
            return Ok(WriteReport::default());
        }
        let span = batch.span();
        let plan = Arc::new(self.plan(batch)?);
        let options = &self.settings.transaction;
        let report = self
            .writer
            .run(
                "write_similarities",
                options,
                work!([plan] => |tx: Sqlite| { plan.run(tx).await }),
            )
            .instrument(span)
            .await?;
        Ok(report)
    }

    fn plan(&self, batch: WriteBatch) -> Result<Plan, StoreError> {
        let computed_at = match batch.computed_at.0.as_str() {
            "" => None,
            _ => Some(number(&batch.computed_at)?),
        };
        let items = planned(batch.items, |id| self.accepted(id))?;
        let sources = json_array(items.iter().map(|item| item.source.as_str()));
        Ok(Plan { statements: Arc::clone(&self.statements), computed_at, sources, items })
    }
}

impl Plan {
    async fn run(&self, tx: &mut Tx<Sqlite>) -> Result<WriteReport, BodyError> {
        let outdated = self.outdated(tx).await?;
        if self.items.iter().all(|item| outdated.contains(&item.source)) {
            let outcomes = vec![WriteOutcome::Outdated; self.items.len()];
            return Ok(WriteReport { outcomes, void: Vec::new() });
        }
        let stored = self.stored(tx).await?;
        let outcomes: Vec<WriteOutcome> =
            self.items.iter().map(|item| item.outcome(&outdated, &stored)).collect();
        self.replace(tx, &outcomes).await?;
        self.record_thresholds(tx, &outdated).await?;
        let void = self.execute_tickets(tx, &outdated).await?;
        Ok(WriteReport { outcomes, void })
    }

    async fn outdated(&self, tx: &mut Tx<Sqlite>) -> Result<HashSet<String>, BodyError> {
        let Some(computed_at) = self.computed_at else { return Ok(HashSet::new()) };
        let (pruned_to,) = one(tx, PRUNED_TO).await?;
        if computed_at < pruned_to {
            return Ok(self.items.iter().map(|item| item.source.clone()).collect());
        }
        let query = sqlx::query(OUTDATED).bind(self.sources.clone()).bind(computed_at);
        let rows: Vec<(String,)> = tx.fetch_all_as(query).await?;
        Ok(rows.into_iter().map(|(source,)| source).collect())
    }

    async fn stored(&self, tx: &mut Tx<Sqlite>) -> Result<HashMap<String, SimilarList>, BodyError> {
        let query = sqlx::query(self.statements.stored.text()).bind(self.sources.clone());
        let rows: Vec<StoredRow> = tx.fetch_all_as(query).await?;
        Ok(lists(rows)?)
    }

    async fn replace(
        &self,
        tx: &mut Tx<Sqlite>,
        outcomes: &[WriteOutcome],
    ) -> Result<(), BodyError> {
        let mut emptied = Vec::new();
        let mut rows = Vec::new();
        for (item, outcome) in self.items.iter().zip(outcomes) {
            let WriteOutcome::Written { deleted, .. } = outcome else { continue };
            if *deleted > 0 {
                emptied.push(item.source.as_str());
            }
            rows.extend(item.list.iter().map(|e| (&item.source, e.bean.as_str(), e.ppm)));
        }
        if !emptied.is_empty() {
            let bound = json_array(emptied);
            tx.execute(sqlx::query(self.statements.delete.text()).bind(bound)).await?;
        }
        if !rows.is_empty() {
            rows.sort_unstable();
            let rows: Value = rows.iter().map(|(a, b, ppm)| json!([a, b, ppm])).collect();
            let insert = sqlx::query(self.statements.insert.text()).bind(rows.to_string());
            tx.execute(insert).await?;
        }
        Ok(())
    }

    /// Every committed source's threshold; a bean that is gone has none.
    async fn record_thresholds(
        &self,
        tx: &mut Tx<Sqlite>,
        outdated: &HashSet<String>,
    ) -> Result<(), BodyError> {
        let committed = || committed(&self.items, outdated);
        let empty: Vec<&str> = committed()
            .filter(|item| item.list.is_empty())
            .map(|item| item.source.as_str())
            .collect();
        let gone: HashSet<&str> = if empty.is_empty() {
            HashSet::new()
        } else {
            let query = sqlx::query(self.statements.existing.text());
            let bound = json_array(empty.iter().copied());
            let rows: Vec<(String,)> = tx.fetch_all_as(query.bind(bound)).await?;
            let existing: HashSet<String> = rows.into_iter().map(|(id,)| id).collect();
            empty.into_iter().filter(|id| !existing.contains(*id)).collect()
        };
        let thresholds: Vec<Value> = committed()
            .filter(|item| !gone.contains(item.source.as_str()))
            .map(|item| {
                let last = item.list.last();
                let (ppm, id) = (last.map(|e| e.ppm), last.map(|e| e.bean.as_str()));
                json!([item.source, item.list.len(), ppm, id])
            })
            .collect();
        if !thresholds.is_empty() {
            let thresholds = Value::from(thresholds).to_string();
            tx.execute(sqlx::query(LOG_THRESHOLDS).bind(thresholds.clone())).await?;
            tx.execute(sqlx::query(SET_THRESHOLDS).bind(thresholds)).await?;
        }
        if !gone.is_empty() {
            let gone = json_array(gone);
            tx.execute(sqlx::query(LOG_GONE).bind(gone.clone())).await?;
            tx.execute(sqlx::query(FORGET).bind(gone)).await?;
        }
        Ok(())
    }

    /// The settlements of committed sources, those alike in one statement; answers those that were
    /// void.
    async fn execute_tickets(
        &self,
        tx: &mut Tx<Sqlite>,
        outdated: &HashSet<String>,
    ) -> Result<Vec<Ticket>, BodyError> {
        let mut void = Vec::new();
        for ticket in tickets(&self.items, outdated) {
            let query = sqlx::query(AssertSqlSafe(Arc::clone(&ticket.statement)));
            let query = query.bind(json!(ticket.ids).to_string()).bind(ticket.claim.to_string());
            let rows: Vec<(i64,)> = tx.fetch_all_as(query).await?;
            void.extend(unsettled(&self.items, outdated, &ticket, rows));
        }
        Ok(void)
    }
}
