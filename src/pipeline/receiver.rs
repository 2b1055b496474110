//! The first stage: takes deliveries from the source, reads them, hands them on.
//!
//! Decides: that what cannot be read goes to the failed queue at once; when the limit of messages
//! is reached. Never does: merge, order, or hold deliveries.

use super::PipelineError;
use super::disposition::{Facts, Fault};
use super::fates::fate;
use super::messages::{Arrived, Decided, Fate, Held, IntakeEnded, Settling};
use super::progress::count;
use super::shared::Shared;
use super::stage::{Obituary, Slot};
use crate::config::UnknownType;
use crate::domain::message::BeanMessage;
use crate::telemetry::events;
use crate::transport::codec::{self, DecodeError};
use crate::transport::{Delivery, Envelope, TransportError};
use actix::{Actor, ActorContext, AsyncContext, Context, Handler};
use futures_util::FutureExt;
use futures_util::future::poll_immediate;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Deliveries handed on together, at most.
const BURST: usize = 256;

/// Takes and reads deliveries. Its pump is a task of its own; it ends with the actor.
pub(crate) struct Receiver {
    shared: Arc<Shared>,
    dispatcher: Arc<Slot<Arrived>>,
    settler: Arc<Slot<Decided>>,
    /// Stops the pump when the actor is gone.
    pump: Option<DropGuard>,
    _obituary: Obituary,
}

impl Receiver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        dispatcher: Arc<Slot<Arrived>>,
        settler: Arc<Slot<Decided>>,
        obituary: Obituary,
    ) -> Self {
        Self { shared, dispatcher, settler, pump: None, _obituary: obituary }
    }
}

impl Actor for Receiver {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1);
        let stop = self.shared.intake.child_token();
        self.pump = Some(stop.clone().drop_guard());
        let pump = Pump {
            shared: Arc::clone(&self.shared),
            dispatcher: Arc::clone(&self.dispatcher),
            settler: Arc::clone(&self.settler),
            stop,
        };
        let me = ctx.address();
        self.shared.spawn(async move {
            let ended = match AssertUnwindSafe(pump.run()).catch_unwind().await {
                Ok(Ok(())) => IntakeEnded::Stopped,
                Ok(Err(error)) => IntakeEnded::Refused(error),
                Err(_) => IntakeEnded::Broken,
            };
            if me.send(ended).await.is_err() {
                tracing::debug!("the receiver is gone; its pump has ended");
            }
        });
    }
}

impl Handler<IntakeEnded> for Receiver {
    type Result = ();

    fn handle(&mut self, ended: IntakeEnded, ctx: &mut Self::Context) {
        match ended {
            IntakeEnded::Stopped if self.shared.intake.is_cancelled() => {
                self.shared.intake_ended.cancel();
            }
            IntakeEnded::Refused(error) => {
                self.shared.fail(PipelineError::Transport(error));
                self.shared.intake_ended.cancel();
            }
            // The supervisor starts a new receiver, with a new source.
            IntakeEnded::Stopped | IntakeEnded::Broken => ctx.stop(),
        }
    }
}

/// The loop that takes deliveries.
struct Pump {
    shared: Arc<Shared>,
    dispatcher: Arc<Slot<Arrived>>,
    settler: Arc<Slot<Decided>>,
    stop: CancellationToken,
}

impl Pump {
    /// Takes deliveries until told to stop. Those that are there already are handed on together,
    /// so that messages for one bean that wait in the queue are merged before it starts.
    async fn run(self) -> Result<(), TransportError> {
        let mut source = self.shared.transport.source(self.stop.clone()).await?;
        let mut burst = Vec::new();
        loop {
            if burst.len() >= BURST || !self.shared.gate.is_open() {
                self.hand_on(&mut burst).await;
                self.may_take().await;
            }
            let mut next = source.next();
            let delivery = match poll_immediate(&mut next).await {
                Some(ready) => ready?,
                None => {
                    self.hand_on(&mut burst).await;
                    (&mut next).await?
                }
            };
            drop(next);
            let Some(delivery) = delivery else {
                self.hand_on(&mut burst).await;
                return Ok(());
            };
            #[cfg(test)]
            self.shared.trip("receiver");
            if self.stop.is_cancelled() {
                self.settle(delivery, Instant::now(), Fate::HandBack).await;
            } else {
                burst.extend(self.take(delivery).await);
            }
        }
    }

    /// Waits while the gate is closed.
    async fn may_take(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.shared.gate.opened() => {}
        }
    }

    async fn hand_on(&self, burst: &mut Vec<Held>) {
        if !burst.is_empty() {
            self.dispatcher.send(Arrived(std::mem::take(burst))).await;
        }
    }

    /// Counts and reads a delivery; settles one that cannot be read.
    async fn take(&self, delivery: Delivery) -> Option<Held> {
        let received = &self.shared.counters().received;
        count(received);
        let limit = self.shared.settings.limits.messages;
        if limit.is_some_and(|limit| received.load(Relaxed) >= limit) {
            self.shared.intake.cancel();
        }
        let arrived = Instant::now();
        match self.read(&delivery.envelope) {
            Ok(message) => {
                events::message_received(message.kind.name());
                Some(Held { delivery, message, arrived })
            }
            Err(facts) => {
                events::message_received("unknown");
                let fate = fate(&facts, &delivery, &self.shared.settings.ladder);
                self.settle(delivery, arrived, fate).await;
                None
            }
        }
    }

    /// Reads a message, and checks that its bean could exist in this catalogue.
    fn read(&self, envelope: &Envelope) -> Result<BeanMessage, Facts> {
        let settings = &self.shared.settings;
        let facts = |fault, class: &str, message| Facts {
            fault,
            class: class.into(),
            sqlstate: None,
            message,
        };
        let message = codec::decode(envelope, &settings.codec).map_err(|error| {
            let ignored = settings.unknown_type == UnknownType::Ignore;
            let fault = match error {
                DecodeError::UnknownKind { .. } => Fault::UnknownKind { ignored },
                _ => Fault::Unreadable,
            };
            facts(fault, error.class(), error.to_string())
        })?;
        self.shared
            .store
            .accepts(&message.bean)
            .map_err(|why| facts(Fault::Unreadable, "impossible_id", why))?;
        Ok(message)
    }

    async fn settle(&self, delivery: Delivery, arrived: Instant, fate: Fate) {
        let settlings = vec![Settling { delivery, bean: None, arrived, fate }];
        self.settler.send(Decided { settlings, guards: Vec::new() }).await;
    }
}
