//! The write protocol: one short transaction replaces the lists of a batch.
//!
//! Decides: the order of locks and statements, under which writers cannot deadlock with one
//! another. Waits occur only at the gate (holding nothing) and at source keys (holding smaller ones
//! only), so no cycle can close. The body may run again: all it needs is made beforehand, and it
//! has no effect outside of the transaction. Never does: write or lock anything but the similarity
//! table and the schema `cupping`; split a batch.

use super::PostgresStore;
use super::lists::{StoredRow, read_similar};
use super::statements::Statements;
use super::threshold::{self, Threshold};
use super::triggers::GRAPH;
use crate::domain::ranking::{SimilarList, stored_score};
use crate::store::{StoreError, WriteBatch, WriteOutcome, WriteReport};
use crate::txn::ticket::Ticket;
use crate::txn::{BodyError, LockKeys, Tx, lock_key, work};
use sqlx::{AssertSqlSafe, Postgres};
use std::collections::{BTreeMap, HashMap, HashSet};
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

/// One source, ready to be written.
#[derive(Debug)]
struct Planned {
    source: String,
    list: SimilarList,
    tickets: Vec<Ticket>,
}

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

/// What is to be done to the similarity table.
#[derive(Debug, Default, PartialEq)]
struct Replacement {
    outcomes: Vec<WriteOutcome>,
    delete: Vec<String>,
    sources: Vec<String>,
    similar: Vec<String>,
    scores: Vec<f64>,
}

impl PostgresStore {
    pub(super) async fn write_batch(&self, batch: WriteBatch) -> Result<WriteReport, StoreError> {
        if batch.items.is_empty() {
            return Ok(WriteReport { outcomes: Vec::new() });
        }
        let span = batch.span();
        let plan = Arc::new(self.plan(batch)?);
        let options = &self.settings.transaction;
        let outcomes = self
            .transactor
            .run("write_similarities", options, work!([plan] => |tx| { plan.run(tx).await }))
            .instrument(span)
            .await?;
        Ok(WriteReport { outcomes })
    }

    fn plan(&self, batch: WriteBatch) -> Result<Plan, StoreError> {
        let mut items = Vec::with_capacity(batch.items.len());
        for item in batch.items {
            self.accepted(&item.source)?;
            for entry in &item.list {
                self.accepted(&entry.bean)?;
            }
            let mut list = item.list;
            list.sort_unstable();
            let source = item.source.as_str().to_owned();
            items.push(Planned { source, list, tickets: item.tickets });
        }
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
    async fn run(&self, tx: &mut Tx<Postgres>) -> Result<Vec<WriteOutcome>, BodyError> {
        if self.guarded {
            tx.gate_shared(GRAPH).await?;
        }
        tx.advisory_xact_locks(&self.keys).await?;
        let mut outdated = self.outdated(tx).await?;
        if self.guarded {
            self.leave_out_missing(tx, &mut outdated).await?;
        }
        if outdated.len() == self.sources.len() {
            return Ok(vec![WriteOutcome::Outdated; self.items.len()]);
        }
        let stored = self.stored(tx).await?;
        let replacement = self.compare(&outdated, &stored);
        self.replace(tx, &replacement).await?;
        self.record_thresholds(tx, &outdated).await?;
        self.execute_tickets(tx, &outdated).await?;
        Ok(replacement.outcomes)
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
        let mut stored: HashMap<String, SimilarList> = HashMap::new();
        for (source, similar, score) in rows {
            stored.entry(source).or_default().push(read_similar(&similar, score)?);
        }
        for list in stored.values_mut() {
            list.sort_unstable();
        }
        Ok(stored)
    }

    /// Decides what to write: nothing for a source that is outdated or stored as it should be.
    fn compare(
        &self,
        outdated: &HashSet<String>,
        stored: &HashMap<String, SimilarList>,
    ) -> Replacement {
        let mut replacement = Replacement::default();
        for item in &self.items {
            let old = stored.get(&item.source).map_or(&[][..], Vec::as_slice);
            let outcome = if outdated.contains(&item.source) {
                WriteOutcome::Outdated
            } else if old == item.list.as_slice() {
                WriteOutcome::Unchanged
            } else {
                if !old.is_empty() {
                    replacement.delete.push(item.source.clone());
                }
                for entry in &item.list {
                    replacement.sources.push(item.source.clone());
                    replacement.similar.push(entry.bean.as_str().to_owned());
                    replacement.scores.push(stored_score(entry.ppm));
                }
                WriteOutcome::Written {
                    deleted: old.len() as u64,
                    inserted: item.list.len() as u64,
                }
            };
            replacement.outcomes.push(outcome);
        }
        replacement
    }

    async fn replace(&self, tx: &mut Tx<Postgres>, rows: &Replacement) -> Result<(), BodyError> {
        if !rows.delete.is_empty() {
            let delete = self.statements.delete.text();
            tx.execute(sqlx::query(delete).bind(rows.delete.clone())).await?;
        }
        if !rows.sources.is_empty() {
            let insert = sqlx::query(self.statements.insert.text())
                .bind(rows.sources.clone())
                .bind(rows.similar.clone())
                .bind(rows.scores.clone());
            tx.execute(insert).await?;
        }
        Ok(())
    }

    /// Every committed source's threshold; a bean that is gone has none.
    async fn record_thresholds(
        &self,
        tx: &mut Tx<Postgres>,
        outdated: &HashSet<String>,
    ) -> Result<(), BodyError> {
        let committed = || self.items.iter().filter(|item| !outdated.contains(&item.source));
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

    /// The settlements of committed sources, those alike in one statement.
    async fn execute_tickets(
        &self,
        tx: &mut Tx<Postgres>,
        outdated: &HashSet<String>,
    ) -> Result<(), BodyError> {
        let mut merged: BTreeMap<(&Arc<str>, &Arc<str>), Vec<i64>> = BTreeMap::new();
        for item in self.items.iter().filter(|item| !outdated.contains(&item.source)) {
            for ticket in &item.tickets {
                merged.entry((&ticket.statement, &ticket.claim)).or_default().extend(&ticket.ids);
            }
        }
        for ((statement, claim), mut ids) in merged {
            ids.sort_unstable();
            let query = sqlx::query(AssertSqlSafe(Arc::clone(statement)));
            tx.execute(query.bind(ids).bind(claim.to_string())).await?;
        }
        Ok(())
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
