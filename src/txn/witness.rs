//! A row of the transaction itself that tells whether it was committed.
//!
//! Decides: what such a row must answer. Never does: write one (idempotency records do).

use futures_util::future::BoxFuture;
use sqlx::Pool;
use std::fmt;
use std::sync::Arc;

type Asking<DB> = dyn Fn(Pool<DB>) -> BoxFuture<'static, Result<bool, sqlx::Error>> + Send + Sync;

/// Asks, on another connection, whether the row is there. The question must wait for a transaction
/// that has written the row and not ended yet; then `true` is a commit and `false` a rollback, for
/// good.
pub(super) struct Witness<DB: sqlx::Database>(pub(super) Arc<Asking<DB>>);

impl<DB: sqlx::Database> Clone for Witness<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<DB: sqlx::Database> fmt::Debug for Witness<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness")
    }
}
