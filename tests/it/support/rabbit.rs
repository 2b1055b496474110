//! The broker as a stranger sees it: publishes any bytes, reads the failed queue.
//!
//! Decides: nothing. Never does: go through the service's own publisher.

use super::world::World;
use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use std::time::Duration;

/// A connection to the world's broker.
pub(crate) struct Raw {
    channel: Channel,
    queue: String,
    _connection: Connection,
}

/// A message of the failed queue.
#[derive(Debug)]
pub(crate) struct Failed {
    headers: FieldTable,
}

impl Raw {
    /// Connects to the world's broker; its queues must exist (a ready worker declared them).
    pub(crate) async fn connect(world: &World) -> Self {
        let url = world.amqp.as_deref().expect("a world with a broker");
        let connection = Connection::connect(url, ConnectionProperties::default())
            .await
            .expect("the test RabbitMQ answers");
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        Self { channel, queue: world.queue.clone(), _connection: connection }
    }

    /// Publishes bytes to the work queue, with a `type` property or without.
    pub(crate) async fn publish(&self, kind: Option<&str>, body: &[u8]) {
        let properties = match kind {
            Some(kind) => BasicProperties::default().with_type(kind.into()),
            None => BasicProperties::default(),
        };
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let confirmation = self
            .channel
            .basic_publish("".into(), self.queue.as_str().into(), options, body, properties)
            .await
            .expect("the broker takes it")
            .await
            .expect("the broker answers");
        assert!(matches!(confirmation, Confirmation::Ack(None)), "{confirmation:?}");
    }

    /// Whether the work queue and the bulk queue hold no ready message.
    pub(crate) async fn is_empty(&self) -> bool {
        let mut ready = 0;
        for name in [self.queue.clone(), format!("{}.bulk", self.queue)] {
            let options = QueueDeclareOptions { passive: true, ..Default::default() };
            let queue = self
                .channel
                .queue_declare(name.as_str().into(), options, FieldTable::default())
                .await
                .expect("the queue exists");
            ready += queue.message_count();
        }
        ready == 0
    }

    /// Waits for messages in the failed queue and takes them.
    pub(crate) async fn failed(&self, count: usize) -> Vec<Failed> {
        self.failed_within(count, Duration::from_secs(40)).await
    }

    /// As [`Raw::failed`], with a limit of time.
    pub(crate) async fn failed_within(&self, count: usize, limit: Duration) -> Vec<Failed> {
        let queue = format!("{}.failed", self.queue);
        let mut consumer = self
            .channel
            .basic_consume(
                queue.as_str().into(),
                "test".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .expect("the failed queue exists");
        let mut failed = Vec::new();
        while failed.len() < count {
            let delivery = tokio::time::timeout(limit, consumer.next())
                .await
                .unwrap_or_else(|_| panic!("{} of {count} failed messages came", failed.len()))
                .expect("the consumer goes on")
                .expect("the channel lives");
            let headers = delivery.properties.headers().clone().unwrap_or_default();
            failed.push(Failed { headers });
        }
        failed
    }
}

impl Failed {
    /// A header as text; empty when it is missing.
    pub(crate) fn text(&self, name: &str) -> String {
        match self.headers.inner().get(name) {
            Some(AMQPValue::LongString(text)) => text.to_string(),
            Some(AMQPValue::ShortString(text)) => text.to_string(),
            Some(AMQPValue::LongLongInt(number)) => number.to_string(),
            Some(AMQPValue::LongInt(number)) => number.to_string(),
            Some(AMQPValue::LongUInt(number)) => number.to_string(),
            _ => String::new(),
        }
    }

    /// Bytes of all header names and texts.
    pub(crate) fn header_bytes(&self) -> usize {
        self.headers
            .inner()
            .keys()
            .map(|name| name.as_str().len() + self.text(name.as_str()).len())
            .sum()
    }
}
