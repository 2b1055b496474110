//! Whether a failure may be tried again.
//!
//! Decides: the vocabulary every error of the house answers in. Never does: classify a concrete
//! error; each layer does that for its own.

/// Why a transient failure happened: a bounded set, used as a metric label.
///
/// ```
/// use cupping::resilience::retryability::Reason;
///
/// assert!(Reason::ALL.contains(&Reason::LockTimeout));
/// assert_eq!(Reason::LockTimeout.label(), "lock_timeout");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// The database chose this transaction as the victim of a deadlock.
    Deadlock,
    /// The database could not serialise the transaction.
    Serialization,
    /// A lock was not granted in time.
    LockTimeout,
    /// A statement, or the whole unit, ran out of time.
    Timeout,
    /// The connection broke or could not be made.
    Connection,
    /// The server or the pool has no room.
    Overload,
    /// The bean is not (yet) in the catalogue.
    BeanMissing,
    /// The service is shutting down.
    Shutdown,
    /// Anything else.
    Other,
}

impl Reason {
    /// Every reason, for registering zero values.
    pub const ALL: [Self; 9] = [
        Self::Deadlock,
        Self::Serialization,
        Self::LockTimeout,
        Self::Timeout,
        Self::Connection,
        Self::Overload,
        Self::BeanMissing,
        Self::Shutdown,
        Self::Other,
    ];

    /// The metric label. Example: see [`Reason`].
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Deadlock => "deadlock",
            Self::Serialization => "serialization",
            Self::LockTimeout => "lock_timeout",
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Overload => "overload",
            Self::BeanMissing => "bean_missing",
            Self::Shutdown => "shutdown",
            Self::Other => "other",
        }
    }
}

/// Whether the same work may be tried again after a failure.
///
/// ```
/// use cupping::resilience::retryability::{Reason, Retryability};
///
/// assert!(Retryability::Transient(Reason::Connection).is_outage());
/// assert!(!Retryability::Transient(Reason::Deadlock).is_outage(), "the server works");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retryability {
    /// Nothing happened, and the same work may succeed later.
    Transient(Reason),
    /// It may or may not have happened (a connection lost in COMMIT): resolve, never retry blindly.
    OutcomeUnknown,
    /// The same work will fail again.
    Permanent,
}

impl Retryability {
    /// Whether a service is out of reach, so that work should pause instead of burning attempts.
    /// Example: see [`Retryability`].
    #[must_use]
    pub fn is_outage(self) -> bool {
        matches!(self, Self::Transient(Reason::Connection | Reason::Overload))
    }
}
