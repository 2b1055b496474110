//! A worker on a queue under test, and the messages it gets.
//!
//! Decides: how long a test waits before it fails. Never does: assert a behaviour.

use crate::support::transports::TransportFixture;
use cupping::domain::bean::BeanId;
use cupping::domain::message::MessageKind;
use cupping::transport::{Delivery, Failure, Lane, Outgoing, QueueDepth, Source, Transport};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// Far longer than anything here takes; a queue that stands still fails instead of hanging.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(PATIENCE, future).await;
    result.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

/// One worker on the queue.
pub(super) struct Worker {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) source: Box<dyn Source>,
    pub(super) stop: CancellationToken,
}

impl Worker {
    pub(super) async fn start(fixture: &dyn TransportFixture, prefetch: usize) -> Self {
        let transport = fixture.open(prefetch).await;
        transport.prepare().await.expect("the queue is there");
        let stop = CancellationToken::new();
        let source = transport.source(stop.clone()).await.expect("the queue can be consumed");
        Self { transport, source, stop }
    }

    pub(super) async fn next(&mut self) -> Delivery {
        let next = within("the next delivery", self.source.next()).await;
        next.expect("the queue works").expect("not stopped")
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        drop(self.source);
        self.transport.close(PATIENCE).await;
    }
}

pub(super) fn outgoing(bean: &str, lane: Lane) -> Outgoing {
    let bean = BeanId::parse(bean).expect("a bean id");
    Outgoing { bean, kind: MessageKind::BeanUpdated, lane, ripple: false }
}

pub(super) async fn publish(transport: &dyn Transport, lane: Lane, prefix: &str, count: usize) {
    let messages: Vec<Outgoing> =
        (0..count).map(|number| outgoing(&format!("{prefix}{number}"), lane)).collect();
    transport.publisher().publish(&messages).await.expect("confirmed");
}

/// The bean a delivery is about, as its publisher wrote it.
pub(super) fn bean(delivery: &Delivery) -> String {
    let body: serde_json::Value = serde_json::from_slice(&delivery.envelope.body).expect("JSON");
    body["coffeeBeanId"].as_str().expect("an id").to_owned()
}

pub(super) fn failure(message: &str, attempts: u32) -> Failure {
    Failure {
        class: "deadlock".into(),
        sqlstate: Some("40P01".into()),
        message: message.into(),
        attempts,
        first_failed_at: SystemTime::now(),
        last_failed_at: SystemTime::now(),
    }
}

pub(super) async fn is_empty(transport: &dyn Transport) -> bool {
    let depth = transport.depth().await.expect("the queue answers");
    let QueueDepth { live, bulk, retrying, claimed, .. } = depth;
    live + bulk + retrying + claimed.unwrap_or(0) == 0
}
