//! What a transaction's body is, and how it fails.
//!
//! Decides: how any error becomes a [`BodyError`]. Never does: judge whether to try again.

use super::dialect::Dialect;
use super::error::code_of;
use super::transaction::Tx;
use crate::resilience::retryability::Reason;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// What a body returns: a boxed future, because an `async |tx|` closure inside a spawned task is
/// not `Send` on stable Rust. The macro [`crate::txn::work`] writes the box.
pub type BodyFuture<'t, T> = Pin<Box<dyn Future<Output = Result<T, BodyError>> + Send + 't>>;

/// Why a body did not finish. Every error converts with `?`; an [`sqlx::Error`] is recognised.
///
/// Like other catch-all errors it does not implement [`Error`] itself.
///
/// ```
/// use cupping::txn::BodyError;
///
/// fn parse(text: &str) -> Result<i32, BodyError> {
///     Ok(text.trim().parse()?) // any error converts
/// }
///
/// let error = parse("many").expect_err("no number");
/// assert!(error.database().is_none() && error.code().is_none());
/// assert_eq!(error.to_string(), "invalid digit found in string");
/// ```
pub struct BodyError(pub(super) Cause);

pub(super) enum Cause {
    /// The database failed.
    Database(Arc<sqlx::Error>),
    /// The gate lock was not granted in time.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "only PostgreSQL has gates"))]
    Gate(Arc<sqlx::Error>),
    /// A statement was refused before it was sent: an earlier one failed.
    Poisoned,
    /// Nobody waits for the result any more.
    Abandoned,
    /// A lock was asked for out of order.
    LockOrder(String),
    /// The order of the locks taken contradicts one seen before (feature `lockdep`).
    #[cfg_attr(not(feature = "lockdep"), expect(dead_code, reason = "only lockdep finds one"))]
    Inversion(String),
    /// The body asks for the whole unit to be run again.
    Again(Reason, Arc<dyn Error + Send + Sync>),
    /// The body's own failure.
    Own(Box<dyn Error + Send + Sync>),
}

