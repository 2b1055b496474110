//! `[transport]`: the queue.
//!
//! Decides: shape and defaults. Never does: connect.

use super::secret;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// `[transport]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransportConfig {
    /// `amqp://…` or `amqps://…`; empty for a queue in the database.
    #[serde(serialize_with = "secret::url")]
    pub url: SecretString,
    /// What to do with a kind of message that is not known.
    pub unknown_type: UnknownType,
    /// More names that mean `CalculateSimilarity`.
    pub accepted_types: Vec<String>,
    /// Messages held unsettled at most; 0 for `max(2 × pipeline.concurrency, 256)`.
    pub prefetch: u16,
    /// The broker.
    pub amqp: AmqpConfig,
    /// The queue in a table.
    pub queue: QueueConfig,
}

/// `transport.unknown_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownType {
    /// Move it to the failed queue.
    #[default]
    DeadLetter,
    /// Acknowledge and count it.
    Ignore,
}

/// `[transport.amqp]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AmqpConfig {
    /// Whether to declare exchange and queues, verify them, or leave them alone.
    pub topology: Topology,
    /// The exchange publishers send to (direct, durable); routing key = the queue's name.
    pub exchange: String,
    /// The work queue; also the stem of the names below when they are empty.
    pub queue: String,
    /// The bulk queue; empty for `<queue>.bulk`.
    pub bulk_queue: String,
    /// The failed queue; empty for `<queue>.failed`.
    pub failed_queue: String,
    /// Prefix of the retry queues, followed by the milliseconds; empty for `<queue>.retry.`.
    pub retry_queue_prefix: String,
    /// `x-delivery-limit` of the work queues: the crash guard.
    pub delivery_limit: NonZeroU32,
    /// `x-single-active-consumer` of the work queue.
    pub single_active_consumer: bool,
    /// Heartbeat interval.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// Longest wait for a connection, a channel or a declaration.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Longest wait for a publisher confirm.
    #[serde(with = "humantime_serde")]
    pub confirm_timeout: Duration,
    /// Longest pause between two attempts to reconnect.
    #[serde(with = "humantime_serde")]
    pub reconnect_max_delay: Duration,
    /// PEM file with the certificate authority of the broker; unset for the system's.
    pub ca_file: Option<PathBuf>,
    /// PKCS#12 file with our client certificate.
    pub client_identity_file: Option<PathBuf>,
    /// Password of that file.
    #[serde(serialize_with = "secret::password")]
    pub client_identity_password: Option<SecretString>,
}

impl Default for AmqpConfig {
    fn default() -> Self {
        Self {
            topology: Topology::Declare,
            exchange: "cupping".into(),
            queue: "similarity_calculation".into(),
            bulk_queue: String::new(),
            failed_queue: String::new(),
            retry_queue_prefix: String::new(),
            delivery_limit: NonZeroU32::new(20).expect("twenty is not zero"),
            single_active_consumer: false,
            heartbeat: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            confirm_timeout: Duration::from_secs(10),
            reconnect_max_delay: Duration::from_secs(10),
            ca_file: None,
            client_identity_file: None,
            client_identity_password: None,
        }
    }
}

/// `transport.amqp.topology`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topology {
    /// Declare what is missing.
    #[default]
    Declare,
    /// Verify that it is there; declare nothing.
    Passive,
    /// Neither.
    Off,
}

/// `[transport.queue]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// How long a claim holds without a sign of life of its worker (it renews it in time).
    #[serde(with = "humantime_serde")]
    pub visibility_timeout: Duration,
    /// Longest pause between two looks at an empty queue.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
    /// How often a worker may end while holding a message before it fails.
    pub delivery_limit: NonZeroU32,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            visibility_timeout: Duration::from_secs(60),
            poll_interval: Duration::from_millis(500),
            delivery_limit: NonZeroU32::new(20).expect("twenty is not zero"),
        }
    }
}
