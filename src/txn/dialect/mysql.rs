//! MySQL and MariaDB: error numbers, session settings that are given back, KILL QUERY.
//!
//! Decides: what each error number means for a retry. Never does: look at a message's text, or at
//! an SQLSTATE (1205 is HY000, and 1213 shares 40001 with others).
//!
//! One text serves both servers: `/*M!…*/` is run by MariaDB alone, `/*!80000 …*/` by MySQL alone.
//! Tested on MariaDB; what is MySQL's own is from its manual.

use super::{Begun, Dialect, Family, Sent, Value, executing, first_row, millis};
use crate::resilience::retryability::{Reason, Retryability};
use crate::txn::forensics::DeadlockReport;
use crate::txn::options::{Isolation, TxnOptions};
use crate::txn::outcome::{Resolution, Transaction};
use futures_util::future::BoxFuture;
use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;
use sqlx::{Connection, MySql, MySqlConnection, Pool, Row};
use std::time::Duration;
use tokio::time::timeout;

/// The server's, all users', and this user's own limit.
const TOO_MANY_CONNECTIONS: [u16; 3] = [1040, 1203, 1226];
const UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;

/// The server ends a session that idles inside our transaction this long after the deadline.
const IDLE_GRACE: Duration = Duration::from_secs(5);

/// How long a retry is held up to read the report of its deadlock.
const STATUS_WITHIN: Duration = Duration::from_secs(1);

/// Remembers the session's own settings on the server.
const SAVE: &str = "SET @cupping_lock_wait = @@SESSION.innodb_lock_wait_timeout, \
    @cupping_metadata = @@SESSION.lock_wait_timeout \
    /*M!100300 , @cupping_statement = @@SESSION.max_statement_time, \
    @cupping_idle = @@SESSION.idle_transaction_timeout */ \
    /*!80000 , @cupping_statement = @@SESSION.max_execution_time */";

/// Gives the session its own settings back.
const RESTORE: &str = "SET SESSION innodb_lock_wait_timeout = @cupping_lock_wait, \
    SESSION lock_wait_timeout = @cupping_metadata \
    /*M!100300 , SESSION max_statement_time = @cupping_statement, \
    SESSION idle_transaction_timeout = @cupping_idle */ \
    /*!80000 , SESSION max_execution_time = @cupping_statement */";

impl Dialect for MySql {
    const SYSTEM: &'static str = "mysql";
    const FAMILY: Family = Family::MySql;
    const SERVER_ENDS_STATEMENTS: bool = true;

    fn classify_code(error: &dyn DatabaseError) -> Retryability {
        let reason = match number(error) {
            // Deadlock (on MariaDB among GET_LOCKs too); deadlock among GET_LOCKs; XA deadlock.
            1213 | 3058 | 1614 => Reason::Deadlock,
            // The row changed since the snapshot (MariaDB, innodb_snapshot_isolation).
            1020 => Reason::Serialization,
            // MariaDB's name for a deadlock on the lock of AUTO_INCREMENT, the transaction being
            // gone; also for a column whose numbers are used up, where attempts end it.
            1467 => Reason::Serialization,
            // Lock wait timeout, of rows or of metadata (on MariaDB NOWAIT too); NOWAIT on MySQL.
            1205 | 3572 => Reason::LockTimeout,
            // Statement cancelled or out of time: KILL QUERY, MySQL's limit, MariaDB's.
            1317 | 3024 | 1969 => Reason::Timeout,
            // Shutting down; killed; idle; read-only as after a fail-over.
            1053 | 1927 | 4031 | 1290 | 1836 => Reason::Connection,
            full if TOO_MANY_CONNECTIONS.contains(&full) => Reason::Overload,
            // Disk full; table full; lock table full.
            1021 | 1114 | 1206 => Reason::Overload,
            _ => return Retryability::Permanent,
        };
        Retryability::Transient(reason)
    }

    fn has_no_room(error: &dyn DatabaseError) -> bool {
        TOO_MANY_CONNECTIONS.contains(&number(error))
    }

    fn commit_in_doubt(error: &dyn DatabaseError) -> bool {
        // Shut down or killed while COMMIT was under way.
        matches!(number(error), 1053 | 1317 | 1927 | 4031)
    }

