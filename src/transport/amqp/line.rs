//! A consuming connection, from its opening to behind the last of its settlements.
//!
//! Decides: how it ends, so that no settlement is lost on the way. The protocol has no answer to
//! an acknowledgement. It may wait in two places: in a socket, so the farewell is the protocol's
//! own, whose answer says that all before it was read; and in the broker's channel, which holds
//! acknowledgements back while many are on their way to a quorum queue, and forgets them when it
//! is closed. So each queue is asked, through the same channel, for something that it answers in
//! order: to begin and to end a consumer. Never does: open a connection, or settle.

use super::topology::short;
use futures_util::StreamExt;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// One consuming connection and its channel.
pub(super) struct Line {
    connection: Connection,
    pub(super) channel: Channel,
    /// Those it consumes.
    queues: [String; 2],
    /// Deliveries handed out and not settled, and whatever else still uses the channel.
    users: TaskTracker,
    /// Longest wait for an answer to a close.
    limit: Duration,
}

/// What lives as long as a delivery: its slot, and the line, which must not close before.
pub(super) struct Held {
    pub(super) line: Arc<Line>,
    _slot: OwnedSemaphorePermit,
    _use: TaskTrackerToken,
}

impl Line {
    pub(super) fn new(
        connection: Connection,
        channel: Channel,
        queues: [&str; 2],
        limit: Duration,
    ) -> Self {
        let queues = queues.map(str::to_owned);
        Self { connection, channel, queues, users: TaskTracker::new(), limit }
    }

    /// For a delivery that is handed out.
    pub(super) fn hold(self: &Arc<Self>, slot: OwnedSemaphorePermit) -> Held {
        Held { line: Arc::clone(self), _slot: slot, _use: self.users.token() }
    }

    /// Keeps it open until dropped.
    pub(super) fn keep(&self) -> TaskTrackerToken {
        self.users.token()
    }

    pub(super) fn connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Waits until nothing uses it any more, then closes channel and connection; what was sent
    /// ahead and never handed out goes back to its queue with the channel.
    pub(super) async fn finish(&self) {
        self.users.close();
        self.users.wait().await;
        if self.channel.status().connected() {
            self.in_time("last settlements", self.flush()).await;
            let closing = self.channel.close(200, "done".into());
            self.in_time("closing the channel", closing).await;
        }
        if self.connected() {
            let closing = self.connection.close(200, "done".into());
            self.in_time("closing the connection", closing).await;
        }
    }

    /// Ends a consumer, and hands back what was sent ahead to it.
    pub(super) async fn cancel(&self, mut consumer: Consumer) -> lapin::Result<()> {
        self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
        let options = BasicNackOptions { requeue: true, multiple: false };
        while let Some(delivery) = consumer.next().await {
            delivery?.acker.nack(options).await?;
        }
        Ok(())
    }

    /// Returns once every settlement has reached its queue. At most one message a queue is sent
    /// to us by it, and goes back.
    async fn flush(&self) -> lapin::Result<()> {
        self.channel.basic_qos(1, BasicQosOptions::default()).await?;
        for queue in &self.queues {
            let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
            let name = short(queue);
            let consumer = self.channel.basic_consume(name, "".into(), options, arguments).await?;
            self.cancel(consumer).await?;
        }
        self.channel.basic_qos(1, BasicQosOptions::default()).await
    }

    async fn in_time(&self, step: &str, work: impl Future<Output = lapin::Result<()>>) {
        match tokio::time::timeout(self.limit, work).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, step, "the connection is gone already"),
            Err(_) => tracing::debug!(step, "no answer; the broker takes back what was not read"),
        }
    }
}
