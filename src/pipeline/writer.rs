//! The fourth stage: writes lists, a batch in one short transaction.
//!
//! Decides: how a batch is cut, and that a failed one is split until the bad bean stands alone.
//! Never does: settle before the commit.

use super::disposition::{Disposition, Facts, decide};
use super::messages::{Decided, Fate, Held, ScoredBatch, ScoredBean, Settling};
use super::progress::count;
use super::scoring::panic_text;
use super::shared::Shared;
use super::stage::{Obituary, Slot};
use crate::store::{LogMark, WriteBatch, WriteItem, WriteOutcome};
use crate::telemetry::events;
use crate::txn::ticket::Ticket;
use actix::{Actor, Context, Handler};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

/// Writes batches; each in a task of its own.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    settler: Arc<Slot<Decided>>,
    _obituary: Obituary,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        settler: Arc<Slot<Decided>>,
        obituary: Obituary,
    ) -> Self {
        Self { shared, settler, _obituary: obituary }
    }
}

impl Actor for Writer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(self.shared.settings.pipeline.workers.get());
    }
}

impl Handler<ScoredBatch> for Writer {
    type Result = ();

    fn handle(&mut self, batch: ScoredBatch, _: &mut Self::Context) {
        #[cfg(test)]
        self.shared.trip("writer");
        let (shared, settler) = (Arc::clone(&self.shared), Arc::clone(&self.settler));
        self.shared.spawn(async move { write(&shared, &settler, batch).await });
    }
}

/// Beans to be written in one transaction.
type Group = Vec<ScoredBean>;

/// Writes a batch, cutting it where it is too large and where it fails.
async fn write(shared: &Arc<Shared>, settler: &Slot<Decided>, batch: ScoredBatch) {
    let ScoredBatch { beans, computed_at } = batch;
    let mut groups = cut(beans, shared.settings.max_rows);
    while let Some(group) = groups.pop() {
        let decided = match attempt(shared, &group, &computed_at).await {
            Ok(committed) => conclude(shared, group, committed),
            Err(facts) => match decide(&facts, 1, &shared.settings.ladder, 0.0) {
                Disposition::Pause => {
                    shared.pause(&facts.message);
                    let unwritten = groups.into_iter().flatten().chain(group);
                    unwritten.for_each(|bean| bean.run.back());
                    return;
                }
                Disposition::RunAgain => {
                    // The commit may have happened. Look whether the database is there, and then
                    // compute and write again: the same rows are found unchanged.
                    shared.pause(&facts.message);
                    group.into_iter().for_each(|bean| bean.run.again("outcome_unknown"));
                    continue;
                }
                _ => match halves(group) {
                    Ok((left, right)) => {
                        groups.extend([right, left]);
                        continue;
                    }
                    Err(bad) => {
                        let mut decided = Decided::default();
                        decided.fail(bad.run, &facts, &shared.settings.ladder);
                        decided
                    }
                },
            },
        };
        settler.send(decided).await;
    }
}

/// Groups of at most `max_rows` rows to insert (a bean's own list is never cut), last first.
fn cut(beans: Vec<ScoredBean>, max_rows: usize) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut rows = usize::MAX;
    for bean in beans {
        let more = bean.list.len().max(1);
        match groups.last_mut() {
            Some(group) if rows.saturating_add(more) <= max_rows => {
                rows += more;
                group.push(bean);
            }
            _ => {
                rows = more;
                groups.push(vec![bean]);
            }
        }
    }
    groups.reverse();
    groups
}

/// Two halves; or the one bean that cannot be split.
fn halves(mut group: Group) -> Result<(Group, Group), ScoredBean> {
    if group.len() > 1 {
        let right = group.split_off(group.len() / 2);
        return Ok((group, right));
    }
    Err(group.pop().expect("groups are never empty"))
}

/// What a committed transaction did to one bean, and which of its deliveries it acknowledged (not
/// one whose ticket was void: its claim had run out).
struct Committed {
    outcome: WriteOutcome,
    ticketed: Vec<bool>,
}

/// One transaction. Its own attempts are the store's matter.
async fn attempt(
    shared: &Shared,
    group: &[ScoredBean],
    computed_at: &LogMark,
) -> Result<Vec<Committed>, Facts> {
    let mut ticketed = Vec::with_capacity(group.len());
    let items = group.iter().map(|bean| {
        let tickets: Vec<_> =
            bean.run.held.iter().map(|held| held.delivery.settlement.ticket()).collect();
        let (source, list) = (bean.run.bean.clone(), bean.list.clone());
        let item = WriteItem { source, list, tickets: tickets.iter().flatten().cloned().collect() };
        ticketed.push(tickets);
        item
    });
    let items: Vec<_> = items.collect();
    let batch = WriteBatch { items, computed_at: computed_at.clone() };
    let start = Instant::now();
    let write = AssertUnwindSafe(shared.store.write(batch)).catch_unwind().await;
    events::stage_duration("write", start.elapsed());
    let report = match write {
        Ok(Ok(report)) => report,
        Ok(Err(error)) => return Err(Facts::of_store(&error)),
        Err(panic) => return Err(Facts::of_panic(panic_text(&*panic))),
    };
    if report.outcomes.len() != group.len() {
        let (outcomes, beans) = (report.outcomes.len(), group.len());
        return Err(Facts::of_panic(format!("{outcomes} outcomes for {beans} beans")));
    }
    let executed = |t: &Option<Ticket>| t.as_ref().is_some_and(|t| !report.void.contains(t));
    let committed = report.outcomes.iter().zip(ticketed).map(|(outcome, tickets)| Committed {
        outcome: *outcome,
        ticketed: tickets.iter().map(executed).collect(),
    });
    Ok(committed.collect())
}

/// After the commit: counts what was written, and says how the deliveries are settled.
fn conclude(shared: &Shared, group: Group, committed: Vec<Committed>) -> Decided {
    let counters = shared.counters();
    let mut decided = Decided::default();
    for (ScoredBean { run, list }, Committed { outcome, ticketed }) in
        group.into_iter().zip(committed)
    {
        match outcome {
            WriteOutcome::Written { deleted, inserted } => events::rows_written(deleted, inserted),
            WriteOutcome::Unchanged => {
                count(&counters.unchanged);
                events::write_skipped("unchanged");
            }
            WriteOutcome::Outdated => {
                events::write_skipped("outdated");
                shared.freshener.doubt();
                run.again("outdated");
                continue;
            }
        }
        count(&counters.processed);
        events::similarity_completed(run.bean.as_str(), list.len(), run.started.elapsed());
        // Acknowledging under a claim that has run out finds out that the message is lost to us.
        let settle = |(held, ticketed): (Held, bool)| {
            Settling::of(held, if ticketed { Fate::Committed } else { Fate::Ack })
        };
        decided.settlings.extend(run.held.into_iter().zip(ticketed).map(settle));
        decided.guards.push(run.guard);
    }
    decided
}
