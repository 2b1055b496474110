//! Settling one delivery.
//!
//! Decides: that a message is confirmed elsewhere before it is acknowledged here (a crash between
//! the two makes a duplicate, never a loss), and that one which could not be moved is handed
//! back. Never does: settle on another connection than the one that delivered; the
//! acknowledger of a lost connection answers "lost" by itself.

use super::line::Held;
use super::link::Link;
use super::message::Received;
use super::names::Names;
use crate::telemetry::events;
use crate::transport::codec::{failure, headers};
use crate::transport::settlement::{Settle, Settled};
use crate::transport::{Failure, Headers, Lane, TransportError};
use crate::txn::ticket::Ticket;
use async_trait::async_trait;
use lapin::Acker;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// How long a settlement waits for an answer before it looks whether the channel still lives.
const GLANCE: Duration = Duration::from_millis(100);

/// What every settlement of a transport shares.
pub(super) struct Desk {
    pub(super) link: Arc<Link>,
    pub(super) names: Names,
}

/// One delivery's way to be settled.
pub(super) struct AmqpSettle {
    pub(super) desk: Arc<Desk>,
    pub(super) received: Received,
    pub(super) lane: Lane,
    pub(super) attempt: u32,
    pub(super) tag: u64,
    pub(super) acker: Acker,
    pub(super) held: Held,
    pub(super) runtime: Handle,
}

impl AmqpSettle {
    fn settled(&self, answer: lapin::Result<bool>) -> Settled {
        match answer {
            Ok(true) => Settled::Done,
            // `false`: the channel is gone. An error: it went while we asked.
            Ok(false) | Err(_) => {
                events::settlement_lost(self.tag);
                Settled::Lost
            }
        }
    }

    async fn acknowledge(&self) -> Settled {
        self.answer(self.acker.ack(BasicAckOptions::default())).await
    }

    async fn give_back(&self) -> Settled {
        let options = BasicNackOptions { requeue: true, multiple: false };
        self.answer(self.acker.nack(options)).await
    }

    /// The client library may leave a settlement without an answer for ever where the connection
    /// goes just then: so look at the channel now and then.
    async fn answer(&self, asking: impl Future<Output = lapin::Result<bool>>) -> Settled {
        let mut asking = std::pin::pin!(asking);
        loop {
            match tokio::time::timeout(GLANCE, &mut asking).await {
                Ok(answer) => return self.settled(answer),
                Err(_) if self.acker.poisoned() || !self.held.line.channel.status().connected() => {
                    return self.settled(Ok(false));
                }
                Err(_) => {}
            }
        }
    }

    /// Publishes the message elsewhere, and only then acknowledges it here.
    async fn move_to(
        &self,
        queue: &str,
        expires: Option<Duration>,
        set: &Headers,
    ) -> Result<Settled, TransportError> {
        if !self.acker.usable() {
            return Ok(self.settled(Ok(false)));
        }
        let parcel = self.received.again(queue, expires, set);
        if let Err(error) = self.desk.link.send(&[parcel]).await {
            self.give_back().await;
            return Err(error);
        }
        Ok(self.acknowledge().await)
    }
}

#[async_trait]
impl Settle for AmqpSettle {
    async fn ack(self: Box<Self>) -> Result<Settled, TransportError> {
        Ok(self.acknowledge().await)
    }

    async fn retry(
        self: Box<Self>,
        retry: u32,
        delay: Duration,
        failure: Failure,
    ) -> Result<Settled, TransportError> {
        let Some(step) = self.desk.names.step(retry) else {
            self.give_back().await;
            return Err(TransportError::Misconfigured(
                "retry.max_retries is 0, so there is no retry queue; a failed message belongs in \
                 the failed queue"
                    .into(),
            ));
        };
        let queue = self.desk.names.step_queue(self.lane, step);
        let (kept, opaque) = self.received.kept_headers();
        let next = self.attempt.saturating_add(1);
        let set = failure::retried(&kept, opaque, next, &failure);
        self.move_to(&queue, Some(delay), &set).await
    }

    async fn dead_letter(self: Box<Self>, failure: Failure) -> Result<Settled, TransportError> {
        let (kept, opaque) = self.received.kept_headers();
        let origin = self.desk.names.queue(self.lane);
        let set = failure::failed(&kept, opaque, origin, &failure);
        self.move_to(&self.desk.names.failed, None, &set).await
    }

    async fn hand_back(self: Box<Self>) -> Result<Settled, TransportError> {
        Ok(self.give_back().await)
    }

    async fn republish(self: Box<Self>) -> Result<Settled, TransportError> {
        let mut own = self.received.envelope().headers;
        own.retain(|name, _| name == headers::ATTEMPT || headers::FAILURE.contains(&name.as_str()));
        self.move_to(self.desk.names.queue(self.lane), None, &own).await
    }

    fn ticket(&self) -> Option<Ticket> {
        None
    }

    fn committed(self: Box<Self>) {
        // Without a ticket nothing can have been committed for us: hand it back.
        self.abandon();
    }

    fn abandon(self: Box<Self>) {
        let runtime = self.runtime.clone();
        // The line waits for it before it closes: the task holds it through `held`.
        runtime.spawn(async move { self.give_back().await });
    }
}
