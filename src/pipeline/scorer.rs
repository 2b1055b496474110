//! The third stage: refreshes the index and computes the lists of a batch.
//!
//! Decides: what a bean that the catalogue lacks comes to. Never does: write, or settle.

use super::disposition::Facts;
use super::fates::fate;
use super::messages::{Decided, Fate, Run, ScoredBatch, ScoredBean, ScoringTask, Settling};
use super::shared::Shared;
use super::stage::{Obituary, Slot};
use crate::domain::message::MessageKind;
use crate::telemetry::events;
use actix::{Actor, Context, Handler};
use std::sync::Arc;
use std::time::Instant;

/// Scores batches; each in a task of its own, the work on the scoring threads.
pub(crate) struct Scorer {
    shared: Arc<Shared>,
    writer: Arc<Slot<ScoredBatch>>,
    settler: Arc<Slot<Decided>>,
    _obituary: Obituary,
}

impl Scorer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        writer: Arc<Slot<ScoredBatch>>,
        settler: Arc<Slot<Decided>>,
        obituary: Obituary,
    ) -> Self {
        Self { shared, writer, settler, _obituary: obituary }
    }
}

impl Actor for Scorer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(self.shared.settings.pipeline.workers.get());
    }
}

impl Handler<ScoringTask> for Scorer {
    type Result = ();

    fn handle(&mut self, task: ScoringTask, _: &mut Self::Context) {
        #[cfg(test)]
        self.shared.trip("scorer");
        let shared = Arc::clone(&self.shared);
        let (writer, settler) = (Arc::clone(&self.writer), Arc::clone(&self.settler));
        self.shared.spawn(async move {
            let Some((batch, decided)) = score(&shared, task).await else { return };
            if !decided.is_empty() {
                settler.send(decided).await;
            }
            if !batch.beans.is_empty() {
                writer.send(batch).await;
            }
        });
    }
}

/// Scores a batch: what is to be written, and what is decided already. `None` when the catalogue
/// cannot be read: then the beans wait again.
async fn score(shared: &Arc<Shared>, task: ScoringTask) -> Option<(ScoredBatch, Decided)> {
    let beans: Vec<_> = task.runs.iter().map(|run| run.bean.clone()).collect();
    let (snapshot, mark) = match shared.refresh(&beans).await {
        Ok(fresh) => fresh,
        Err(error) => {
            shared.pause(&error);
            task.runs.into_iter().for_each(Run::back);
            return None;
        }
    };
    let start = Instant::now();
    let scored = shared.scorers.score(snapshot, beans).await;
    events::stage_duration("score", start.elapsed());
    let mut batch = ScoredBatch { beans: Vec::new(), computed_at: mark };
    let mut decided = Decided::default();
    for (run, scored) in task.runs.into_iter().zip(scored) {
        match scored {
            Ok(Some(list)) => batch.beans.push(ScoredBean { run, list }),
            Ok(None) => batch.beans.extend(missing(shared, run, &mut decided)),
            Err(panic) => {
                decided.fail(run, &Facts::of_panic(panic), &shared.settings.ladder);
            }
        }
    }
    Some((batch, decided))
}

/// A bean that the catalogue does not have. Deliveries that may have overtaken its commit are
/// retried; for the others its leftover rows are deleted, by writing an empty list.
fn missing(shared: &Shared, run: Run, decided: &mut Decided) -> Option<ScoredBean> {
    let Run { bean, held, guard, started } = run;
    let mut believed = Vec::new();
    let mut attempts = None;
    for held in held {
        let deleted = held.message.kind == MessageKind::BeanDeleted;
        let facts = Facts::of_missing(deleted);
        match fate(&facts, &held.delivery, &shared.settings.ladder) {
            Fate::Ack => {
                if !deleted {
                    attempts = attempts.max(Some(held.delivery.attempt));
                }
                believed.push(held);
            }
            fate => decided.settlings.push(Settling::of(held, fate)),
        }
    }
    if believed.is_empty() {
        decided.guards.push(guard);
        return None;
    }
    if let Some(attempts) = attempts {
        events::bean_missing(bean.as_str(), attempts);
    }
    let run = Run { bean, held: believed, guard, started };
    Some(ScoredBean { run, list: Vec::new() })
}
