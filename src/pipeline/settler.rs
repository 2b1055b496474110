//! The last stage: settles deliveries, each exactly once; then their runs end.
//!
//! Decides: nothing; it executes what was decided, and counts what came of it. Never does: settle
//! a delivery before the commit it depends on: the writer decides after it.

use super::messages::{Decided, Fate, Settling};
use super::progress::count;
use super::schedule::End;
use super::shared::Shared;
use super::stage::Obituary;
use crate::telemetry::events;
use crate::transport::Delivery;
use crate::transport::settlement::Settled;
use actix::{Actor, Context, Handler};
use futures_util::StreamExt;
use std::sync::Arc;

/// Settlements of one decision under way at once: confirms overlap, the broker is not flooded.
const AT_ONCE: usize = 32;

/// Settles; each decision in a task of its own.
pub(crate) struct Settler {
    shared: Arc<Shared>,
    _obituary: Obituary,
}

impl Settler {
    pub(crate) fn new(shared: Arc<Shared>, obituary: Obituary) -> Self {
        Self { shared, _obituary: obituary }
    }
}

impl Actor for Settler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(self.shared.settings.pipeline.concurrency.get());
    }
}

impl Handler<Decided> for Settler {
    type Result = ();

    fn handle(&mut self, decided: Decided, _: &mut Self::Context) {
        #[cfg(test)]
        self.shared.trip("settler");
        let shared = Arc::clone(&self.shared);
        self.shared.spawn(async move {
            let Decided { settlings, guards } = decided;
            futures_util::stream::iter(settlings)
                .for_each_concurrent(AT_ONCE, |settling| settle(&shared, settling))
                .await;
            guards.into_iter().for_each(|guard| guard.end(End::Done));
        });
    }
}

/// Settles one delivery, and counts what came of it.
async fn settle(shared: &Shared, settling: Settling) {
    let Settling { delivery, bean, arrived, fate } = settling;
    let Delivery { settlement, attempt, tag, .. } = delivery;
    let counters = shared.counters();
    let bean = bean.as_ref().map(|bean| bean.as_str());
    let settled = match &fate {
        Fate::Committed => {
            settlement.committed();
            Ok(Settled::Done)
        }
        Fate::Ack => settlement.ack().await,
        Fate::Retry { retry, delay, failure, .. } => {
            settlement.retry(*retry, *delay, failure.clone()).await
        }
        Fate::DeadLetter { failure, .. } => settlement.dead_letter(failure.clone()).await,
        Fate::HandBack => settlement.hand_back().await,
        Fate::Republish => settlement.republish().await,
    };
    match settled {
        Ok(Settled::Done) => {}
        // The transport has said so.
        Ok(Settled::Lost) => {
            count(&counters.lost);
            return;
        }
        Err(error) => {
            count(&counters.lost);
            tracing::debug!(delivery.tag = tag, %error, "settlement failed");
            events::settlement_lost(tag);
            return;
        }
    }
    match fate {
        Fate::Ack | Fate::Committed => {
            count(&counters.acked);
            counters.latencies.record(arrived.elapsed());
            events::stage_duration("total", arrived.elapsed());
            events::message_settled("acked");
        }
        Fate::Retry { delay, reason, failure, .. } => {
            count(&counters.retried);
            events::message_settled("retried");
            let bean = bean.unwrap_or_default();
            events::delivery_retried(bean, attempt, delay, reason, &failure.message);
        }
        Fate::DeadLetter { exhausted, failure } => {
            count(&counters.failed);
            events::message_settled("failed");
            events::delivery_failed(bean, attempt, &failure.class, &failure.message);
            if let Some(reason) = exhausted {
                let bean = bean.unwrap_or_default();
                events::message_retries_exhausted(bean, attempt, reason, &failure.message);
            }
        }
        Fate::HandBack | Fate::Republish => {
            count(&counters.returned);
            events::message_settled("returned");
        }
    }
}
