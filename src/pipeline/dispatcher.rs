//! The second stage: merges deliveries into runs and hands batches on, by its [`Schedule`].
//!
//! Decides: nothing beyond the schedule. Never does: score, write or settle; it only says which
//! deliveries are handed back.

use super::limits::PipelineLimits;
use super::messages::{Arrived, Decided, Fate, Held, Run, ScoringTask, Settling};
use super::progress::count;
use super::schedule::{Arrival, Bounds, Schedule};
use super::shared::{Phase, Shared};
use super::stage::{Obituary, Slot};
use crate::domain::bean::BeanId;
use crate::telemetry::events;
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Instant, SystemTime};
use tokio::sync::watch;

/// Bursts of arrivals that may wait to be looked at; the source is not read further meanwhile.
const MAILBOX: usize = 1;

/// Holds the schedule. A new one starts empty, but knows which beans still run.
pub(crate) struct Dispatcher {
    shared: Arc<Shared>,
    scorer: Arc<Slot<ScoringTask>>,
    settler: Arc<Slot<Decided>>,
    schedule: Schedule<Held>,
    _obituary: Obituary,
}

impl Dispatcher {
    pub(crate) fn new(
        shared: Arc<Shared>,
        scorer: Arc<Slot<ScoringTask>>,
        settler: Arc<Slot<Decided>>,
        obituary: Obituary,
    ) -> Self {
        let schedule = Schedule::new(bounds(shared.limits()), shared.desk.running());
        Self { shared, scorer, settler, schedule, _obituary: obituary }
    }

    /// Looks again at each ring of the bell.
    fn listen(&self, mut rings: watch::Receiver<u64>, ctx: &mut Context<Self>) {
        let rung = async move {
            rings.changed().await.expect("the bell outlives the stages");
            rings
        };
        let look = rung.into_actor(self).map(|rings, act, ctx| {
            if act.shared.over.is_cancelled() {
                ctx.stop();
            } else {
                act.look();
                act.listen(rings, ctx);
            }
        });
        ctx.spawn(look);
    }

    /// Takes in what ended, and starts what can start.
    fn look(&mut self) {
        for (bean, end) in self.shared.desk.collect() {
            if let Some(reason) = self.schedule.ended(&bean, end) {
                count(&self.shared.counters().reruns);
                events::rerun(reason);
            }
        }
        self.schedule.rebind(bounds(self.shared.limits()));
        self.schedule.suspend(!self.shared.gate.is_open());
        if *self.shared.phase.borrow() == Phase::Draining {
            let waiting = self.schedule.clear();
            self.settle(waiting, || Fate::HandBack);
        } else {
            while let Some(batch) = self.schedule.start() {
                self.launch(batch);
            }
            let displaced = self.schedule.displaced();
            self.settle(displaced, || Fate::Republish);
        }
        self.report();
    }

    fn launch(&self, batch: Vec<(BeanId, Vec<Held>)>) {
        let started = Instant::now();
        let now = SystemTime::now();
        let runs = batch.into_iter().map(|(bean, held)| {
            for Held { delivery, arrived, .. } in &held {
                events::stage_duration("queue", started.duration_since(*arrived));
                let published = delivery.envelope.published_at;
                if let Some(age) = published.and_then(|at| now.duration_since(at).ok()) {
                    events::message_age(age);
                }
            }
            let guard = self.shared.desk.open(&bean);
            let run = Run { bean, held, guard, started };
            events::similarity_started(run.bean.as_str(), run.attempt());
            run
        });
        let task = ScoringTask { runs: runs.collect() };
        let scorer = Arc::clone(&self.scorer);
        // At most one such task a worker: the schedule counts batches.
        self.shared.spawn(async move { scorer.send(task).await });
    }

    fn settle(&self, deliveries: Vec<Held>, fate: impl Fn() -> Fate) {
        if deliveries.is_empty() {
            return;
        }
        let settlings = deliveries.into_iter().map(|held| Settling::of(held, fate())).collect();
        let settler = Arc::clone(&self.settler);
        self.shared.spawn(async move {
            settler.send(Decided { settlings, guards: Vec::new() }).await;
        });
    }

    fn report(&self) {
        let counters = self.shared.counters();
        let in_flight = self.schedule.in_flight();
        counters.in_flight.store(in_flight, Relaxed);
        counters.waiting.store(self.schedule.waiting(), Relaxed);
        events::in_flight(in_flight, self.shared.limits().concurrency.get());
        self.shared.idle.send_replace(self.schedule.idle());
    }
}

fn bounds(limits: PipelineLimits) -> Bounds {
    Bounds {
        concurrency: limits.concurrency.get(),
        batch: limits.batch.get(),
        workers: limits.workers.get(),
    }
}

impl Actor for Dispatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.listen(self.shared.bell.listen(), ctx);
        self.look();
    }
}

impl Handler<Arrived> for Dispatcher {
    type Result = ();

    fn handle(&mut self, Arrived(burst): Arrived, _: &mut Self::Context) {
        #[cfg(test)]
        self.shared.trip("dispatcher");
        for held in burst {
            let bean = held.message.bean.clone();
            let (lane, crashes) = (held.delivery.lane, held.delivery.crash_count);
            if self.schedule.arrive(bean, lane, crashes, held) == Arrival::Merged {
                count(&self.shared.counters().coalesced);
                events::message_coalesced();
            }
        }
        self.look();
    }
}