    fn deadlock(error: &sqlx::Error) -> Option<DeadlockReport> {
        let error = error.as_database_error()?;
        // The error itself tells nothing but that it happened.
        (number(error) == 1213).then(DeadlockReport::of_innodb_error)
    }

    fn last_deadlock(
        pool: &Pool<Self>,
        session: u64,
    ) -> BoxFuture<'static, Option<DeadlockReport>> {
        let options = pool.connect_options();
        Box::pin(async move {
            // Whoever lacks the right to see the status, or comes too late, has the error alone.
            let reading = async {
                let mut side = MySqlConnection::connect_with(&options).await?;
                let row = sqlx::raw_sql("SHOW ENGINE INNODB STATUS").fetch_one(&mut side).await?;
                drop(side.close().await);
                row.try_get::<String, _>("Status")
            };
            let status = timeout(STATUS_WITHIN, reading).await.ok()?.ok()?;
            let report = DeadlockReport::from_innodb_status(&status)?;
            report.involves_connection(session).then_some(report)
        })
    }

    fn begin<'e>(
        connection: &'e mut Self::Connection,
        options: &'e TxnOptions,
        _: Option<&'e str>,
    ) -> Sent<'e, Begun> {
        Box::pin(async move {
            let row = first_row!(connection, begin_statements(options));
            let session = row.try_get::<u64, _>(0)?;
            let restore = Some(RESTORE.to_owned());
            Ok(Begun { session: Some(session), transaction: None, restore })
        })
    }

    fn refused_begin(_: &sqlx::Error) -> bool {
        false
    }

    fn number(_: &mut Self::Connection) -> Sent<'_, Option<Transaction>> {
        // Neither server answers whether a transaction was committed.
        Box::pin(std::future::ready(Ok(None)))
    }

    fn cancel(connection: &mut Self::Connection, session: u64) -> Sent<'_, ()> {
        Self::send(connection, format!("KILL QUERY {session}"))
    }

    fn resolve<'e>(_: &'e mut Self::Connection, _: &'e Transaction) -> Sent<'e, Resolution> {
        Box::pin(std::future::ready(Ok(Resolution::Unknown)))
    }

    fn is_clean(connection: &mut Self::Connection) -> Sent<'_, bool> {
        Box::pin(async move {
            let asked = sqlx::raw_sql("SELECT @@in_transaction").fetch_one(&mut *connection).await;
            match asked {
                Ok(row) => Ok(row.try_get::<u64, _>(0)? == 0),
                Err(sqlx::Error::Database(error))
                    if number(error.as_ref()) == UNKNOWN_SYSTEM_VARIABLE =>
                {
                    // MySQL has no such variable, but refuses this inside of a transaction; outside
                    // it asks for what is the default anyway.
                    Ok(Self::send(connection, "SET TRANSACTION READ WRITE".into()).await.is_ok())
                }
                Err(error) => Err(error),
            }
        })
    }

    executing!();
}

/// Several statements, one round trip.
fn begin_statements(options: &TxnOptions) -> String {
    let isolation = match options.isolation {
        Isolation::ReadCommitted => "READ COMMITTED",
        Isolation::RepeatableRead => "REPEATABLE READ",
        Isolation::Serializable => "SERIALIZABLE",
    };
    let access = if options.read_only { "READ ONLY" } else { "READ WRITE" };
    // Whole seconds, at least one: zero would mean not to wait at all.
    let lock_wait = options.lock_timeout.as_secs_f64().ceil().max(1.0);
    let statement = millis(options.statement_timeout);
    let idle = (options.deadline + IDLE_GRACE).as_secs();
    format!(
        "SET TRANSACTION ISOLATION LEVEL {isolation}, {access}; {SAVE}; \
         SET SESSION innodb_lock_wait_timeout = {lock_wait}, \
         SESSION lock_wait_timeout = {lock_wait} \
         /*M!100300 , SESSION max_statement_time = {}, \
         SESSION idle_transaction_timeout = {idle} */ \
         /*!80000 , SESSION max_execution_time = {statement} */; \
         START TRANSACTION; SELECT CONNECTION_ID()",
        options.statement_timeout.as_secs_f64().max(0.001),
    )
}

fn number(error: &dyn DatabaseError) -> u16 {
    error.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number)
}
