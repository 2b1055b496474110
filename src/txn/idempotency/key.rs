//! What names a piece of work that happens once, and how that fails.
//!
//! Decides: limits and defaults. Never does: talk to a database.

use crate::txn::body::BodyError;
use crate::txn::locks::fnv1a;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The table of the records where none is named.
pub const DEFAULT_TABLE: &str = "cupping_idempotency";
/// How long a record lives where nothing is said.
pub const DEFAULT_TTL: Duration = Duration::from_secs(3600);
/// Longest scope, key or fingerprint, in bytes.
const LONGEST: usize = 255;

/// What becomes of a request whose twin is under way.
///
/// ```
/// use cupping::txn::{IdempotencyKey, Twin};
///
/// let patient = IdempotencyKey::new("charge", "order-17", "amount=100");
/// let impatient = patient.clone().twin(Twin::Refuse);
/// assert_ne!(patient, impatient);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Twin {
    /// It waits for the twin, at most `lock_timeout` an attempt; then gets its result, or does the
    /// work if the twin has failed.
    #[default]
    Wait,
    /// It fails at once as [`IdempotencyError::InFlight`]. (MySQL can wait for whole seconds only,
    /// so there it fails after one. On SQLite whole transactions wait for one another, before they
    /// can look.)
    Refuse,
}

/// What names a piece of work that happens once.
///
/// ```
/// use cupping::txn::{IdempotencyKey, Twin};
/// use std::time::Duration;
///
/// let key = IdempotencyKey::new("charge", "order-17", "amount=100")
///     .ttl(Duration::from_secs(24 * 3600))
///     .twin(Twin::Refuse);
/// # drop(key);
/// ```
///
/// # Hazards
/// Keys are known to all callers of one scope. Where callers must not see one another's results,
/// put the caller into the scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    pub(super) scope: String,
    pub(super) key: String,
    pub(super) fingerprint: String,
    pub(super) ttl: Duration,
    pub(super) twin: Twin,
    pub(super) table: &'static str,
}

/// Why a piece of work that happens once was not done, and no earlier result given.
///
/// ```
/// use cupping::txn::{IdempotencyError, TxnError};
///
/// /// What a web handler answers to a key.
/// fn status(error: &TxnError) -> u16 {
///     let TxnError::Body { source, .. } = error else { return 503 };
///     match source.downcast_ref::<IdempotencyError>() {
///         Some(IdempotencyError::KeyReused { .. }) => 422,
///         Some(IdempotencyError::InFlight { .. }) => 409,
///         _ => 500,
///     }
/// }
/// # assert_eq!(status(&TxnError::Panicked { name: "charge" }), 503);
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdempotencyError {
    /// The key was used before for something else. The caller has a defect: a key names one
    /// request.
    #[error(
        "idempotency key {key} of scope {scope} was used before with another fingerprint: use a \
         new key for a new request"
    )]
    KeyReused {
        /// The scope.
        scope: String,
        /// The key.
        key: String,
    },
    /// The same work is under way, and the caller chose not to wait for it.
    #[error("work under idempotency key {key} of scope {scope} is under way: ask again later")]
    InFlight {
        /// The scope.
        scope: String,
        /// The key.
        key: String,
    },
    /// The record was swept away each time that it was looked for; the unit runs again.
    #[error("the record of idempotency key {key} of scope {scope} vanished while it was read")]
    Vanished {
        /// The scope.
        scope: String,
        /// The key.
        key: String,
    },
    /// The stored result cannot be read as the type asked for: it is of an older release, say.
    #[error("the stored result of idempotency key {key} of scope {scope} cannot be read: {source}")]
    Unreadable {
        /// The scope.
        scope: String,
        /// The key.
        key: String,
        /// What does not fit.
        #[source]
        source: serde_json::Error,
    },
    /// The result cannot be stored; the work was rolled back.
    #[error("the result of idempotency key {key} of scope {scope} cannot be stored: {source}")]
    Unwritable {
        /// The scope.
        scope: String,
        /// The key.
        key: String,
        /// What cannot be written as JSON.
        #[source]
        source: serde_json::Error,
    },
    /// A scope, key or fingerprint is empty, too long, or has a NUL in it.
    #[error("the {part} of an idempotency key must have 1 to {LONGEST} bytes, none of them NUL")]
    BadKey {
        /// Which of them.
        part: &'static str,
    },
}

