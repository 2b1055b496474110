//! Owned by the transactions track.

use crate::resilience::retryability::Retryability;

/// Why a unit of work did not commit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TxnError {
    /// The database failed.
    #[error("{0}")]
    Database(#[source] sqlx::Error),
}

impl TxnError {
    /// Whether the same unit of work may be tried again.
    #[must_use]
    pub fn retryability(&self) -> Retryability {
        Retryability::Permanent
    }

    /// The SQLSTATE or code the database gave, where it did.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        None
    }
}
