//! SQLite: result codes and BEGIN IMMEDIATE.
//!
//! Decides: what each result code means for a retry. Never does: look at a message's text.

use super::{Begun, Dialect, Family, Sent, Value, executing, first_row, millis};
use crate::resilience::retryability::{Reason, Retryability};
use crate::txn::forensics::DeadlockReport;
use crate::txn::options::TxnOptions;
use crate::txn::outcome::{Resolution, Transaction};
use futures_util::future::BoxFuture;
use sqlx::error::DatabaseError;
use sqlx::{Pool, Row, Sqlite};

const BUSY: i32 = 5;
const FULL: i32 = 13;
/// The snapshot a read transaction holds is too old to be written from: waiting does not help.
const BUSY_SNAPSHOT: i32 = 517;

impl Dialect for Sqlite {
    const SYSTEM: &'static str = "sqlite";
    const FAMILY: Family = Family::Sqlite;
    const SERVER_ENDS_STATEMENTS: bool = false;

    fn classify_code(error: &dyn DatabaseError) -> Retryability {
        let code: i32 = error.code().and_then(|code| code.parse().ok()).unwrap_or(0);
        match (code, code & 0xff) {
            (BUSY_SNAPSHOT, _) => Retryability::Transient(Reason::Serialization),
            (_, BUSY) => Retryability::Transient(Reason::LockTimeout),
            (_, FULL) => Retryability::Transient(Reason::Overload),
            _ => Retryability::Permanent,
        }
    }

    fn has_no_room(_: &dyn DatabaseError) -> bool {
        false
    }

    fn commit_in_doubt(_: &dyn DatabaseError) -> bool {
        // A COMMIT that answers with an error has not happened; the rollback that follows ends it.
        false
    }

    fn deadlock(_: &sqlx::Error) -> Option<DeadlockReport> {
        None
    }

    fn last_deadlock(_: &Pool<Self>, _: u64) -> BoxFuture<'static, Option<DeadlockReport>> {
        Box::pin(std::future::ready(None))
    }

    fn begin<'e>(
        connection: &'e mut Self::Connection,
        options: &'e TxnOptions,
        _: Option<&'e str>,
    ) -> Sent<'e, Begun> {
        Box::pin(async move {
            let row = first_row!(&mut *connection, "PRAGMA busy_timeout".to_owned());
            let own: i64 = row.try_get(0)?;
            let wanted = millis(options.lock_timeout);
            let restore = (u128::try_from(own).ok() != Some(wanted))
                .then(|| format!("PRAGMA busy_timeout = {own}"));
            // A deferred transaction that writes after another's commit fails at once, whatever
            // the busy timeout: every writing one takes the write lock at its start.
            let begin = if options.read_only { "BEGIN DEFERRED" } else { "BEGIN IMMEDIATE" };
            let sql = format!("PRAGMA busy_timeout = {wanted}; {begin}");
            Self::send(connection, sql).await?;
            Ok(Begun { restore, ..Begun::default() })
        })
    }

    fn refused_begin(error: &sqlx::Error) -> bool {
        // The write lock was not to be had, so nothing began.
        matches!(Self::classify(error), Retryability::Transient(Reason::LockTimeout))
    }

    fn number(_: &mut Self::Connection) -> Sent<'_, Option<Transaction>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn cancel(_: &mut Self::Connection, _: u64) -> Sent<'_, ()> {
        // There is no server: a statement waits for its busy timeout at most.
        Box::pin(std::future::ready(Ok(())))
    }

    fn resolve<'e>(_: &'e mut Self::Connection, _: &'e Transaction) -> Sent<'e, Resolution> {
        Box::pin(std::future::ready(Ok(Resolution::Unknown)))
    }

    fn is_clean(connection: &mut Self::Connection) -> Sent<'_, bool> {
        // SQLite refuses a transaction within a transaction, and this one locks nothing.
        Box::pin(async move {
            Ok(Self::send(connection, "BEGIN DEFERRED; COMMIT".into()).await.is_ok())
        })
    }

    executing!();
}
