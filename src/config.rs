//! Settings: their shape, defaults, origins and validation.
//!
//! Decides: which settings exist and which values are allowed. The only module that reads the
//! environment. Never does: act on a setting.
//!
//! Precedence: defaults < file < `CUPPING__SECTION__KEY` < flags (`--set`, `--data-dir` …).

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

mod catalogue;
mod layer;
mod load;
mod meaning;
mod pipeline;
mod problem;
mod schema;
mod secret;
mod show;
mod transport;
mod validate;

pub use catalogue::{
    CatalogueConfig, DimensionConfig, ExpansionConfig, IdType, JoinTable, Refresh, SimilarityTable,
    TextTable, Thousandths, ValueTable,
};
pub use load::{Loaded, Sources};
pub use meaning::{DatabaseTarget, Mode};
pub use pipeline::{PipelineConfig, RetryConfig, ShutdownConfig, TransactionConfig};
pub use problem::{ConfigErrors, ConfigProblem, Origin};
pub use transport::{AmqpConfig, QueueConfig, Topology, TransportConfig, UnknownType};

/// Every setting with its default and its meaning: `config/cupping.toml`.
pub const DEFAULT_TOML: &str = include_str!("../config/cupping.toml");

/// Every setting.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `postgres://…`, `sqlite:PATH`, or empty for `cupping.sqlite` in the data directory.
    #[serde(serialize_with = "secret::url")]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
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

/// `[admin]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
