//! Computing stored lists again: all of them in keyset order, or some.
//!
//! Decides: the order, where an interrupted pass resumes, and that a bean changed meanwhile is
//! computed once more. Never does: take a shortcut; lists come from the same index and go through
//! the same write protocol as those of messages.

use super::{AppError, Database, freshener};
use crate::config::Config;
use crate::domain::bean::BeanId;
use crate::domain::ranking::SimilarList;
use crate::index::IndexSnapshot;
use crate::pipeline::freshness::Freshener;
use crate::resilience::backoff::Ladder;
use crate::resilience::retryability::Retryability;
use crate::store::{Store, StoreError, WriteBatch, WriteItem, WriteOutcome};
use futures_util::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The note an unfinished pass leaves in the database.
const NOTE: &str = "recompute";
/// How often the position is saved: at most this much is done twice after an interruption.
const SAVE_EVERY: Duration = Duration::from_secs(2);
/// How often a bean that keeps changing is computed before giving up.
const MAX_ROUNDS: u32 = 20;

/// What a pass needs.
#[derive(Clone)]
pub struct Recompute {
    /// Where beans and lists live.
    pub store: Arc<dyn Store>,
    /// Keeps the index current.
    pub freshener: Arc<Freshener>,
    /// Identifies the score settings: a pass begun under others is not resumed.
    pub fingerprint: String,
    /// Beans scored together and written in one transaction, at most.
    pub batch: usize,
    /// Batches under way at once.
    pub workers: usize,
    /// Rows of one transaction, at most.
    pub max_rows: usize,
    /// Pauses after transient failures.
    pub ladder: Ladder,
}

/// A pass as the settings say.
#[must_use]
pub fn of(config: &Config, database: &Database) -> Recompute {
    let store = database.store();
    Recompute {
        freshener: freshener(config, &store),
        store,
        fingerprint: config.fingerprint(),
        batch: config.pipeline.batch.get(),
        workers: config.pipeline.workers.get(),
        max_rows: config.transaction.max_rows.get(),
        ladder: config.ladder(),
    }
}

/// What a pass came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RecomputeSummary {
    /// Beans in the catalogue when it began, or asked for.
    pub total: u64,
    /// Beans done in earlier, interrupted runs of this pass.
    pub resumed_at: u64,
    /// Lists written in this run.
    pub written: u64,
    /// Lists found equal to the stored ones.
    pub unchanged: u64,
    /// Lists of beans that are gone, deleted.
    pub removed: u64,
    /// Whether it was interrupted; the same call resumes it.
    pub interrupted: bool,
}

impl RecomputeSummary {
    fn add(&mut self, page: Page) {
        self.written += page.written;
        self.unchanged += page.unchanged;
        self.removed += page.removed;
    }
}

/// Where an interrupted pass stands, as it is noted in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    fingerprint: String,
    after: String,
    done: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Page {
    written: u64,
    unchanged: u64,
    removed: u64,
}

impl Recompute {
    /// Computes every list. Resumes where an interrupted pass of the same settings stopped, unless
    /// `restart`; `progress` hears how many beans are done.
    ///
    /// # Errors
    /// [`AppError`] when the database fails for longer than the retry ladder lasts; the position
    /// is kept.
    pub async fn all(
        &self,
        restart: bool,
        stop: &CancellationToken,
        mut progress: impl FnMut(u64),
    ) -> Result<RecomputeSummary, AppError> {
        let start = if restart { None } else { self.position().await? };
        let mut done = start.as_ref().map_or(0, |position| position.done);
        let mut summary = RecomputeSummary {
            total: self.store.count().await?,
            resumed_at: done,
            ..RecomputeSummary::default()
        };
        progress(done);
        let after = start.and_then(|position| BeanId::parse(&position.after).ok());
        let mut pages = Box::pin(self.pages(after, stop.clone()));
        let mut saved = Instant::now();
        while let Some(result) = pages.next().await {
            let (ids, page) = result?;
            summary.add(page);
            done += ids.len() as u64;
            progress(done);
            if let Some(last) = ids.last()
                && (saved.elapsed() >= SAVE_EVERY || stop.is_cancelled())
            {
                self.save(last, done).await?;
                saved = Instant::now();
            }
        }
        if stop.is_cancelled() {
            summary.interrupted = true;
            return Ok(summary);
        }
        summary.add(self.sweep().await?);
        self.store.set_note(NOTE, None).await?;
        Ok(summary)
    }

