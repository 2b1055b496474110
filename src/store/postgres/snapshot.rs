//! Reading from one snapshot of the database.
//!
//! Decides: that a read of more than one statement sees one state (REPEATABLE READ, READ ONLY) and
//! carries that state's mark. It runs in a task of its own, since a `begin` that is cancelled would
//! leave an open transaction in the pool. Never does: write.

use crate::store::streaming::joined;
use crate::store::{LogMark, StoreError};
use crate::txn::Dialect;
use sqlx::{Connection, PgConnection, Postgres, Transaction};
use std::future::Future;
use std::time::Duration;

/// An error of a plain read, classified.
pub(super) fn failed(doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError + Copy {
    move |source| StoreError::Query { doing, retryability: Postgres::classify(&source), source }
}

/// A single read that must answer within `limit`: on a network that went silent nothing else would
/// ever end it. The connection, which may still be waiting, is for the pool to close.
pub(super) async fn answered<T>(
    limit: Duration,
    doing: &'static str,
    read: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    let silence = |_| {
        let message = format!("no answer within {} s", limit.as_secs_f32());
        sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, message))
    };
    tokio::time::timeout(limit, read).await.map_err(silence).flatten().map_err(failed(doing))
}

/// Opens a snapshot; answers it with its mark. Call it within [`in_task`] only.
pub(super) async fn open(
    connection: &mut PgConnection,
    lock_timeout: Duration,
) -> Result<(Transaction<'_, Postgres>, LogMark), sqlx::Error> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let mut snapshot = connection.begin_with(begin).await?;
    // The first statement takes the snapshot; it also bounds the wait for somebody's DDL.
    let mark = sqlx::query_scalar(
        "SELECT pg_current_snapshot()::text FROM set_config('lock_timeout', $1, true)",
    )
    .bind(format!("{}ms", lock_timeout.as_millis()))
    .fetch_one(&mut *snapshot)
    .await?;
    Ok((snapshot, LogMark(mark)))
}

/// Runs a read to its end even when the caller goes away.
pub(super) async fn in_task<T: Send + 'static>(
    doing: &'static str,
    read: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    joined(tokio::spawn(read), failed(doing)).await
}
