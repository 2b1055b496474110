//! PostgreSQL: SQLSTATEs, timeouts, and the deadlock report.
//!
//! Decides: what each SQLSTATE means for a retry. Never does: look at a message's text.

use super::{Begun, Dialect, Family, Sent, Value, executing, first_row, millis};
use crate::resilience::retryability::{Reason, Retryability};
use crate::txn::forensics::DeadlockReport;
use crate::txn::options::{Isolation, TxnOptions};
use crate::txn::outcome::{Resolution, Transaction};
use futures_util::future::BoxFuture;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgDatabaseError, PgRow};
use sqlx::{PgConnection, Pool, Postgres, Row};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The server ends a session that idles inside our transaction this long after the deadline.
const IDLE_GRACE: Duration = Duration::from_secs(5);

/// The longest application name a server keeps, in bytes.
const NAME_BYTES: usize = 63;

/// What numbers transactions here; a fail-over or a restore changes it.
const SERVER: &str = "SELECT (SELECT system_identifier::text FROM pg_control_system()) || '/' || \
                      left(pg_walfile_name(pg_current_wal_lsn()), 8)";

/// Servers seen, by the time of their start: reading the control file costs more than all else that
/// BEGIN does. One server numbers transactions on one timeline from its start on: a promotion
/// changes the timeline of a running server, but until then it begins nothing that writes.
static SERVERS: Mutex<Vec<(String, Arc<str>)>> = Mutex::new(Vec::new());
/// The most servers remembered; the oldest is asked again.
const MOST_SERVERS: usize = 32;

impl Dialect for Postgres {
    const SYSTEM: &'static str = "postgresql";
    const FAMILY: Family = Family::Postgres;
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

    fn has_no_room(error: &dyn DatabaseError) -> bool {
        error.code().as_deref() == Some("53300")
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

    fn last_deadlock(_: &Pool<Self>, _: u64) -> BoxFuture<'static, Option<DeadlockReport>> {
        Box::pin(std::future::ready(None))
    }

    fn begin<'e>(
        connection: &'e mut Self::Connection,
        options: &'e TxnOptions,
        label: Option<&'e str>,
    ) -> Sent<'e, Begun> {
        Box::pin(async move {
            // A query as the first statement would fix the snapshot of the stricter levels before
            // the body has locked anything; there the session is asked for its number before.
            if options.isolation != Isolation::ReadCommitted {
                let who =
                    sqlx::query("SELECT pg_backend_pid()").fetch_one(&mut *connection).await?;
                let session = u64::try_from(who.try_get::<i32, _>(0)?).ok();
                Self::send(connection, begin_statements(options, label)).await?;
                return Ok(Begun { session, ..Begun::default() });
            }
            let begin = begin_statements(options, label);
            let who = match options.resolves_commit() {
                true => "SELECT pg_backend_pid(), pg_current_xact_id(), pg_postmaster_start_time()",
                false => "SELECT pg_backend_pid()",
            };
            let row = first_row!(&mut *connection, format!("{begin}; {who}"));
            let session = u64::try_from(row.try_get::<i32, _>(0)?).ok();
            let transaction = match options.resolves_commit() {
                true => transaction(connection, &row).await?,
                false => None,
            };
            Ok(Begun { session, transaction, restore: None })
        })
    }

    fn refused_begin(_: &sqlx::Error) -> bool {
        false
    }

    fn number(connection: &mut Self::Connection) -> Sent<'_, Option<Transaction>> {
        Box::pin(async move {
            let who = "SELECT 0, pg_current_xact_id_if_assigned(), pg_postmaster_start_time()";
            let row = first_row!(&mut *connection, who.to_owned());
            transaction(connection, &row).await
        })
    }

    fn cancel(connection: &mut Self::Connection, session: u64) -> Sent<'_, ()> {
        Self::send(connection, format!("SELECT pg_cancel_backend({session})"))
    }

    fn resolve<'e>(
        connection: &'e mut Self::Connection,
        transaction: &'e Transaction,
    ) -> Sent<'e, Resolution> {
        Box::pin(async move {
            let number = transaction.number;
            let status = format!("SELECT pg_xact_status('{number}'::xid8)");
            let status: Option<String> = first_row!(&mut *connection, status).try_get(0)?;
            let server: String = first_row!(connection, SERVER.to_owned()).try_get(0)?;
            if *server != *transaction.server {
                return Ok(Resolution::Unknown);
            }
            Ok(Resolution::from_status(status.as_deref()))
        })
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