    /// Computes the lists of some beans; the list of one that is gone is deleted.
    ///
    /// # Errors
    /// [`AppError`] when the database fails for longer than the retry ladder lasts.
    pub async fn some(
        &self,
        ids: &[BeanId],
        stop: &CancellationToken,
        mut progress: impl FnMut(u64),
    ) -> Result<RecomputeSummary, AppError> {
        let mut summary =
            RecomputeSummary { total: ids.len() as u64, ..RecomputeSummary::default() };
        for chunk in ids.chunks(self.batch) {
            if stop.is_cancelled() {
                summary.interrupted = true;
                break;
            }
            summary.add(self.page(chunk.to_vec()).await?);
            progress(summary.written + summary.unchanged + summary.removed);
        }
        Ok(summary)
    }

    /// Pages of ids in keyset order, each with what became of it, in order; several under way.
    fn pages(
        &self,
        after: Option<BeanId>,
        stop: CancellationToken,
    ) -> impl Stream<Item = Result<(Vec<BeanId>, Page), AppError>> + '_ {
        let ids = stream::unfold((after, false), move |(after, ended)| {
            let stop = stop.clone();
            async move {
                if ended || stop.is_cancelled() {
                    return None;
                }
                match self.store.ids(after.as_ref(), self.batch).await {
                    Ok(ids) if ids.is_empty() => None,
                    Ok(ids) => {
                        let last = ids.last().cloned();
                        let ended = ids.len() < self.batch;
                        Some((Ok(ids), (last, ended)))
                    }
                    Err(error) => Some((Err(error), (after, true))),
                }
            }
        });
        ids.map(move |ids| async move {
            let ids = ids?;
            let page = self.page(ids.clone()).await?;
            Ok((ids, page))
        })
        .buffered(self.workers.max(1))
    }

    /// Scores and writes a page, waiting out transient failures along the retry ladder.
    async fn page(&self, ids: Vec<BeanId>) -> Result<Page, AppError> {
        let mut page = Page::default();
        let mut waiting = ids;
        let mut retry = 0;
        for _ in 0..MAX_ROUNDS {
            match self.round(&mut waiting, &mut page).await {
                Ok(()) if waiting.is_empty() => return Ok(page),
                Ok(()) => {}
                Err(error) => {
                    retry += 1;
                    let Some(step) = self.ladder.step(retry).filter(|_| may_pass(&error)) else {
                        return Err(error.into());
                    };
                    tracing::warn!(retry, error = %error, "recompute: trying the batch again");
                    tokio::time::sleep(self.ladder.jittered(step, fastrand::f64())).await;
                }
            }
        }
        Err(AppError::Restless { bean: waiting.first().map(ToString::to_string) })
    }

    /// One attempt: what is settled leaves `waiting`.
    async fn round(&self, waiting: &mut Vec<BeanId>, page: &mut Page) -> Result<(), StoreError> {
        let (snapshot, mark) = self.freshener.refresh_for(waiting).await?;
        let lists = score(snapshot, waiting.clone()).await;
        let gone: Vec<bool> = lists.iter().map(Option::is_none).collect();
        let mut items: Vec<WriteItem> = waiting
            .iter()
            .zip(lists)
            .map(|(source, list)| WriteItem {
                source: source.clone(),
                list: list.unwrap_or_default(),
                tickets: Vec::new(),
            })
            .collect();
        let mut gone = gone.into_iter();
        while !items.is_empty() {
            let rest = items.split_off(fitting(&items, self.max_rows));
            let sources: Vec<BeanId> = items.iter().map(|item| item.source.clone()).collect();
            let batch = WriteBatch { items, computed_at: mark.clone() };
            let report = self.store.write(batch).await?;
            for (source, outcome) in sources.iter().zip(report.outcomes) {
                let gone = gone.next().unwrap_or(false);
                match outcome {
                    WriteOutcome::Outdated => {
                        self.freshener.doubt();
                        continue;
                    }
                    WriteOutcome::Written { .. } if gone => page.removed += 1,
                    WriteOutcome::Written { .. } => page.written += 1,
                    WriteOutcome::Unchanged => page.unchanged += 1,
                }
                waiting.retain(|id| id != source);
            }
            items = rest;
        }
        Ok(())
    }

    /// Deletes the lists of beans that the catalogue no longer has.
    async fn sweep(&self) -> Result<Page, AppError> {
        let (snapshot, _) = self.freshener.refresh().await?;
        let mut orphans = Vec::new();
        self.store
            .lists(&mut |source, _| {
                if !snapshot.contains(&source) {
                    orphans.push(source);
                }
            })
            .await?;
        let mut swept = Page::default();
        for chunk in orphans.chunks(self.batch) {
            let page = self.page(chunk.to_vec()).await?;
            swept.removed += page.removed;
        }
        Ok(swept)
    }

    async fn position(&self) -> Result<Option<Position>, AppError> {
        let note = self.store.note(NOTE).await?;
        Ok(note
            .and_then(|text| serde_json::from_str::<Position>(&text).ok())
            .filter(|position| position.fingerprint == self.fingerprint))
    }

    async fn save(&self, after: &BeanId, done: u64) -> Result<(), AppError> {
        let position =
            Position { fingerprint: self.fingerprint.clone(), after: after.to_string(), done };
        let text = serde_json::to_string(&position).expect("a position is plain text and numbers");
        Ok(self.store.set_note(NOTE, Some(&text)).await?)
    }
}

