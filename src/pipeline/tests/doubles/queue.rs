//! A queue in memory; retries come at once.

use super::bean;
use crate::transport::settlement::Settled;
use crate::transport::*;
use crate::txn::ticket::Ticket;
use async_trait::async_trait;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline::tests) enum Outcome {
    Acked,
    Failed,
}

#[derive(Debug, Clone)]
struct Row {
    body: Vec<u8>,
    kind: Option<String>,
    attempt: u32,
    crashes: u32,
}

#[derive(Default)]
struct Rows {
    ready: VecDeque<Row>,
    settled: Vec<(Outcome, Row, String)>,
    published: usize,
    highest: u32,
}

/// A queue; retries come at once.
#[derive(Clone)]
pub(in crate::pipeline::tests) struct MemoryQueue {
    rows: Arc<Mutex<Rows>>,
    changed: watch::Sender<u64>,
}

impl Default for MemoryQueue {
    fn default() -> Self {
        Self { rows: Arc::default(), changed: watch::Sender::new(0) }
    }
}

impl MemoryQueue {
    pub(in crate::pipeline::tests) fn publish(&self, n: usize) {
        self.publish_bytes(format!(r#"{{"coffeeBeanId":"{}"}}"#, bean(n)).as_bytes(), None);
    }

    pub(in crate::pipeline::tests) fn publish_bytes(&self, body: &[u8], kind: Option<&str>) {
        let kind = kind.map(Into::into);
        self.add(Row { body: body.to_vec(), kind, attempt: 1, crashes: 0 });
    }

    /// A message that was held by workers which crashed.
    pub(in crate::pipeline::tests) fn publish_suspect(&self, n: usize, crashes: u32) {
        let body = format!(r#"{{"coffeeBeanId":"{}"}}"#, bean(n)).into_bytes();
        self.add(Row { body, kind: None, attempt: 1, crashes });
    }

    fn add(&self, row: Row) {
        self.change(|rows| {
            rows.ready.push_back(row);
            rows.published += 1;
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut Rows) -> T) -> T {
        let result = change(&mut self.rows.lock().expect("no panic inside"));
        self.changed.send_modify(|n| *n += 1);
        result
    }

    fn look<T>(&self, look: impl FnOnce(&Rows) -> T) -> T {
        look(&self.rows.lock().expect("no panic inside"))
    }

    /// Counts this many messages as all.
    pub(in crate::pipeline::tests) fn settled_enough(&self, messages: usize) {
        self.change(|rows| rows.published = messages);
    }

    pub(in crate::pipeline::tests) async fn all_settled(&self) {
        let mut changed = self.changed.subscribe();
        while !self.look(|rows| rows.settled.len() >= rows.published) {
            changed.changed().await.expect("self holds the sender");
        }
    }

    pub(in crate::pipeline::tests) fn count(&self, outcome: Outcome) -> usize {
        self.look(|rows| rows.settled.iter().filter(|(o, ..)| *o == outcome).count())
    }

    pub(in crate::pipeline::tests) fn ready(&self) -> usize {
        self.look(|rows| rows.ready.len())
    }

    pub(in crate::pipeline::tests) fn highest_attempt(&self) -> u32 {
        self.look(|rows| rows.highest)
    }

    /// Bean and failure class of each failed message.
    pub(in crate::pipeline::tests) fn failed(&self) -> Vec<(String, String)> {
        let of = |(outcome, row, class): &(Outcome, Row, String)| {
            let body: serde_json::Value = serde_json::from_slice(&row.body).unwrap_or_default();
            let bean = body["coffeeBeanId"].as_str().unwrap_or_default().to_owned();
            (*outcome == Outcome::Failed).then(|| (bean, class.clone()))
        };
        self.look(|rows| rows.settled.iter().filter_map(of).collect())
    }
}

struct MemorySource(MemoryQueue, CancellationToken);

#[async_trait]
impl Source for MemorySource {
    async fn next(&mut self) -> Result<Option<Delivery>, TransportError> {
        let mut changed = self.0.changed.subscribe();
        loop {
            if self.1.is_cancelled() {
                return Ok(None);
            }
            if let Some(row) = self.0.change_quietly(|rows| rows.ready.pop_front()) {
                return Ok(Some(self.0.delivery(row)));
            }
            tokio::select! {
                () = self.1.cancelled() => {}
                changed = changed.changed() => changed.expect("the queue holds the sender"),
            }
        }
    }
}

impl MemoryQueue {
    fn change_quietly<T>(&self, change: impl FnOnce(&mut Rows) -> T) -> T {
        change(&mut self.rows.lock().expect("no panic inside"))
    }

    fn delivery(&self, row: Row) -> Delivery {
        self.change_quietly(|rows| rows.highest = rows.highest.max(row.attempt));
        Delivery {
            envelope: Envelope {
                body: row.body.clone().into(),
                type_property: row.kind.clone(),
                ..Envelope::default()
            },
            lane: Lane::Live,
            attempt: row.attempt,
            crash_count: row.crashes,
            first_failed_at: None,
            tag: 0,
            settlement: Settlement::new(Box::new(MemorySettle(self.clone(), row))),
        }
    }
}

struct MemorySettle(MemoryQueue, Row);

impl MemorySettle {
    fn settled(self, outcome: Outcome, class: String) -> Result<Settled, TransportError> {
        let Self(queue, row) = self;
        queue.change(|rows| rows.settled.push((outcome, row, class)));
        Ok(Settled::Done)
    }

    fn back(self, attempts: u32) -> Result<Settled, TransportError> {
        let Self(queue, mut row) = self;
        row.attempt += attempts;
        queue.change(|rows| rows.ready.push_back(row));
        Ok(Settled::Done)
    }
}

#[async_trait]
impl Settle for MemorySettle {
    async fn ack(self: Box<Self>) -> Result<Settled, TransportError> {
        self.settled(Outcome::Acked, String::new())
    }
    async fn retry(
        self: Box<Self>,
        _: u32,
        _: Duration,
        _: Failure,
    ) -> Result<Settled, TransportError> {
        self.back(1)
    }
    async fn dead_letter(self: Box<Self>, failure: Failure) -> Result<Settled, TransportError> {
        self.settled(Outcome::Failed, failure.class)
    }
    async fn hand_back(self: Box<Self>) -> Result<Settled, TransportError> {
        self.back(0)
    }
    async fn republish(mut self: Box<Self>) -> Result<Settled, TransportError> {
        self.1.crashes = 0;
        self.back(0)
    }
    fn ticket(&self) -> Option<Ticket> {
        None
    }
    fn committed(self: Box<Self>) {}
    fn abandon(self: Box<Self>) {
        self.back(0).expect("always taken");
    }
}

#[async_trait]
impl Transport for MemoryQueue {
    async fn prepare(&self) -> Result<(), TransportError> {
        Ok(())
    }
    async fn source(&self, stop: CancellationToken) -> Result<Box<dyn Source>, TransportError> {
        Ok(Box::new(MemorySource(self.clone(), stop)))
    }
    fn publisher(&self) -> Arc<dyn Publisher> {
        unreachable!("the pipeline publishes nothing yet")
    }
    async fn depth(&self) -> Result<QueueDepth, TransportError> {
        Ok(QueueDepth::default())
    }
    fn connected(&self) -> bool {
        true
    }
    async fn close(&self, _: Duration) {}
}
