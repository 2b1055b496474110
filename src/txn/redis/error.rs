//! How Redis, the lock and the idempotency records fail.
//!
//! Decides: the vocabulary, what each code of Redis means for a retry. Never does: retry.

use super::super::breaker::{BreakerOpen, CallError};
use crate::resilience::retryability::{Reason, Retryability};
use redis::{ErrorKind, RedisError, ServerErrorKind};
use std::error::Error;
use std::time::Duration;

/// Why Redis did not do what it was asked.
///
/// ```
/// use cupping::txn::redis::{LinkError, RedisLink, RedisSettings};
///
/// let wrong = RedisLink::new("http://example.org", RedisSettings::default());
/// assert!(matches!(wrong, Err(LinkError::Url { .. })));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The URL cannot be read. Mend it; nothing was sent.
    #[error("the URL of Redis cannot be used: {source}")]
    Url {
        /// What is wrong with it.
        #[source]
        source: RedisError,
    },
    /// The circuit breaker is open: nothing was sent.
    #[error(transparent)]
    Open(#[from] BreakerOpen),
    /// No answer in time: the command may or may not have been executed.
    #[error("Redis gave no answer within {after:?}; the command may have been executed")]
    NoAnswer {
        /// How long was waited.
        after: Duration,
    },
    /// No connection, or it broke: the command may or may not have been executed.
    #[error("Redis is out of reach: {source}")]
    Unreachable {
        /// What the connection said.
        #[source]
        source: RedisError,
    },
    /// Redis is there and cannot serve now: loading, failing over, out of memory.
    #[error("Redis cannot serve now, try again later: {source}")]
    Busy {
        /// What it said.
        #[source]
        source: RedisError,
    },
    /// Redis refused for good: rights, a wrong type of key, scripts not allowed.
    #[error("Redis refused: {source}")]
    Refused {
        /// What it said.
        #[source]
        source: RedisError,
    },
}

impl LinkError {
    /// By kind and code, never by text.
    pub(super) fn of(source: RedisError) -> Self {
        use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly, TryAgain};
        match source.kind() {
            ErrorKind::Io | ErrorKind::Parse => Self::Unreachable { source },
            ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly | TryAgain) => {
                Self::Busy { source }
            }
            _ if matches!(source.code(), Some("OOM" | "MISCONF" | "NOREPLICAS" | "BUSY")) => {
                Self::Busy { source }
            }
            _ => Self::Refused { source },
        }
    }

    /// Whether the same call may be made again. An outage pauses; a refusal is for good.
    ///
    /// ```
    /// use cupping::txn::redis::LinkError;
    ///
    /// let error = LinkError::NoAnswer { after: std::time::Duration::from_secs(1) };
    /// assert!(error.retryability().is_outage());
    /// ```
    #[must_use]
    pub fn retryability(&self) -> Retryability {
        match self {
            Self::Open(open) => open.retryability(),
            Self::NoAnswer { .. } | Self::Unreachable { .. } => {
                Retryability::Transient(Reason::Connection)
            }
            Self::Busy { .. } => Retryability::Transient(Reason::Overload),
            Self::Url { .. } | Self::Refused { .. } => Retryability::Permanent,
        }
    }
}

impl From<CallError<LinkError>> for LinkError {
    fn from(error: CallError<LinkError>) -> Self {
        match error {
            CallError::Open(open) => Self::Open(open),
            CallError::Failed(error) => error,
        }
    }
}

/// Why a lock was not granted, or is not held.
///
/// ```no_run
/// # use cupping::txn::redis::RedisLock;
/// # async fn example(lock: RedisLock) {
/// use cupping::txn::redis::LockError;
///
/// match lock.acquire("report", "2024").await {
///     Ok(guard) => drop(guard),
///     Err(LockError::Timeout { name, .. }) => tracing::info!(name, "somebody else is at it"),
///     Err(error) => tracing::warn!(%error, "Redis is out of reach"),
/// }
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another held it all the time. Nothing is wrong; try again later.
    #[error("lock {name} was not granted within {waited:?}: another holds it; try again later")]
    Timeout {
        /// The lock: scope and resource.
        name: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The lock was held and is no more: it expired, or another has it. Another may be at work:
    /// stop, and write nothing that is not fenced.
    #[error("lock {name} was lost: it expired or another has it; stop the work it protected")]
    Lost {
        /// The lock: scope and resource.
        name: String,
    },
    /// Released when it was not held any more (or the answer to a first release was lost): the
    /// work may have run beside another's. If the writes were fenced, they are right all the same.
    #[error("lock {name} was released when it was not held any more: it had expired")]
    NotHeld {
        /// The lock: scope and resource.
        name: String,
    },
    /// Redis did not answer, or the breaker is open.
    #[error("lock {name} is unavailable: {source}")]
    Unavailable {
        /// The lock: scope and resource.
        name: String,
        /// What Redis said.
        #[source]
        source: LinkError,
    },
}

