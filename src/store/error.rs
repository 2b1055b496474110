//! What can go wrong with a store.
//!
//! Decides: the vocabulary of store failures. Never does: retry.

use crate::resilience::retryability::Retryability;
use crate::txn::TxnError;

/// A failure of a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A transaction failed for good, its own retries included.
    #[error(transparent)]
    Transaction(#[from] TxnError),
    /// A plain read failed.
    #[error("{doing}: {source}")]
    Query {
        /// What was being read.
        doing: &'static str,
        /// Whether it may be tried again.
        retryability: Retryability,
        /// What sqlx said.
        #[source]
        source: sqlx::Error,
    },
    /// The catalogue holds something that cannot be read.
    #[error("the catalogue holds {what}: {message}")]
    Data {
        /// Which table, column or bean.
        what: String,
        /// What is wrong with it and what to do.
        message: String,
    },
    /// An id cannot exist in this catalogue.
    #[error("bean id {id:?} is impossible here: {message}")]
    ImpossibleId {
        /// The id.
        id: String,
        /// What is allowed.
        message: String,
    },
    /// The schema does not fit the mapping, or has not been migrated.
    #[error("{0}")]
    Schema(String),
}

impl StoreError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn retryability(&self) -> Retryability {
        match self {
            Self::Transaction(error) => error.retryability(),
            Self::Query { retryability, .. } => *retryability,
            Self::Data { .. } | Self::ImpossibleId { .. } | Self::Schema(_) => {
                Retryability::Permanent
            }
        }
    }

    /// Whether work should pause and be taken up again without counting an attempt: the database
    /// is out of reach, or beans are being deleted under the graph lock.
    #[must_use]
    pub fn is_pause(&self) -> bool {
        matches!(self, Self::Transaction(error) if error.is_pause())
            || self.retryability().is_outage()
    }

    /// The SQLSTATE or code the database gave, where it did.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        let database = match self {
            Self::Transaction(error) => return error.code(),
            Self::Query { source, .. } => source.as_database_error(),
            _ => None,
        };
        database.and_then(|e| e.code()).map(std::borrow::Cow::into_owned)
    }
}
