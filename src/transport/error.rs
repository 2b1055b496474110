//! What can go wrong with a queue.
//!
//! Decides: the vocabulary of transport failures. Never does: retry.

use crate::resilience::retryability::{Reason, Retryability};

/// A failure of a transport.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The queue's server cannot be reached, or went away; it is tried again.
    #[error("the queue at {address} cannot be reached: {message}")]
    Unreachable {
        /// Host and port, without credentials.
        address: String,
        /// What the client library said.
        message: String,
    },
    /// The server refuses what is configured (rights, mismatched queue arguments, bad URL).
    #[error("the queue refuses the configuration: {0}")]
    Misconfigured(String),
    /// An exchange or a queue is not there, and the settings say not to declare it.
    #[error("the queue is incomplete: {0}")]
    Missing(String),
    /// A publish was not confirmed: returned as unroutable, refused, or timed out.
    #[error("a message was not confirmed: {0}")]
    Unconfirmed(String),
    /// The table queue's database failed.
    #[error("the queue table failed: {message}")]
    Database {
        /// Whether it may be tried again.
        retryability: Retryability,
        /// What the database said.
        message: String,
    },
}

impl TransportError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn retryability(&self) -> Retryability {
        match self {
            Self::Unreachable { .. } => Retryability::Transient(Reason::Connection),
            Self::Unconfirmed(_) => Retryability::OutcomeUnknown,
            Self::Database { retryability, .. } => *retryability,
            Self::Misconfigured(_) | Self::Missing(_) => Retryability::Permanent,
        }
    }

    /// Whether what is configured does not fit the server, so that waiting mends nothing.
    #[must_use]
    pub fn is_misfit(&self) -> bool {
        matches!(self, Self::Misconfigured(_) | Self::Missing(_))
    }
}