fn may_pass(error: &StoreError) -> bool {
    matches!(error.retryability(), Retryability::Transient(_) | Retryability::OutcomeUnknown)
}

/// How many of the first items fit one transaction; at least one.
fn fitting(items: &[WriteItem], max_rows: usize) -> usize {
    let mut rows = 0;
    let fit = items.iter().take_while(|item| {
        rows += item.list.len().max(1);
        rows <= max_rows
    });
    fit.count().max(1).min(items.len())
}

/// Scores off the async threads.
async fn score(snapshot: Arc<dyn IndexSnapshot>, ids: Vec<BeanId>) -> Vec<Option<SimilarList>> {
    tokio::task::spawn_blocking(move || snapshot.top_k(&ids))
        .await
        .expect("scoring neither panics nor is cancelled: the task is awaited here")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ranking::Similar;

    fn item(rows: usize) -> WriteItem {
        let bean = BeanId::parse("b").expect("valid");
        WriteItem {
            source: bean.clone(),
            list: vec![Similar { bean, ppm: 1 }; rows],
            tickets: Vec::new(),
        }
    }

    #[test]
    fn a_transaction_takes_as_many_lists_as_fit_and_at_least_one() {
        let items = [item(4), item(4), item(4)];
        assert_eq!(fitting(&items, 8), 2);
        assert_eq!(fitting(&items, 100), 3);
        assert_eq!(fitting(&items, 1), 1);
    }

    #[test]
    fn a_position_survives_its_note() {
        let position = Position { fingerprint: "f".into(), after: "o'brien".into(), done: 7 };
        let text = serde_json::to_string(&position).expect("serialises");
        assert_eq!(serde_json::from_str::<Position>(&text).expect("reads back"), position);
    }
}
