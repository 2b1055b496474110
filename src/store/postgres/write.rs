//! The write protocol: one short transaction replaces the lists of a batch.
//!
//! Decides: the order of locks and statements, under which writers cannot deadlock with one
//! another. Waits occur only at the gate (holding nothing) and at source keys (holding smaller ones
//! only), so no cycle can close. The body may run again: all it needs is made beforehand, and it
//! has no effect outside of the transaction. Never does: write or lock anything but the similarity
//! table and the schema `cupping`; split a batch.

use super::PostgresStore;
use super::threshold::{self, Threshold};
use super::triggers::GRAPH;
use crate::domain::ranking::{SimilarList, stored_score};
use crate::store::batch::{Planned, committed, planned, tickets, unsettled};
use crate::store::rows::{StoredRow, lists};
use crate::store::statements::Statements;
use crate::store::{StoreError, WriteBatch, WriteOutcome, WriteReport};
use crate::txn::ticket::Ticket;
use crate::txn::{BodyError, LockKeys, Tx, TxnOptions, lock_key, work};
use sqlx::{AssertSqlSafe, Postgres};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tracing::Instrument;

/// Namespace of the source keys: all workers, of every release, must agree on it.
pub const SOURCE_KEYS: &str = "cupping.source";

/// Sources whose bean, or whose taxonomy, changed after the snapshot they were computed from; all
/// of them where the log no longer reaches back so far.
const OUTDATED: &str = "\
    SELECT source FROM unnest($1::text[]) AS batch (source) \
    WHERE EXISTS (SELECT FROM cupping.change_log log \
                  WHERE log.kind = 'bean' AND log.bean_id = batch.source \
                    AND NOT pg_visible_in_snapshot(log.xid, $2::text::pg_snapshot)) \
       OR EXISTS (SELECT FROM cupping.change_log log \
                  WHERE log.kind = 'epoch' \
                    AND log.xid >= pg_snapshot_xmin($2::text::pg_snapshot) \
                    AND NOT pg_visible_in_snapshot(log.xid, $2::text::pg_snapshot)) \
       OR EXISTS (SELECT FROM cupping.state \
                  WHERE key = 'pruned_below' \
                    AND value::xid8 > pg_snapshot_xmin($2::text::pg_snapshot))";

/// A batch, ready to be written, as often as it takes.
#[derive(Debug)]
struct Plan {
    statements: Arc<Statements>,
    guarded: bool,
    computed_at: String,
    keys: LockKeys,
    sources: Vec<String>,
    items: Vec<Planned>,
}

impl PostgresStore {
    pub(super) async fn write_batch(&self, batch: WriteBatch) -> Result<WriteReport, StoreError> {
        if batch.items.is_empty() {
            return Ok(WriteReport::default());
        }
        let span = batch.span();
        let plan = Arc::new(self.plan(batch)?);
        let options = TxnOptions { label: plan.label(), ..self.settings.transaction.clone() };
        let report = self
            .transactor
            .run("write_similarities", &options, work!([plan] => |tx| { plan.run(tx).await }))
            .instrument(span)
            .await?;
        Ok(report)
    }

    fn plan(&self, batch: WriteBatch) -> Result<Plan, StoreError> {
        let items = planned(batch.items, |id| self.accepted(id))?;
        let sources: Vec<String> = items.iter().map(|item| item.source.clone()).collect();
        Ok(Plan {
            statements: Arc::clone(&self.statements),
            guarded: self.guarded,
            computed_at: batch.computed_at.0,
            keys: LockKeys::new(sources.iter().map(|source| lock_key(SOURCE_KEYS, source))),
            sources,
            items,
        })
    }
}

impl Plan {
    /// What the server's views and logs say the transaction is about: the bean, or how many and
    /// the first. It leads from there back to the messages.
    fn label(&self) -> Option<Arc<str>> {
        match self.sources.as_slice() {
            [] => None,
            [only] => Some(only.as_str().into()),
            [first, ..] => Some(format!("{} from {first}", self.sources.len()).into()),
        }
    }

