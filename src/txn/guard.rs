//! A check on every connection that comes back to its pool: it must not be inside a transaction.
//!
//! Decides: to close such a connection, and to count it. Never does: hold the caller up: the check
//! runs in the task that returns the connection.
//!
//! Why: a `begin()` of sqlx 0.9.0 that is dropped half-way leaves the connection inside an open
//! transaction, and the next borrower's statements run in it and are rolled back later.
//! [`super::Transactor`] itself never leaks; the guard is for everyone else on the pool.

use super::dialect::Dialect;
use super::events;
use sqlx::pool::PoolOptions;
use std::future::Future;

tokio::task_local! {
    /// Set while a connection goes back whose transaction was seen to end.
    static SEEN_TO_END: ();
}

/// Gives back a connection whose transaction the server has said to be over: nothing is to be
/// checked, and the round trip is saved.
pub(super) async fn known_clean(returning: impl Future<Output = ()>) {
    SEEN_TO_END.scope((), returning).await;
}

/// Adds the check to a pool's options (one round trip a release, off the caller's path; none where
/// a [`super::Transactor`] has seen its transaction end).
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cupping::txn::guarded;
/// use sqlx::sqlite::SqlitePoolOptions;
///
/// let pool = guarded(SqlitePoolOptions::new().max_connections(4));
/// let pool = pool.connect("sqlite::memory:").await?;
/// # drop(pool);
/// # Ok(()) }
/// # #[cfg(not(feature = "sqlite"))]
/// # fn main() {}
/// ```
///
/// # Hazards
/// It takes the place of an `after_release` hook set before.
#[must_use]
pub fn guarded<DB: Dialect>(options: PoolOptions<DB>) -> PoolOptions<DB> {
    options.after_release(|connection, _| {
        Box::pin(async move {
            if SEEN_TO_END.try_with(|()| ()).is_ok() {
                return Ok(true);
            }
            // An error (an aborted transaction answers 25P02) is a connection not to be trusted.
            let clean = DB::is_clean(connection).await.unwrap_or(false);
            if !clean {
                events::leaked();
            }
            Ok(clean)
        })
    })
}

/// [`guarded`], for a pool that only [`super::Transactor`]s use: connections are not tested before
/// they are handed out, which saves each unit a round trip. BEGIN is the test: a unit that meets a
/// connection which died while it lay idle takes the next one.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cupping::txn::{Transactor, dedicated};
/// use sqlx::sqlite::SqlitePoolOptions;
///
/// let pool = dedicated(SqlitePoolOptions::new().max_connections(1));
/// let transactor = Transactor::new(pool.connect("sqlite::memory:").await?);
/// # drop(transactor);
/// # Ok(()) }
/// # #[cfg(not(feature = "sqlite"))]
/// # fn main() {}
/// ```
///
/// # Hazards
/// A query sent on such a pool without a transactor fails on a dead connection where the test would
/// have replaced it.
#[must_use]
pub fn dedicated<DB: Dialect>(options: PoolOptions<DB>) -> PoolOptions<DB> {
    guarded(options).test_before_acquire(false)
}
