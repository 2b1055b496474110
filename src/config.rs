//! Settings: their shape, defaults, origins and validation.
//!
//! Decides: which settings exist and which values are allowed. The only module that reads the
//! environment. Never does: act on a setting.
//!
//! Precedence: defaults < file < `CUPPING__SECTION__KEY` < flags (`--set`, `--data-dir` …).

use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

mod catalogue;

pub use catalogue::{
    CatalogueConfig, DimensionConfig, ExpansionConfig, IdType, JoinTable, Refresh, SimilarityTable,
    TextTable, Thousandths, ValueTable,
};

/// Every setting.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the embedded database lives.
    pub data: DataConfig,
    /// The database of the catalogue and the lists.
    pub database: DatabaseConfig,
    /// The tables and dimensions of the catalogue.
    pub catalogue: CatalogueConfig,
    /// The score.
    pub score: ScoreConfig,
    /// The queue.
    pub transport: TransportConfig,
    /// The retry ladder of messages.
    pub retry: RetryConfig,
    /// The actors.
    pub pipeline: PipelineConfig,
    /// The write transaction.
    pub transaction: TransactionConfig,
    /// Shutting down.
    pub shutdown: ShutdownConfig,
    /// The admin server.
    pub admin: AdminConfig,
    /// Logging.
    pub log: LogConfig,
}

/// `[data]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Directory of the embedded database; created when missing.
    pub dir: PathBuf,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self { dir: "cupping-data".into() }
    }
}

/// `[database]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `postgres://…`, `sqlite:PATH`, or empty for `cupping.sqlite` in the data directory.
    pub url: SecretString,
    /// Most connections in the pool.
    pub max_connections: NonZeroU32,
    /// Longest wait for a connection of the pool.
    #[serde(with = "humantime_serde")]
    pub acquire_timeout: Duration,
    /// Whether the similarity table has cascading foreign keys (the graph lock is then taken).
    pub guarded: Guarded,
    /// How long change-log rows are kept.
    #[serde(with = "humantime_serde")]
    pub log_retention: Duration,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: SecretString::from(String::new()),
            max_connections: NonZeroU32::new(10).expect("ten is not zero"),
            acquire_timeout: Duration::from_secs(10),
            guarded: Guarded::Auto,
            log_retention: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// `database.guarded`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarded {
    /// Look at the similarity table's foreign keys at start.
    #[default]
    Auto,
    /// Always take the graph lock.
    On,
    /// Never take it.
    Off,
}

/// `[score]`. Weights, priors and expansions stand with their dimension in `[catalogue]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScoreConfig {
    /// How many similar beans a list holds (K).
    pub list_length: NonZeroUsize,
    /// Lowest score that is stored, parts per million.
    pub minimum_ppm: u32,
    /// Phrases placed on the flavour wheel, besides the built-in ones: `"phrase" = "path.of.node"`.
    pub aliases: BTreeMap<String, String>,
}

impl Default for ScoreConfig {
    fn default() -> Self {
        Self {
            list_length: NonZeroUsize::new(20).expect("twenty is not zero"),
            minimum_ppm: 1,
            aliases: BTreeMap::new(),
        }
    }
}

/// `[transport]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransportConfig {
    /// `amqp://…` or `amqps://…`; empty for a queue in the database.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownType {
    /// Move it to the failed queue.
    #[default]
    DeadLetter,
    /// Acknowledge and count it.
    Ignore,
}

/// `[transport.amqp]`.
#[derive(Debug, Clone, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
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
#[derive(Debug, Clone, Deserialize)]
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

/// `[retry]`: the ladder of messages.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// Retries after the first attempt.
    pub max_retries: u32,
    /// Delay before the first retry.
    #[serde(with = "humantime_serde")]
    pub delay: Duration,
    /// Factor from one delay to the next.
    pub multiplier: f64,
    /// Longest delay.
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
    /// Share by which each delay varies, 0 to 1.
    pub jitter: f64,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            max_retries: 5,
            delay: Duration::from_millis(500),
            multiplier: 2.0,
            max_delay: Duration::from_secs(10),
            jitter: 0.1,
        }
    }
}

/// `[pipeline]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PipelineConfig {
    /// Beans started and not yet settled, at most.
    pub concurrency: NonZeroUsize,
    /// Beans scored together and written in one transaction, at most.
    pub batch: NonZeroUsize,
    /// Batches under way at once; one is enough for SQLite, which has one writer.
    pub workers: NonZeroUsize,
    /// Threads that score; 0 for as many as the machine has.
    pub scoring_threads: usize,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        Self {
            concurrency: NonZeroUsize::new(256).expect("not zero"),
            batch: NonZeroUsize::new(64).expect("not zero"),
            workers: NonZeroUsize::new(4).expect("not zero"),
            scoring_threads: 0,
        }
    }
}

/// `[transaction]`: the write transaction.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransactionConfig {
    /// Attempts in all.
    pub attempts: NonZeroU32,
    /// Upper bound of the first pause between attempts (full jitter).
    #[serde(with = "humantime_serde")]
    pub base_delay: Duration,
    /// Factor from one upper bound to the next.
    pub multiplier: f64,
    /// Longest wait for a lock; above the server's `deadlock_timeout`.
    #[serde(with = "humantime_serde")]
    pub lock_timeout: Duration,
    /// Longest statement.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
    /// Longest unit of work, all attempts included: the client's own deadline.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// Rows of one transaction, at most; a batch with more is split.
    pub max_rows: NonZeroUsize,
}

impl Default for TransactionConfig {
    fn default() -> Self {
        Self {
            attempts: NonZeroU32::new(3).expect("three is not zero"),
            base_delay: Duration::from_millis(100),
            multiplier: 2.0,
            lock_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
            max_rows: NonZeroUsize::new(10_000).expect("not zero"),
        }
    }
}

/// `[shutdown]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// How long what runs may take to finish.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { grace: Duration::from_secs(20) }
    }
}

/// `[admin]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Whether to serve `/metrics`, `/livez`, `/readyz`.
    pub enabled: bool,
    /// Address and port.
    pub listen: SocketAddr,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { enabled: true, listen: SocketAddr::from(([127, 0, 0, 1], 9464)) }
    }
}

/// `[log]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// A level (`info`) or a filter (`info,cupping::txn=debug`).
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Auto }
    }
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Pretty on a terminal, else JSON.
    #[default]
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}
