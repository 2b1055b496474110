//! What can go wrong with a store.
//!
//! Decides: the vocabulary of store failures. Never does: retry.

use crate::resilience::retryability::{Reason, Retryability};
use crate::txn::TxnError;

/// A failure of a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A transaction failed for good, its own retries included.
    #[error(transparent)]
    Transaction(#[from] TxnError),
    /// The server did not take a connection in time.
    #[error("the database at {address} cannot be reached: {message}")]
    Unreachable {
        /// Host, port and database, without credentials.
        address: String,
        /// What the last attempt said.
        message: String,
    },
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
            Self::Unreachable { .. } => Retryability::Transient(Reason::Connection),
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

    /// Whether the database is there but does not fit the settings, so that waiting mends nothing:
    /// no such database, user, table or column, or a right that is missing.
    #[must_use]
    pub fn is_misfit(&self) -> bool {
        const MISFITS: [&str; 7] = ["28000", "28P01", "3D000", "3F000", "42501", "42703", "42P01"];
        matches!(self, Self::Schema(_))
            || self.code().is_some_and(|code| MISFITS.contains(&code.as_str()))
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
