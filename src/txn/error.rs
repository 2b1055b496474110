//! Why a unit of work did not commit.
//!
//! Decides: the vocabulary, and which failures a caller may try again later. Never does: retry.

use super::breaker::BreakerOpen;
use crate::resilience::retryability::{Reason, Retryability};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// Why a unit of work did not commit.
///
/// ```
/// use cupping::resilience::retryability::Retryability;
/// use cupping::txn::TxnError;
/// use std::time::Duration;
///
/// /// What a web handler answers.
/// fn status(error: &TxnError) -> u16 {
///     match error {
///         TxnError::Body { .. } => 422,
///         TxnError::OutcomeUnknown { .. } => 500, // look before you try again
///         _ if matches!(error.retryability(), Retryability::Transient(_)) => 503,
///         _ => 500,
///     }
/// }
///
/// let error = TxnError::Timeout { name: "swap", after: Duration::from_secs(30) };
/// assert_eq!(status(&error), 503);
/// assert!(!error.is_pause() && error.code().is_none());
/// ```
///
/// # Hazards
/// [`TxnError::OutcomeUnknown`] alone does not say that nothing was written. Running that unit
/// again may do its work twice; see `docs/guides/why-not-retry-commit.md`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TxnError {
    /// The database failed in a way that another attempt at once would not mend.
    #[error("transaction {name} failed (attempt {attempts}): {source}")]
    Database {
        /// The transaction's name.
        name: &'static str,
        /// Attempts made.
        attempts: u32,
        /// Whether the caller may try again later.
        retryability: Retryability,
        /// What the database said.
        #[source]
        source: Arc<sqlx::Error>,
    },
    /// Every attempt (or all the time for another) was used up by failures of concurrency or of
    /// the connection.
    #[error("transaction {name} gave up after {attempts} attempts ({}): {source}", .reason.label())]
    Exhausted {
        /// The transaction's name.
        name: &'static str,
        /// Attempts made.
        attempts: u32,
        /// Why the last one failed.
        reason: Reason,
        /// What the database, or the body, said last.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// Another attempt was due, but the retries shared with others (see [`super::RetryBudget`])
    /// are used up: a storm of failures is under way, and retrying would feed it.
    #[error(
        "transaction {name} was not retried ({}): the retry budget is spent: {source}",
        .reason.label()
    )]
    BudgetSpent {
        /// The transaction's name.
        name: &'static str,
        /// Attempts made.
        attempts: u32,
        /// Why the last one failed.
        reason: Reason,
        /// What the database, or the body, said last.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The circuit breaker in front of the pool is open: the database was not called.
    #[error("transaction {name} was not started: {source}")]
    Refused {
        /// The transaction's name.
        name: &'static str,
        /// Which breaker, and when it is worth asking again.
        #[source]
        source: BreakerOpen,
    },
    /// A unit was started inside the body of another. It would take a second connection whose locks
    /// no plan orders with the first one's. Use the body's own transaction: [`super::Tx::scope`].
    #[error(
        "transaction {name} was started inside the body of transaction {outer}: use the scope of \
         its transaction instead"
    )]
    Nested {
        /// The transaction's name.
        name: &'static str,
        /// The one around it.
        outer: &'static str,
    },
    /// The gate lock (see [`super::GateLock`]) was not granted in time: structural work is under
    /// way. Pause and try again; nothing is wrong with the unit of work.
    #[error("transaction {name} was not let through the gate in time: {source}")]
    GateBusy {
        /// The transaction's name.
        name: &'static str,
        /// What the database said.
        #[source]
        source: Arc<sqlx::Error>,
    },
    /// The deadline passed before COMMIT was sent: it was not committed and will not be.
    #[error("transaction {name} took longer than {after:?} and was given up; nothing was written")]
    Timeout {
        /// The transaction's name.
        name: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// The connection was lost in COMMIT: it may or may not have happened. Never retried here.
    #[error("it is not known whether transaction {name} was committed: {reason}")]
    OutcomeUnknown {
        /// The transaction's name.
        name: &'static str,
        /// How the answer was lost.
        reason: String,
    },
    /// A statement failed, the body swallowed the error and asked to commit. Refused, because
    /// PostgreSQL would answer with a silent rollback. Mend the body: return the error.
    #[error("transaction {name} was not committed: its body swallowed this error: {first}")]
    Poisoned {
        /// The transaction's name.
        name: &'static str,
        /// The first error.
        first: String,
        /// Its code.
        code: Option<String>,
    },
    /// A lock was asked for out of order, which could deadlock. Mend the body.
    #[error("transaction {name}: {message}")]
    LockOrder {
        /// The transaction's name.
        name: &'static str,
        /// Which lock, and what is allowed.
        message: String,
    },
    /// The order in which the body takes locks contradicts that of a transaction seen before (or of
    /// itself), so that the two can deadlock, though they have not. Only with the feature
    /// `lockdep`. Mend one of them, as the report says.
    #[error("transaction {name} was rolled back by lockdep: {report}")]
    LockOrderInversion {
        /// The transaction's name.
        name: &'static str,
        /// Both transactions, their locks, the places where they ask for them, and what to do.
        report: String,
    },
    /// The body failed on its own account; rolled back.
    #[error("transaction {name} was rolled back by its body: {source}")]
    Body {
        /// The transaction's name.
        name: &'static str,
        /// The body's error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The body panicked; rolled back.
    #[error("transaction {name} was rolled back: its body panicked")]
    Panicked {
        /// The transaction's name.
        name: &'static str,
    },
}

impl TxnError {
    /// Whether the same unit of work may be tried again. Example: see [`TxnError`].
    #[must_use]
    pub fn retryability(&self) -> Retryability {
        match self {
            Self::Database { retryability, .. } => *retryability,
            Self::Exhausted { reason, .. } | Self::BudgetSpent { reason, .. } => {
                Retryability::Transient(*reason)
            }
            Self::Refused { source, .. } => source.retryability(),
            Self::GateBusy { .. } => Retryability::Transient(Reason::LockTimeout),
            Self::Timeout { .. } => Retryability::Transient(Reason::Timeout),
            Self::OutcomeUnknown { .. } => Retryability::OutcomeUnknown,
            Self::Poisoned { .. }
            | Self::LockOrder { .. }
            | Self::LockOrderInversion { .. }
            | Self::Nested { .. }
            | Self::Body { .. }
            | Self::Panicked { .. } => Retryability::Permanent,
        }
    }

    /// Whether work should pause and burn no attempt: the gate is held by structural work.
    /// Example: see [`TxnError`].
    #[must_use]
    pub fn is_pause(&self) -> bool {
        matches!(self, Self::GateBusy { .. })
    }

    /// The SQLSTATE or code the database gave, where it did. Example: see [`TxnError`].
    #[must_use]
    pub fn code(&self) -> Option<String> {
        match self {
            Self::Database { source, .. } | Self::GateBusy { source, .. } => code_of(source),
            Self::Exhausted { source, .. } | Self::BudgetSpent { source, .. } => {
                source.downcast_ref::<sqlx::Error>().and_then(code_of)
            }
            Self::Poisoned { code, .. } => code.clone(),
            _ => None,
        }
    }
}

pub(super) fn code_of(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|e| e.code()).map(std::borrow::Cow::into_owned)
}
