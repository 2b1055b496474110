//! What became of a COMMIT whose answer was lost.
//!
//! Decides: what a server must tell to be believed. Never does: wait, or ask.

use std::sync::Arc;

/// A transaction as its server numbers it: enough to ask after it from another connection.
///
/// A number alone would not do: after a restore or a fail-over another server may know the same
/// number for something else.
///
/// ```
/// use cupping::txn::outcome::Transaction;
///
/// let before = Transaction { number: 768, server: "7341/00000001".into() };
/// let after_fail_over = Transaction { server: "7341/00000002".into(), ..before.clone() };
/// assert_ne!(before, after_fail_over, "the same number may be another transaction there");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// The transaction's number (`pg_current_xact_id()`).
    pub number: u64,
    /// What made the number: system identifier and timeline.
    pub server: Arc<str>,
}

/// What a server tells about a transaction.
///
/// ```
/// use cupping::txn::outcome::Resolution;
///
/// assert_eq!(Resolution::from_status(Some("committed")), Resolution::Committed);
/// assert_eq!(Resolution::from_status(None), Resolution::Unknown);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// It is committed.
    Committed,
    /// It is rolled back, for good.
    RolledBack,
    /// It is still under way: ask again.
    Pending,
    /// The server cannot tell: it is another one, or the transaction is too long ago.
    Unknown,
}

impl Resolution {
    /// From the answer of `pg_xact_status`. Example: see [`Resolution`].
    #[must_use]
    pub fn from_status(status: Option<&str>) -> Self {
        match status {
            Some("committed") => Self::Committed,
            Some("aborted") => Self::RolledBack,
            Some("in progress") => Self::Pending,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_final_answer_is_final() {
        assert_eq!(Resolution::from_status(Some("committed")), Resolution::Committed);
        assert_eq!(Resolution::from_status(Some("aborted")), Resolution::RolledBack);
        assert_eq!(Resolution::from_status(Some("in progress")), Resolution::Pending);
        assert_eq!(Resolution::from_status(None), Resolution::Unknown);
    }
}