impl BodyError {
    /// A failure of the body's own: the transaction is rolled back and not tried again.
    ///
    /// ```
    /// use cupping::txn::BodyError;
    ///
    /// let error = BodyError::own("the order is closed");
    /// assert_eq!(error.to_string(), "the order is closed");
    /// ```
    pub fn own(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Cause::Own(error.into()))
    }

    /// A conflict that the body itself has found (a version that has moved on): the transaction is
    /// rolled back, and the whole unit runs again while attempts last.
    ///
    /// ```
    /// use cupping::txn::BodyError;
    ///
    /// let error = BodyError::conflict("the alert was resolved meanwhile");
    /// assert_eq!(error.to_string(), "the alert was resolved meanwhile");
    /// ```
    pub fn conflict(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Cause::Again(Reason::Serialization, Arc::from(error.into())))
    }

    /// What the database said, where it was the database that failed. Example: see [`BodyError`].
    #[must_use]
    pub fn database(&self) -> Option<&sqlx::Error> {
        match &self.0 {
            Cause::Database(error) | Cause::Gate(error) => Some(error),
            _ => None,
        }
    }

    /// The body's own error, where it is an `E`.
    ///
    /// ```
    /// use cupping::txn::BodyError;
    ///
    /// let error: BodyError = "x".parse::<i32>().unwrap_err().into();
    /// assert!(error.own_ref::<std::num::ParseIntError>().is_some());
    /// ```
    #[must_use]
    pub fn own_ref<E: Error + 'static>(&self) -> Option<&E> {
        match &self.0 {
            Cause::Own(error) => error.downcast_ref(),
            Cause::Again(_, error) => error.downcast_ref(),
            _ => None,
        }
    }

    /// The SQLSTATE or code the database gave, where it did.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use cupping::txn::{Transactor, TxnOptions, work};
    /// use sqlx::Sqlite;
    ///
    /// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    /// # let pool = memory.connect("sqlite::memory:").await?;
    /// let body = work!(|tx: Sqlite| {
    ///     let wrong = tx.execute("SELECT * FROM nowhere").await.expect_err("no such table");
    ///     assert_eq!(wrong.code().as_deref(), Some("1"));
    ///     Err::<(), _>(wrong)
    /// });
    /// let asked = Transactor::new(pool).run("ask", &TxnOptions::default(), body).await;
    /// assert!(asked.is_err());
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sqlite"))]
    /// # fn main() {}
    /// ```
    #[must_use]
    pub fn code(&self) -> Option<String> {
        self.database().and_then(code_of)
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for BodyError {
    fn from(error: E) -> Self {
        let boxed: Box<dyn Error + Send + Sync> = Box::new(error);
        match boxed.downcast::<sqlx::Error>() {
            Ok(database) => Self(Cause::Database(Arc::from(database))),
            Err(own) => Self(Cause::Own(own)),
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Database(error) => error.fmt(f),
            Cause::Gate(error) => write!(f, "the gate lock was not granted: {error}"),
            Cause::Poisoned => f.write_str(
                "the transaction is poisoned: an earlier statement failed and its error was \
                 swallowed; return that error from the body",
            ),
            Cause::Abandoned => f.write_str("nobody waits for this transaction any more"),
            Cause::LockOrder(message) | Cause::Inversion(message) => f.write_str(message),
            Cause::Again(_, error) => error.fmt(f),
            Cause::Own(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BodyError({self})")
    }
}

/// Says what a closure is, so that it can be named before it is run. Used by [`crate::txn::work`].
#[doc(hidden)]
pub fn typed<DB, T, F>(body: F) -> F
where
    DB: Dialect,
    F: for<'t> Fn(&'t mut Tx<DB>) -> BodyFuture<'t, T> + Send + Sync + 'static,
{
    body
}

/// Writes a transaction body: `work!([a, b] => |tx| { … })`.
///
/// The named captures are cloned, for the body and for each attempt (make them
/// [`std::sync::Arc`]s); the block is async and returns `Result<T, BodyError>`. Without captures:
/// `work!(|tx| { … })`. A body that is not written straight into the call of `run` names its
/// database: `work!([a] => |tx: Postgres| { … })`. The body of a batch takes its items too:
/// `work!([a] => |tx, items| { … })`, or `|tx: Postgres, items: Item|`.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cupping::txn::{Transactor, TxnOptions, work};
/// use std::sync::Arc;
///
/// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
/// # let pool = memory.connect("sqlite::memory:").await?;
/// let words = Arc::new(vec!["sweet".to_owned(), "clean".to_owned()]);
/// let written = Transactor::new(pool)
///     .run("words", &TxnOptions::default(), work!([words] => |tx| {
///         tx.execute("CREATE TABLE word (text TEXT)").await?;
///         for word in words.iter() {
///             tx.execute(sqlx::query("INSERT INTO word VALUES (?)").bind(word.clone())).await?;
///         }
///         Ok(words.len())
///     }))
///     .await?;
/// assert_eq!(written, 2);
/// # Ok(()) }
/// # #[cfg(not(feature = "sqlite"))]
/// # fn main() {}
/// ```
///
/// # Hazards
/// The body may run several times: what it does to anything but the transaction, it does each
/// time. Effects belong into [`after_commit`](crate::txn::Tx::after_commit). The compiler cannot
/// hold this: a captured `Arc<Mutex<…>>` keeps what a failed attempt has put into it.
#[macro_export]
#[doc(hidden)]
macro_rules! txn_work {
    (|$tx:ident $(: $db:ty)?| $body:block) => {
        $crate::txn_work!([] => |$tx $(: $db)?| $body)
    };
    (|$tx:ident $(: $db:ty)?, $items:ident $(: $item:ty)?| $body:block) => {
        $crate::txn_work!([] => |$tx $(: $db)?, $items $(: $item)?| $body)
    };
    ([$($capture:ident),* $(,)?] => |$tx:ident: $db:ty, $items:ident: $item:ty| $body:block) => {
        $crate::txn::batch::typed::<$db, $item, _>(
            $crate::txn_work!([$($capture),*] => |$tx, $items| $body)
        )
    };
    ([$($capture:ident),* $(,)?] => |$tx:ident, $items:ident| $body:block) => {{
        $(let $capture = ::std::clone::Clone::clone(&$capture);)*
        move |$tx, $items| {
            $(let $capture = ::std::clone::Clone::clone(&$capture);)*
            ::std::boxed::Box::pin(async move $body)
        }
    }};
    ([$($capture:ident),* $(,)?] => |$tx:ident: $db:ty| $body:block) => {
        $crate::txn::body::typed::<$db, _, _>($crate::txn_work!([$($capture),*] => |$tx| $body))
    };
    ([$($capture:ident),* $(,)?] => |$tx:ident| $body:block) => {{
        $(let $capture = ::std::clone::Clone::clone(&$capture);)*
        move |$tx| {
            $(let $capture = ::std::clone::Clone::clone(&$capture);)*
            ::std::boxed::Box::pin(async move $body)
        }
    }};
}
