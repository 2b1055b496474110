//! PostgreSQL: SQLSTATEs, timeouts, and the deadlock report.
//!
//! Decides: what each SQLSTATE means for a retry. Never does: look at a message's text.

use super::{Dialect, Sent, executing, millis};
use crate::resilience::retryability::{Reason, Retryability};
use crate::txn::forensics::DeadlockReport;
use crate::txn::options::{Isolation, TxnOptions};
use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;
use sqlx::{Postgres, Row};
use std::time::Duration;

/// The server ends a session that idles inside our transaction this long after the deadline.
const IDLE_GRACE: Duration = Duration::from_secs(5);

impl Dialect for Postgres {
    const SERVER_ENDS_STATEMENTS: bool = true;

    fn classify_code(error: &dyn DatabaseError) -> Retryability {
        let code = error.code();
        let reason = match code.as_deref().unwrap_or_default() {
            "40P01" => Reason::Deadlock,
            "40001" => Reason::Serialization,
            "55P03" => Reason::LockTimeout,
            // statement_timeout or a cancel; transaction_timeout. The same at once would time out
            // again, but later it may not.
            "57014" | "25P04" => Reason::Timeout,
            // Shut down, crashed, starting up, idle session closed; connection exceptions;
            // read-only, as after a failover to a standby.
            "57P01" | "57P02" | "57P03" | "57P05" | "08000" | "08001" | "08003" | "08006"
            | "25006" => Reason::Connection,
            // Too many connections; disk full.
            "53300" | "53100" => Reason::Overload,
            "08007" | "40003" => return Retryability::OutcomeUnknown,
            // A cached plan whose result type changed under it: a new connection plans anew.
            "0A000" if routine(error) == Some("RevalidateCachedQuery") => Reason::Connection,
            _ => return Retryability::Permanent,
        };
        Retryability::Transient(reason)
    }

    fn commit_in_doubt(error: &dyn DatabaseError) -> bool {
        // A session ended by an administrator while it waits for a synchronous standby has
        // committed locally already.
        matches!(
            error.code().as_deref().unwrap_or_default(),
            "08000" | "08003" | "08006" | "08007" | "40003" | "57P01" | "57P02" | "57P03"
        )
    }

    fn deadlock(error: &sqlx::Error) -> Option<DeadlockReport> {
        let error = error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?;
        (error.code() == "40P01")
            .then(|| DeadlockReport::from_postgres(error.detail(), error.r#where()))
    }

    fn prepare(_: &TxnOptions) -> Option<String> {
        None
    }

    fn begin(options: &TxnOptions) -> String {
        let isolation = match options.isolation {
            Isolation::ReadCommitted => "READ COMMITTED",
            Isolation::RepeatableRead => "REPEATABLE READ",
            Isolation::Serializable => "SERIALIZABLE",
        };
        let access = if options.read_only { "READ ONLY" } else { "READ WRITE" };
        // One simple query, so one round trip; integers only, so nothing to quote.
        format!(
            "BEGIN ISOLATION LEVEL {isolation} {access}; SET LOCAL lock_timeout = {}; \
             SET LOCAL statement_timeout = {}; \
             SET LOCAL idle_in_transaction_session_timeout = {}",
            millis(options.lock_timeout),
            millis(options.statement_timeout),
            millis(options.deadline + IDLE_GRACE),
        )
    }

    fn is_clean(connection: &mut Self::Connection) -> Sent<'_, bool> {
        // Outside of a transaction each simple query is its own, and both clocks are its start.
        // (Not so for a prepared statement: its transaction starts at Bind, the statement at
        // Execute, and a healthy connection would look stale.)
        let query = "SELECT transaction_timestamp() = statement_timestamp()";
        Box::pin(async move { sqlx::raw_sql(query).fetch_one(connection).await?.try_get(0) })
    }

    executing!();
}

fn routine(error: &dyn DatabaseError) -> Option<&str> {
    error.try_downcast_ref::<PgDatabaseError>()?.routine()
}