impl IdempotencyKey {
    /// `scope` says what kind of work it is, `key` names the request, and `fingerprint` says what
    /// was asked for: the same key with another fingerprint is an error. Each of 1 to 255 bytes;
    /// see [`fingerprint`] for a longer request. Example: see [`IdempotencyKey`].
    #[must_use]
    pub fn new(
        scope: impl Into<String>,
        key: impl Into<String>,
        fingerprint: impl Into<String>,
    ) -> Self {
        Self {
            scope: scope.into(),
            key: key.into(),
            fingerprint: fingerprint.into(),
            ttl: DEFAULT_TTL,
            twin: Twin::default(),
            table: DEFAULT_TABLE,
        }
    }

    /// How long its record lives (an hour unless said); by the server's clock, in milliseconds.
    /// Example: see [`IdempotencyKey`].
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// What becomes of it when a twin is under way. Example: see [`IdempotencyKey`].
    #[must_use]
    pub fn twin(self, twin: Twin) -> Self {
        Self { twin, ..self }
    }

    /// Its records are in this table; written into statements as it is: a constant, never input.
    ///
    /// ```
    /// use cupping::txn::IdempotencyKey;
    ///
    /// let key = IdempotencyKey::new("charge", "order-17", "amount=100").table("shop.once");
    /// # drop(key);
    /// ```
    #[must_use]
    pub fn table(self, table: &'static str) -> Self {
        Self { table, ..self }
    }

    pub(super) fn check(&self) -> Result<(), IdempotencyError> {
        let parts =
            [("scope", &self.scope), ("key", &self.key), ("fingerprint", &self.fingerprint)];
        let bad = |text: &str| text.is_empty() || text.len() > LONGEST || text.contains('\0');
        match parts.into_iter().find(|(_, text)| bad(text)) {
            Some((part, _)) => Err(IdempotencyError::BadKey { part }),
            None => Ok(()),
        }
    }

    fn names(&self) -> (String, String) {
        (self.scope.clone(), self.key.clone())
    }

    pub(super) fn reused(&self) -> IdempotencyError {
        let (scope, key) = self.names();
        IdempotencyError::KeyReused { scope, key }
    }

    pub(super) fn in_flight(&self) -> IdempotencyError {
        let (scope, key) = self.names();
        IdempotencyError::InFlight { scope, key }
    }

    pub(super) fn vanished(&self) -> IdempotencyError {
        let (scope, key) = self.names();
        IdempotencyError::Vanished { scope, key }
    }

    pub(super) fn read<T: DeserializeOwned>(&self, text: &str) -> Result<T, BodyError> {
        let (scope, key) = self.names();
        serde_json::from_str(text)
            .map_err(|source| BodyError::own(IdempotencyError::Unreadable { scope, key, source }))
    }

    pub(super) fn write<T: Serialize>(&self, result: &T) -> Result<String, BodyError> {
        let (scope, key) = self.names();
        serde_json::to_string(result)
            .map_err(|source| BodyError::own(IdempotencyError::Unwritable { scope, key, source }))
    }
}

/// A short fingerprint of a request of any length: its JSON's FNV-1a (64 bits) and length. Finds
/// mistakes, not forgeries.
///
/// ```
/// use cupping::txn::idempotency::fingerprint;
///
/// let (one, other) = (fingerprint(&("a", 1))?, fingerprint(&("a", 2))?);
/// assert_ne!(one, other);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
/// When the request cannot be written as JSON.
pub fn fingerprint(request: &impl Serialize) -> Result<String, serde_json::Error> {
    let json = serde_json::to_vec(request)?;
    Ok(format!("{:016x}-{}", fnv1a(&json), json.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_column_cannot_hold_is_refused() {
        let checked = |key: &str| IdempotencyKey::new("s", key, "f").check();
        assert!(checked("k").is_ok());
        assert!(checked(&"k".repeat(LONGEST)).is_ok());
        for bad in ["".to_owned(), "k".repeat(LONGEST + 1), "a\0b".to_owned()] {
            assert!(matches!(checked(&bad), Err(IdempotencyError::BadKey { part: "key" })));
        }
    }
}