    async fn run(&self, tx: &mut Tx<Postgres>) -> Result<WriteReport, BodyError> {
        if self.guarded {
            tx.gate_shared(GRAPH).await?;
        }
        tx.advisory_xact_locks(&self.keys).await?;
        let mut outdated = self.outdated(tx).await?;
        if self.guarded {
            self.leave_out_missing(tx, &mut outdated).await?;
        }
        if outdated.len() == self.sources.len() {
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

    async fn outdated(&self, tx: &mut Tx<Postgres>) -> Result<HashSet<String>, BodyError> {
        if self.computed_at.is_empty() {
            return Ok(HashSet::new());
        }
        let query = sqlx::query(OUTDATED).bind(self.sources.clone()).bind(self.computed_at.clone());
        let rows: Vec<(String,)> = tx.fetch_all_as(query).await?;
        Ok(rows.into_iter().map(|(source,)| source).collect())
    }

    /// Under the gate no bean can be deleted: one that is there now is there at the commit, so the
    /// foreign keys cannot fail. A list that names a bean that is gone is computed again.
    async fn leave_out_missing(
        &self,
        tx: &mut Tx<Postgres>,
        outdated: &mut HashSet<String>,
    ) -> Result<(), BodyError> {
        let named: HashSet<&str> = self
            .items
            .iter()
            .filter(|item| !item.list.is_empty())
            .flat_map(|item| {
                let similar = item.list.iter().map(|entry| entry.bean.as_str());
                similar.chain([item.source.as_str()])
            })
            .collect();
        if named.is_empty() {
            return Ok(());
        }
        let existing = existing(tx, &self.statements, named.into_iter().collect()).await?;
        for item in &self.items {
            let all_exist = item.list.iter().all(|entry| existing.contains(entry.bean.as_str()));
            let gone = !existing.contains(&item.source);
            if !item.list.is_empty() && (gone || !all_exist) {
                outdated.insert(item.source.clone());
            }
        }
        Ok(())
    }

    async fn stored(
        &self,
        tx: &mut Tx<Postgres>,
    ) -> Result<HashMap<String, SimilarList>, BodyError> {
        let query = sqlx::query(self.statements.stored.text()).bind(self.sources.clone());
        let rows: Vec<StoredRow> = tx.fetch_all_as(query).await?;
        Ok(lists(rows)?)
    }

    async fn replace(
        &self,
        tx: &mut Tx<Postgres>,
        outcomes: &[WriteOutcome],
    ) -> Result<(), BodyError> {
        let mut emptied = Vec::new();
        let (mut sources, mut similar, mut scores) = (Vec::new(), Vec::new(), Vec::new());
        for (item, outcome) in self.items.iter().zip(outcomes) {
            let WriteOutcome::Written { deleted, .. } = outcome else { continue };
            if *deleted > 0 {
                emptied.push(item.source.clone());
            }
            for entry in &item.list {
                sources.push(item.source.clone());
                similar.push(entry.bean.as_str().to_owned());
                scores.push(stored_score(entry.ppm));
            }
        }
        if !emptied.is_empty() {
            tx.execute(sqlx::query(self.statements.delete.text()).bind(emptied)).await?;
        }
        if !sources.is_empty() {
            let insert = sqlx::query(self.statements.insert.text());
            tx.execute(insert.bind(sources).bind(similar).bind(scores)).await?;
        }
        Ok(())
    }

    /// Every committed source's threshold; a bean that is gone has none.
    async fn record_thresholds(
        &self,
        tx: &mut Tx<Postgres>,
        outdated: &HashSet<String>,
    ) -> Result<(), BodyError> {
        let committed = || committed(&self.items, outdated);
        let empty: Vec<&str> = committed()
            .filter(|item| item.list.is_empty())
            .map(|item| item.source.as_str())
            .collect();
        let gone: Vec<String> = if empty.is_empty() {
            Vec::new()
        } else {
            let existing = existing(tx, &self.statements, empty.clone()).await?;
            empty.iter().filter(|id| !existing.contains(**id)).map(|id| (*id).to_owned()).collect()
        };
        let thresholds: Vec<Threshold<'_>> = committed()
            .filter(|item| !gone.contains(&item.source))
            .map(|item| Threshold::of(&item.source, &item.list))
            .collect();
        threshold::record(tx, &thresholds).await?;
        threshold::forget(tx, gone).await
    }

    /// The settlements of committed sources, those alike in one statement; answers those that were
    /// void.
    async fn execute_tickets(
        &self,
        tx: &mut Tx<Postgres>,
        outdated: &HashSet<String>,
    ) -> Result<Vec<Ticket>, BodyError> {
        let mut void = Vec::new();
        for ticket in tickets(&self.items, outdated) {
            let query = sqlx::query(AssertSqlSafe(Arc::clone(&ticket.statement)));
            let query = query.bind(ticket.ids.clone()).bind(ticket.claim.to_string());
            let rows: Vec<(i64,)> = tx.fetch_all_as(query).await?;
            void.extend(unsettled(&self.items, outdated, &ticket, rows));
        }
        Ok(void)
    }
}

/// Which of the ids exist; reads, and locks nothing.
async fn existing(
    tx: &mut Tx<Postgres>,
    statements: &Statements,
    ids: Vec<&str>,
) -> Result<HashSet<String>, BodyError> {
    let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
    let query = sqlx::query(statements.existing.text()).bind(ids);
    let rows: Vec<(String,)> = tx.fetch_all_as(query).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