fn level(options: &TxnOptions) -> &'static str {
    match (options.isolation, options.read_only) {
        (Isolation::ReadCommitted, false) => "READ COMMITTED READ WRITE",
        (Isolation::ReadCommitted, true) => "READ COMMITTED READ ONLY",
        (Isolation::RepeatableRead, false) => "REPEATABLE READ READ WRITE",
        (Isolation::RepeatableRead, true) => "REPEATABLE READ READ ONLY",
        (Isolation::Serializable, false) => "SERIALIZABLE READ WRITE",
        (Isolation::Serializable, true) => "SERIALIZABLE READ ONLY",
    }
}

/// BEGIN and the settings: integers and a cleaned name, so nothing to quote. SET costs a third of
/// what `set_config` in a query does, and a name as much as the three timeouts.
fn begin_statements(options: &TxnOptions, label: Option<&str>) -> String {
    let name =
        label.map(|label| format!("; SET LOCAL application_name = '{}'", application_name(label)));
    format!(
        "BEGIN ISOLATION LEVEL {}; SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}; \
         SET LOCAL idle_in_transaction_session_timeout = {}{}",
        level(options),
        millis(options.lock_timeout),
        millis(options.statement_timeout),
        millis(options.deadline + IDLE_GRACE),
        name.unwrap_or_default(),
    )
}

/// What a server takes as an application name: printable ASCII without quotes, cut to its length.
fn application_name(label: &str) -> String {
    let clean = |c: char| match c {
        '\'' | '\\' => '?',
        ' '..='~' => c,
        _ => '?',
    };
    label.chars().map(clean).take(NAME_BYTES).collect()
}

/// The transaction of a row (session, number, start of the server); `None` without a number.
async fn transaction(
    connection: &mut PgConnection,
    row: &PgRow,
) -> Result<Option<Transaction>, sqlx::Error> {
    // The texts of a simple query, taken as they are: a cast to text would cost the server more.
    let Some(number) = row.try_get_unchecked::<Option<&str>, _>(1)? else { return Ok(None) };
    let Ok(number) = number.parse() else { return Ok(None) };
    let started: String = row.try_get_unchecked(2)?;
    let known = {
        let servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
        servers.iter().find(|(start, _)| *start == started).map(|(_, server)| Arc::clone(server))
    };
    let server = match known {
        Some(server) => server,
        None => {
            let server: String = first_row!(connection, SERVER.to_owned()).try_get(0)?;
            let server: Arc<str> = server.into();
            let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
            if servers.len() >= MOST_SERVERS {
                servers.remove(0);
            }
            servers.push((started, Arc::clone(&server)));
            server
        }
    };
    Ok(Some(Transaction { number, server }))
}

fn routine(error: &dyn DatabaseError) -> Option<&str> {
    error.try_downcast_ref::<PgDatabaseError>()?.routine()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begin_is_no_query_and_names_only_what_has_a_name() {
        let options = TxnOptions { isolation: Isolation::Serializable, ..TxnOptions::default() };
        let begin = begin_statements(&options, None);
        assert!(!begin.contains("SELECT") && !begin.contains("application_name"), "{begin}");
        let named = begin_statements(&options, Some("worker/x"));
        assert!(named.ends_with("SET LOCAL application_name = 'worker/x'"), "{named}");
    }

    #[test]
    fn a_label_cannot_leave_its_quotes() {
        assert_eq!(application_name("o'neil\\; – x"), "o?neil?; ? x");
        assert_eq!(application_name(&"x".repeat(99)).len(), NAME_BYTES);
    }
}
