//! SQLite: result codes and BEGIN IMMEDIATE.
//!
//! Decides: what each result code means for a retry. Never does: look at a message's text.

use super::{Dialect, Sent, executing, millis};
use crate::resilience::retryability::{Reason, Retryability};
use crate::txn::forensics::DeadlockReport;
use crate::txn::options::TxnOptions;
use sqlx::Sqlite;
use sqlx::error::DatabaseError;

const BUSY: i32 = 5;
const FULL: i32 = 13;
/// The snapshot a read transaction holds is too old to be written from: waiting does not help.
const BUSY_SNAPSHOT: i32 = 517;

impl Dialect for Sqlite {
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

    fn commit_in_doubt(_: &dyn DatabaseError) -> bool {
        // A COMMIT that answers with an error has not happened; the rollback that follows ends it.
        false
    }

    fn deadlock(_: &sqlx::Error) -> Option<DeadlockReport> {
        None
    }

    fn prepare(options: &TxnOptions) -> Option<String> {
        Some(format!("PRAGMA busy_timeout = {}", millis(options.lock_timeout)))
    }

    fn begin(options: &TxnOptions) -> String {
        // A deferred transaction that writes after another's commit fails at once, whatever the
        // busy timeout: every writing one takes the write lock at its start.
        if options.read_only { "BEGIN DEFERRED".into() } else { "BEGIN IMMEDIATE".into() }
    }

    fn is_clean(connection: &mut Self::Connection) -> Sent<'_, bool> {
        // SQLite refuses a transaction within a transaction, and this one locks nothing.
        Box::pin(async move {
            Ok(Self::send(connection, "BEGIN DEFERRED; COMMIT".into()).await.is_ok())
        })
    }

    executing!();
}
