//! How messages arrive, leave and are settled: the ports, and what crosses them.
//!
//! Decides: the life of a delivery: it is settled exactly once, or handed back when dropped.
//! Never does: decide *which* settlement (see `pipeline::disposition`), or touch a bean.

use crate::domain::bean::BeanId;
use crate::domain::message::MessageKind;
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

pub mod amqp;
pub mod codec;
pub mod error;
pub mod queue;
pub mod settlement;

pub use error::TransportError;
pub use settlement::{Settle, Settlement};

/// Which queue a message travels on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Somebody's bean changed just now.
    Live,
    /// Recompute and ripple traffic, served with what the live lane leaves, at least a tenth.
    Bulk,
}

impl Lane {
    /// The name in tables, headers and metric labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Bulk => "bulk",
        }
    }
}

/// A header value, kept as it came so that it can be republished unchanged.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum HeaderValue {
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Text.
    Text(String),
}

/// The headers of a message that are text or numbers, by name. (The AMQP transport keeps the
/// original table besides, and republishes that.)
pub type Headers = BTreeMap<String, HeaderValue>;

/// A message as it travelled: never re-encoded.
#[derive(Debug, Clone, Default)]
pub struct Envelope {
    /// The body, byte for byte.
    pub body: Bytes,
    /// The headers.
    pub headers: Headers,
    /// The AMQP `type` property, where the transport has one.
    pub type_property: Option<String>,
    /// The AMQP `content_type` property.
    pub content_type: Option<String>,
    /// When it was published, if the publisher said.
    pub published_at: Option<SystemTime>,
}

/// One message, ours until settled.
#[derive(Debug)]
pub struct Delivery {
    /// What arrived.
    pub envelope: Envelope,
    /// Where it came from.
    pub lane: Lane,
    /// Which attempt this is, from 1; a message handed back unstarted does not count.
    pub attempt: u32,
    /// How often a worker that held it ended without settling it: the crash guard.
    pub crash_count: u32,
    /// When an attempt at it first failed.
    pub first_failed_at: Option<SystemTime>,
    /// A name for logs: the delivery tag, or the row's id.
    pub tag: u64,
    /// How to settle it.
    pub settlement: Settlement,
}

/// What went wrong, as it is written to the headers of a retried or failed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A bounded class, such as `deadlock`, `bean_missing`, `undecodable`, `panic`.
    pub class: String,
    /// The SQLSTATE, where a database said one.
    pub sqlstate: Option<String>,
    /// The message, for people; cut to fit 4 KiB of headers in all.
    pub message: String,
    /// Attempts made, this one included.
    pub attempts: u32,
    /// When it first failed.
    pub first_failed_at: SystemTime,
    /// When it last failed: now.
    pub last_failed_at: SystemTime,
}

/// What to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The bean.
    pub bean: BeanId,
    /// What happened to it.
    pub kind: MessageKind,
    /// Which queue.
    pub lane: Lane,
    /// Sent because another bean changed.
    pub ripple: bool,
}

/// How many messages wait where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueDepth {
    /// Ready on the live lane.
    pub live: u64,
    /// Ready on the bulk lane.
    pub bulk: u64,
    /// Waiting for a retry delay to pass.
    pub retrying: u64,
    /// In the failed queue.
    pub failed: u64,
    /// Claimed and unsettled, where the transport can tell (table queues).
    pub claimed: Option<u64>,
}

/// A stream of deliveries, at most `prefetch` unsettled at a time.
#[async_trait]
pub trait Source: Send {
    /// The next delivery. Waits, reconnects and pauses by itself; returns `None` only after the
    /// stop token was cancelled (then nothing more is taken). An error is final: a
    /// misconfiguration that waiting does not mend.
    async fn next(&mut self) -> Result<Option<Delivery>, TransportError>;
}

/// Publishes messages; each is confirmed by the queue before the call returns.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Publishes all, in order, and waits for every confirmation.
    ///
    /// # Errors
    /// [`TransportError`] when one was not confirmed; those before it were. Publishing again is
    /// safe: a duplicate is merged or recomputes the same rows.
    async fn publish(&self, messages: &[Outgoing]) -> Result<(), TransportError>;
}

/// A queue, whole.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Declares what is configured to be declared (queues, exchange), or verifies it.
    ///
    /// # Errors
    /// [`TransportError`] when it cannot.
    async fn prepare(&self) -> Result<(), TransportError>;

    /// Starts consuming, until `stop` is cancelled.
    ///
    /// # Errors
    /// [`TransportError`] when consuming can never work as configured; an outage is waited out.
    async fn source(&self, stop: CancellationToken) -> Result<Box<dyn Source>, TransportError>;

    /// A publisher; clones share its connection.
    fn publisher(&self) -> Arc<dyn Publisher>;

    /// How many messages wait where.
    ///
    /// # Errors
    /// [`TransportError`] when the queue does not answer.
    async fn depth(&self) -> Result<QueueDepth, TransportError>;

    /// Whether the queue can be reached now: the readiness probe. Answers from state, at once.
    fn connected(&self) -> bool;

    /// Closes connections after the last settlement.
    async fn close(&self, grace: Duration);
}