impl LockError {
    /// Whether the protected work may be tried again from its start.
    ///
    /// ```
    /// use cupping::resilience::retryability::{Reason, Retryability};
    /// use cupping::txn::redis::LockError;
    ///
    /// let error = LockError::Lost { name: "schedule:week-7".into() };
    /// assert_eq!(error.retryability(), Retryability::OutcomeUnknown);
    /// ```
    #[must_use]
    pub fn retryability(&self) -> Retryability {
        match self {
            Self::Timeout { .. } => Retryability::Transient(Reason::LockTimeout),
            // The work had begun.
            Self::Lost { .. } | Self::NotHeld { .. } => Retryability::OutcomeUnknown,
            Self::Unavailable { source, .. } => source.retryability(),
        }
    }
}

/// Why [`super::RedisIdempotency::once`] has no result. `E` is the work's own error.
///
/// ```
/// use cupping::txn::redis::OnceError;
/// use std::io;
///
/// /// What a webhook answers.
/// fn status(error: &OnceError<io::Error>) -> u16 {
///     match error {
///         OnceError::InProgress { .. } => 409,
///         OnceError::FingerprintMismatch { .. } => 422,
///         OnceError::Unavailable { .. } => 503,
///         _ => 500,
///     }
/// }
/// assert_eq!(status(&OnceError::InProgress { key: "payments:17".into() }), 409);
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnceError<E: Error + 'static> {
    /// The work failed; its key is free again.
    #[error("the work failed: {0}")]
    Work(#[source] E),
    /// The key was used before for something else. A mistake of the caller; nothing was done.
    #[error("key {key} was used before with another fingerprint; use a new key for new work")]
    FingerprintMismatch {
        /// Scope and key.
        key: String,
    },
    /// Another works under this key. Nothing was done here; ask again later.
    #[error("work under key {key} is in progress elsewhere; ask again later")]
    InProgress {
        /// Scope and key.
        key: String,
    },
    /// The lease was lost while the work ran: it was stopped there, and another may do it again.
    #[error("the lease on key {key} was lost while the work ran; another may do it again")]
    LeaseLost {
        /// Scope and key.
        key: String,
    },
    /// The work is done, but its result could not be stored: once the lease is over, a duplicate
    /// does it again.
    #[error("the work under key {key} is done, but that could not be recorded: {source}")]
    NotRecorded {
        /// Scope and key.
        key: String,
        /// What Redis said, or why the result is no JSON.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The stored result is not of the type asked for. The work is done.
    #[error("the stored result under key {key} is not of the type asked for: {source}")]
    Unreadable {
        /// Scope and key.
        key: String,
        /// What the reader said.
        #[source]
        source: serde_json::Error,
    },
    /// Redis could not be asked. Nothing was done.
    #[error("the idempotency record {key} could not be asked for, nothing was done: {source}")]
    Unavailable {
        /// Scope and key.
        key: String,
        /// What Redis said.
        #[source]
        source: LinkError,
    },
}

impl<E: Error + 'static> OnceError<E> {
    /// Whether the same call may be made again. What the work's own error means, only the caller
    /// knows: it answers `Permanent` here. Example: see [`OnceError`].
    #[must_use]
    pub fn retryability(&self) -> Retryability {
        match self {
            Self::Work(_) | Self::FingerprintMismatch { .. } | Self::Unreadable { .. } => {
                Retryability::Permanent
            }
            Self::InProgress { .. } => Retryability::Transient(Reason::LockTimeout),
            Self::LeaseLost { .. } | Self::NotRecorded { .. } => Retryability::OutcomeUnknown,
            Self::Unavailable { source, .. } => source.retryability(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_decide_what_may_be_tried_again() {
        let server = |code: &str| redis::make_extension_error(code.into(), None);
        for (error, expected) in [
            (server("OOM"), Retryability::Transient(Reason::Overload)),
            (server("NOREPLICAS"), Retryability::Transient(Reason::Overload)),
            (server("WRONGTYPE"), Retryability::Permanent),
            (
                std::io::Error::from(std::io::ErrorKind::ConnectionReset).into(),
                Retryability::Transient(Reason::Connection),
            ),
            (
                RedisError::from((ErrorKind::Server(ServerErrorKind::ReadOnly), "demoted")),
                Retryability::Transient(Reason::Overload),
            ),
            (RedisError::from((ErrorKind::AuthenticationFailed, "no")), Retryability::Permanent),
        ] {
            let text = error.to_string();
            assert_eq!(LinkError::of(error).retryability(), expected, "{text}");
        }
    }
}
