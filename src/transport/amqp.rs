//! RabbitMQ, 3.10 to 4.x: competing consumers on quorum queues, a retry ladder of step queues,
//! confirmed publishing.
//!
//! Decides: that consuming and publishing have a connection each, both rebuilt from nothing on any
//! error, and closed behind the last settlement. Never does: recover a channel in place, count
//! attempts in the broker's headers, or treat an unroutable message as sent.

use self::connection::Endpoint;
use self::consumer::AmqpSource;
use self::link::{Dialer, Link};
use self::names::Names;
use self::settle::Desk;
use self::status::Seats;
use self::topology::Plan;
use super::{Outgoing, Publisher, QueueDepth, Source, Transport, TransportError, codec};
use crate::config::AmqpConfig;
use crate::resilience::backoff::Ladder;
use async_trait::async_trait;
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod connection;
mod consumer;
mod fairness;
mod line;
mod link;
mod message;
mod names;
mod settle;
mod status;
mod topology;

/// What an [`AmqpTransport`] is made from.
#[derive(Debug, Clone)]
pub struct AmqpSettings {
    /// `[transport.amqp]`.
    pub config: AmqpConfig,
    /// `amqp://…` or `amqps://…`, with credentials.
    pub url: SecretString,
    /// Deliveries out and unsettled at most, per source; at least 1.
    pub prefetch: u16,
    /// The retry ladder: one step queue a step and lane.
    pub ladder: Ladder,
}

/// The queue in RabbitMQ.
pub struct AmqpTransport {
    dialer: Arc<Dialer>,
    desk: Arc<Desk>,
    seats: Arc<Seats>,
    prefetch: u16,
}

impl AmqpTransport {
    /// Checks the settings and reads the TLS files; connects to nothing yet. Connections belong
    /// to the runtime in which they are first used.
    ///
    /// # Errors
    /// [`TransportError::Misconfigured`] when the address, a name or a file is unusable.
    pub fn new(settings: AmqpSettings) -> Result<Self, TransportError> {
        let AmqpSettings { config, url, prefetch, ladder } = settings;
        let names = Names::resolve(&config, &ladder)?;
        let endpoint = Endpoint::new(&config, &url)?;
        let dialer = Arc::new(Dialer { endpoint, plan: Plan::new(&config, &names) });
        let link = Arc::new(Link::new(dialer.clone(), config.confirm_timeout));
        let desk = Arc::new(Desk { link, names });
        Ok(Self { dialer, desk, seats: Arc::default(), prefetch: prefetch.max(1) })
    }
}

#[async_trait]
impl Transport for AmqpTransport {
    async fn prepare(&self) -> Result<(), TransportError> {
        let Dialer { endpoint, plan } = &*self.dialer;
        let connection = endpoint.connect("setup").await?;
        let opening = endpoint.in_time("opening a channel", connection.create_channel()).await;
        let channel = opening.map_err(|failed| endpoint.explain("channel", failed))?;
        plan.ensure(endpoint, &channel).await?;
        if let Err(error) = connection.close(200, "done".into()).await {
            tracing::debug!(%error, "setup connection was closed already");
        }
        Ok(())
    }

    async fn source(&self, stop: CancellationToken) -> Result<Box<dyn Source>, TransportError> {
        self.desk.link.start();
        let (dialer, desk) = (self.dialer.clone(), self.desk.clone());
        Ok(Box::new(AmqpSource::new(dialer, desk, self.prefetch, self.seats.reserve(), stop)))
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::new(AmqpPublisher { desk: self.desk.clone() })
    }

    async fn depth(&self) -> Result<QueueDepth, TransportError> {
        let live = self.desk.link.ready_in_time().await?;
        topology::depth(&self.dialer.endpoint, &live.connection, &self.desk.names).await
    }

    fn connected(&self) -> bool {
        self.desk.link.is_up() && self.seats.all_connected()
    }

    async fn close(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
        if tokio::time::timeout_at(deadline, self.seats.closed()).await.is_err() {
            tracing::warn!(
                "not every message was settled in time; the broker delivers the others again"
            );
        }
        // Settlements publish; so this one is last.
        self.desk.link.close(deadline.saturating_duration_since(Instant::now())).await;
    }
}

/// Publishes through the transport's link, to the exchange, by the queue's name.
struct AmqpPublisher {
    desk: Arc<Desk>,
}

#[async_trait]
impl Publisher for AmqpPublisher {
    async fn publish(&self, messages: &[Outgoing]) -> Result<(), TransportError> {
        let names = &self.desk.names;
        let parcels: Vec<_> = messages
            .iter()
            .map(|outgoing| {
                let queue = names.queue(outgoing.lane);
                message::parcel(&codec::encode(outgoing), &names.exchange, queue)
            })
            .collect();
        self.desk.link.send(&parcels).await
    }
}
