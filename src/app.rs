//! The parts, assembled: which store, which queue, one index; the service and its surroundings.
//!
//! Decides: what a mode is made of. Never does: score, settle or parse arguments.

use crate::config::{Config, ConfigErrors};
use crate::index::{CatalogueIndex, IndexSnapshot, SimilarityIndex};
use crate::pipeline::freshness::Freshener;
use crate::pipeline::{PipelineError, PipelineParts, PipelineSettings, RunLimits};
use crate::store::{Store, StoreError};
use crate::transport::codec::CodecSettings;
use crate::transport::{Transport, TransportError};
use std::sync::Arc;

pub mod check;
mod database;
pub mod import;
pub mod lookup;
mod queue;
pub mod recompute;
pub mod runtime;
pub mod service;
pub mod signals;
mod upkeep;

pub use database::{Database, Granted};
pub use queue::{open as open_transport, wait_until_empty};

/// Why the parts could not be put together, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The settings do not make sense together.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The database failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The queue failed.
    #[error("{0}")]
    Transport(#[from] TransportError),
    /// The actors failed.
    #[error("{0}")]
    Pipeline(#[from] PipelineError),
    /// The data directory cannot be created.
    #[error("the data directory {path} cannot be created: {source}")]
    DataDirectory {
        /// The directory.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The operating system refuses threads or signal handlers.
    #[error("the runtime cannot start: {0}")]
    Runtime(#[source] std::io::Error),
    /// A bean changes faster than its list can be computed.
    #[error("bean {bean:?} changes faster than its list is computed")]
    Restless {
        /// One such bean.
        bean: Option<String>,
    },
}

/// Everything a worker consists of.
pub struct App {
    /// The database.
    pub database: Database,
    /// Where beans and lists live.
    pub store: Arc<dyn Store>,
    /// The queue.
    pub transport: Arc<dyn Transport>,
    /// The catalogue in memory; empty until something loads it.
    pub index: Arc<dyn SimilarityIndex>,
}

impl App {
    /// Opens the database and the queue that the settings name. Embedded mode creates and migrates
    /// its database; PostgreSQL must have been migrated.
    ///
    /// # Errors
    /// [`AppError`] when one of them cannot be opened.
    pub async fn assemble(config: &Config) -> Result<Self, AppError> {
        let database = Database::open(config).await?;
        let transport = open_transport(config, Some(&database)).await?;
        Ok(Self { store: database.store(), transport, index: empty_index(config), database })
    }
}

/// An index with the configured score and no beans.
fn empty_index(config: &Config) -> Arc<dyn SimilarityIndex> {
    Arc::new(CatalogueIndex::new(Arc::new(config.score_settings())))
}

/// Keeps an index current with a store.
#[must_use]
pub fn freshener(config: &Config, store: &Arc<dyn Store>) -> Arc<Freshener> {
    let catalogue: Arc<dyn crate::store::Catalogue> = store.clone();
    let settings = &config.catalogue;
    Arc::new(
        Freshener::new(catalogue, empty_index(config))
            .configured(settings.refresh, settings.reload_interval),
    )
}

/// What the pipeline needs, as the settings say.
#[must_use]
pub fn pipeline_parts(config: &Config, app: &App, limits: RunLimits) -> PipelineParts {
    PipelineParts {
        store: Arc::clone(&app.store),
        transport: Arc::clone(&app.transport),
        index: Arc::clone(&app.index),
        settings: PipelineSettings {
            pipeline: config.pipeline.clone(),
            ladder: config.ladder(),
            codec: CodecSettings {
                accepted_types: config.transport.accepted_types.clone(),
                ..CodecSettings::default()
            },
            unknown_type: config.transport.unknown_type,
            grace: config.shutdown.grace,
            max_rows: config.transaction.max_rows.get(),
            refresh: config.catalogue.refresh,
            reload_interval: config.catalogue.reload_interval,
            limits,
        },
    }
}

/// Reads the catalogue into memory.
///
/// # Errors
/// [`AppError`] when the database cannot be read.
pub async fn load_index(
    config: &Config,
    store: &Arc<dyn Store>,
) -> Result<Arc<dyn IndexSnapshot>, AppError> {
    let (snapshot, _) = freshener(config, store).refresh().await?;
    Ok(snapshot)
}
