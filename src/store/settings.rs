//! What a store needs to know: the mapping, the transaction, the pool.
//!
//! Decides: how configuration becomes options of a store. Never does: read a file or a variable.

use crate::config::{CatalogueConfig, Config, Guarded, TransactionConfig};
use crate::txn::TxnOptions;
use std::time::Duration;

/// What a store needs to know.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// The tables and dimensions of the catalogue.
    pub catalogue: CatalogueConfig,
    /// The write transaction; a read takes its timeouts too.
    pub transaction: TxnOptions,
    /// Most connections in the pool (on SQLite: of readers; there is one writer besides).
    pub max_connections: u32,
    /// Longest wait for a connection of the pool.
    pub acquire_timeout: Duration,
    /// Whether the graph lock is taken.
    pub guarded: Guarded,
}

impl StoreSettings {
    /// From the service's configuration.
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        Self {
            catalogue: config.catalogue.clone(),
            transaction: transaction_options(&config.transaction),
            max_connections: config.database.max_connections.get(),
            acquire_timeout: config.database.acquire_timeout,
            guarded: config.database.guarded,
        }
    }

    /// Options for reading from one snapshot, with the timeouts of the write transaction.
    #[must_use]
    pub fn snapshot_read(&self) -> TxnOptions {
        let snapshot = TxnOptions::snapshot_read();
        TxnOptions {
            isolation: snapshot.isolation,
            read_only: snapshot.read_only,
            ..self.transaction.clone()
        }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self::from_config(&Config::default())
    }
}

fn transaction_options(config: &TransactionConfig) -> TxnOptions {
    TxnOptions {
        attempts: config.attempts.get(),
        base_delay: config.base_delay,
        multiplier: config.multiplier,
        lock_timeout: config.lock_timeout,
        statement_timeout: config.statement_timeout,
        deadline: config.deadline,
        // The pipeline runs a bean again rather than ask what became of its last write.
        resolve_commit: false,
        ..TxnOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_defaults_are_the_toolkit_s_own() {
        let own = TxnOptions { resolve_commit: false, ..TxnOptions::default() };
        assert_eq!(StoreSettings::default().transaction, own);
        assert!(StoreSettings::default().snapshot_read().read_only);
    }
}
