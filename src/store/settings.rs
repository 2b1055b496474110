//! What a store must be told.
//!
//! Decides: the settings both databases share. Never does: read configuration files.

use crate::config::{CatalogueConfig, Guarded};
use crate::txn::TxnOptions;
use std::time::Duration;

/// What a store must be told when it opens.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// The mapping.
    pub catalogue: CatalogueConfig,
    /// How the write transaction is run.
    pub transaction: TxnOptions,
    /// Most connections in the pool.
    pub max_connections: u32,
    /// Longest wait for a connection of the pool.
    pub acquire_timeout: Duration,
    /// Whether the graph lock is taken (PostgreSQL).
    pub guarded: Guarded,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            catalogue: CatalogueConfig::default(),
            transaction: TxnOptions::default(),
            max_connections: 10,
            acquire_timeout: Duration::from_secs(10),
            guarded: Guarded::Auto,
        }
    }
}
