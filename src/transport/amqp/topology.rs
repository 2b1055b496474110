//! Exchange and queues: what they are, declaring or verifying them, counting what waits in them.
//!
//! Decides: the arguments of every queue. Never does: delete or change one that exists; step
//! queues of earlier settings drain by themselves, since they dead-letter to the work queue.
//!
//! ```text
//! exchange ─▶ work ◀───── work.retry.<ms>        (TTL, dead-letters back)
//!          ─▶ bulk ◀───── bulk.retry.<ms>
//!             work, bulk ── delivery limit ─▶ failed
//! ```

use super::connection::{Endpoint, Failed, NOT_FOUND, refusal};
use super::names::Names;
use crate::config::{AmqpConfig, Topology};
use crate::transport::{Lane, QueueDepth, TransportError};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ExchangeKind};
use std::time::Duration;

/// A queue as it is to be.
struct Queue {
    name: String,
    arguments: FieldTable,
}

/// Everything that is declared or verified.
pub(super) struct Plan {
    mode: Topology,
    exchange: String,
    bound: [String; 2],
    queues: Vec<Queue>,
}

impl Plan {
    pub(super) fn new(config: &AmqpConfig, names: &Names) -> Self {
        let work = |name: &str, single: bool| Queue {
            name: name.to_owned(),
            arguments: work_arguments(config, &names.failed, single),
        };
        let mut queues = vec![
            Queue { name: names.failed.clone(), arguments: quorum() },
            work(&names.live, config.single_active_consumer),
            work(&names.bulk, false),
        ];
        for step in names.distinct_steps() {
            for lane in [Lane::Live, Lane::Bulk] {
                queues.push(Queue {
                    name: names.step_queue(lane, step),
                    arguments: step_arguments(step, names.queue(lane)),
                });
            }
        }
        Self {
            mode: config.topology,
            exchange: names.exchange.clone(),
            bound: [names.live.clone(), names.bulk.clone()],
            queues,
        }
    }

    /// The queues that are consumed: live, bulk.
    pub(super) fn work_queues(&self) -> [&str; 2] {
        [&self.bound[0], &self.bound[1]]
    }

    /// Declares or verifies, as configured. A refusal closes the channel: use one for this alone.
    pub(super) async fn ensure(
        &self,
        endpoint: &Endpoint,
        channel: &Channel,
    ) -> Result<(), TransportError> {
        let passive = match self.mode {
            Topology::Off => return Ok(()),
            Topology::Passive => true,
            Topology::Declare => false,
        };
        if !self.exchange.is_empty() {
            let options = ExchangeDeclareOptions { passive, durable: true, ..Default::default() };
            let declared = channel.exchange_declare(
                short(&self.exchange),
                ExchangeKind::Direct,
                options,
                FieldTable::default(),
            );
            let done = endpoint.in_time("declaring the exchange", declared).await;
            done.map_err(|e| endpoint.explain(&format!("exchange {:?}", self.exchange), e))?;
        }
        for queue in &self.queues {
            let options = QueueDeclareOptions { passive, durable: true, ..Default::default() };
            let arguments = if passive { FieldTable::default() } else { queue.arguments.clone() };
            let declared = channel.queue_declare(short(&queue.name), options, arguments);
            let done = endpoint.in_time("declaring the queues", declared).await;
            done.map_err(|e| endpoint.explain(&format!("queue {:?}", queue.name), e))?;
        }
        if passive || self.exchange.is_empty() {
            return Ok(());
        }
        for queue in &self.bound {
            let bound = channel.queue_bind(
                short(queue),
                short(&self.exchange),
                short(queue),
                QueueBindOptions::default(),
                FieldTable::default(),
            );
            let done = endpoint.in_time("binding the queues", bound).await;
            done.map_err(|e| endpoint.explain(&format!("binding of queue {queue:?}"), e))?;
        }
        Ok(())
    }
}

/// Counts what is ready in each queue; a queue that does not exist holds nothing.
pub(super) async fn depth(
    endpoint: &Endpoint,
    connection: &Connection,
    names: &Names,
) -> Result<QueueDepth, TransportError> {
    let counter = Counter { endpoint, connection };
    let mut depth = QueueDepth {
        live: counter.ready(&names.live).await?,
        bulk: counter.ready(&names.bulk).await?,
        failed: counter.ready(&names.failed).await?,
        ..QueueDepth::default()
    };
    for step in names.distinct_steps() {
        for lane in [Lane::Live, Lane::Bulk] {
            depth.retrying += counter.ready(&names.step_queue(lane, step)).await?;
        }
    }
    Ok(depth)
}

struct Counter<'a> {
    endpoint: &'a Endpoint,
    connection: &'a Connection,
}

impl Counter<'_> {
    /// On a channel of its own, since asking for a queue that does not exist closes the channel.
    async fn ready(&self, queue: &str) -> Result<u64, TransportError> {
        let counting = async {
            let channel = self.connection.create_channel().await?;
            let options = QueueDeclareOptions { passive: true, ..Default::default() };
            channel.queue_declare(short(queue), options, FieldTable::default()).await
        };
        match self.endpoint.in_time("counting messages", counting).await {
            Ok(queue) => Ok(u64::from(queue.message_count())),
            Err(Failed::Broker(error)) if refusal(&error).is_some_and(|(c, _)| c == NOT_FOUND) => {
                Ok(0)
            }
            Err(failed) => Err(self.endpoint.explain(&format!("queue {queue:?}"), failed)),
        }
    }
}

/// A name as the protocol carries it.
pub(super) fn short(name: &str) -> ShortString {
    ShortString::try_new(name).expect("names are checked to be short when they are resolved")
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments
}

/// Dead-lettering that loses nothing: at least once, which needs `reject-publish`.
fn dead_lettering_to(target: &str) -> FieldTable {
    let mut arguments = quorum();
    arguments
        .insert("x-dead-letter-exchange".into(), text(""))
        .insert("x-dead-letter-routing-key".into(), text(target))
        .insert("x-dead-letter-strategy".into(), text("at-least-once"))
        .insert("x-overflow".into(), text("reject-publish"));
    arguments
}

fn work_arguments(config: &AmqpConfig, failed: &str, single: bool) -> FieldTable {
    let mut arguments = dead_lettering_to(failed);
    let limit = i64::from(config.delivery_limit.get());
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(limit));
    if single {
        arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    }
    arguments
}

/// The queue's own TTL is a backstop a tenth above the step; each message expires by itself, at
/// its jittered delay. Messages expire only at the head, so a step queue holds one step alone.
fn step_arguments(step: Duration, target: &str) -> FieldTable {
    let mut arguments = dead_lettering_to(target);
    let ttl = i64::try_from(step.as_millis() * 11 / 10).unwrap_or(i64::MAX);
    arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(ttl));
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}
