//! What differs from database to database: codes, statements, and how a query is sent.
//!
//! Decides: the port. Never does: retry. A new database is one more file below and one line here.

use super::forensics::DeadlockReport;
use super::options::TxnOptions;
use super::outcome::{Resolution, Transaction};
use super::statement::Value;
use crate::resilience::retryability::{Reason, Retryability};
use futures_util::future::BoxFuture;
use sqlx::{Database, Execute, Pool};

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

mod sealed {
    pub trait Sealed {}
    #[cfg(feature = "mysql")]
    impl Sealed for sqlx::MySql {}
    #[cfg(feature = "postgres")]
    impl Sealed for sqlx::Postgres {}
    #[cfg(feature = "sqlite")]
    impl Sealed for sqlx::Sqlite {}
}

/// The answer to something sent.
pub type Sent<'e, T> = BoxFuture<'e, Result<T, sqlx::Error>>;

/// A transaction that has begun: what the server calls it, and what to set back when it has ended.
///
/// ```
/// use cupping::txn::dialect::Begun;
///
/// assert!(Begun::default().session.is_none(), "SQLite numbers no sessions");
/// ```
#[derive(Debug, Default)]
pub struct Begun {
    /// The session's number on the server (backend process, connection id), for cancelling a
    /// statement and for finding it in the server's logs.
    pub session: Option<u64>,
    /// The transaction's own number, where a lost COMMIT can be asked after.
    pub transaction: Option<Transaction>,
    /// Statements that give the session its own settings back.
    pub restore: Option<String>,
}

/// Whose SQL a database speaks, where a statement's text differs.
///
/// ```
/// use cupping::txn::{Dialect, Family};
///
/// fn now<DB: Dialect>() -> &'static str {
///     match DB::FAMILY {
///         Family::Postgres => "now()",
///         Family::MySql => "NOW(6)",
///         Family::Sqlite => "datetime('now')",
///     }
/// }
/// # #[cfg(feature = "sqlite")]
/// assert_eq!(now::<sqlx::Sqlite>(), "datetime('now')");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    MySql,
    /// SQLite.
    Sqlite,
}

/// A database that [`super::Transactor`] can work with. Sealed: PostgreSQL, MySQL and MariaDB, and
/// SQLite, each behind the feature of its name.
///
/// ```
/// use cupping::txn::{Dialect, Isolation, TxnOptions};
///
/// fn name<DB: Dialect>() -> &'static str {
///     DB::SYSTEM
/// }
/// # #[cfg(feature = "sqlite")]
/// assert_eq!(name::<sqlx::Sqlite>(), "sqlite");
/// ```
pub trait Dialect: Database + sealed::Sealed + super::lockdep::Observed {
    /// The database's name in traces.
    const SYSTEM: &'static str;

    /// Whose SQL it speaks.
    const FAMILY: Family;

    /// Whether the server itself ends a statement at `statement_timeout`. The client then bounds
    /// its own wait a little above, so that a dead network cannot hold it for ever.
    const SERVER_ENDS_STATEMENTS: bool;

    /// Classifies by the database's code, never by its text.
    fn classify_code(error: &dyn sqlx::error::DatabaseError) -> Retryability;

    /// Whether the server refused a connection for want of room: worth a pause and another try.
    fn has_no_room(error: &dyn sqlx::error::DatabaseError) -> bool;

    /// Whether a COMMIT that failed with this code may nevertheless have happened.
    fn commit_in_doubt(error: &dyn sqlx::error::DatabaseError) -> bool;

    /// The report inside a deadlock error.
    fn deadlock(error: &sqlx::Error) -> Option<DeadlockReport>;

    /// The deadlock that struck `session` last, where the error does not tell and the server is to
    /// be asked (needs the right to see the engine's status).
    fn last_deadlock(pool: &Pool<Self>, session: u64)
    -> BoxFuture<'static, Option<DeadlockReport>>;

    /// Begins a transaction with its settings, in as few round trips as the database allows.
    /// `label` is what the server's own views shall call it, where they have a name for it.
    fn begin<'e>(
        connection: &'e mut Self::Connection,
        options: &'e TxnOptions,
        label: Option<&'e str>,
    ) -> Sent<'e, Begun>;

    /// Whether a failed [`Dialect::begin`] certainly left no transaction open.
    fn refused_begin(error: &sqlx::Error) -> bool;

    /// The transaction's number, where it was not known at its beginning; sent before COMMIT.
    fn number(connection: &mut Self::Connection) -> Sent<'_, Option<Transaction>>;

    /// Stops the statement that a session is executing.
    fn cancel(connection: &mut Self::Connection, session: u64) -> Sent<'_, ()>;

    /// Whether a transaction was committed, as far as the server can tell now.
    fn resolve<'e>(
        connection: &'e mut Self::Connection,
        transaction: &'e Transaction,
    ) -> Sent<'e, Resolution>;

    /// Whether the connection is outside of any transaction.
    fn is_clean(connection: &mut Self::Connection) -> Sent<'_, bool>;

    /// Sends statements without parameters, as they are.
    fn send(connection: &mut Self::Connection, sql: String) -> Sent<'_, ()>;

    /// Sends a text with its values, in the order of its placeholders, for the number of rows that
    /// it matched.
    fn tell(connection: &mut Self::Connection, sql: String, values: Vec<Value>) -> Sent<'_, u64>;

    /// Sends a text with its values, in the order of its placeholders, for its rows; `again` when
    /// it is worth keeping prepared.
    fn ask(
        connection: &mut Self::Connection,
        sql: String,
        values: Vec<Value>,
        again: bool,
    ) -> Sent<'_, Vec<Self::Row>>;

    /// A row's column (from 0), which the statement has made a text.
    ///
    /// # Errors
    /// When there is no such column, or it is no text.
    fn text(row: &Self::Row, column: usize) -> Result<Option<String>, sqlx::Error>;

    /// How many rows a statement matched.
    fn affected(done: &Self::QueryResult) -> u64;

    /// Sends a query for its effect.
    fn execute<'e, 'q: 'e, E>(
        connection: &'e mut Self::Connection,
        query: E,
    ) -> Sent<'e, Self::QueryResult>
    where
        E: Execute<'q, Self> + 'q;

    /// Sends a query for at most one row.
    fn fetch_optional<'e, 'q: 'e, E>(
        connection: &'e mut Self::Connection,
        query: E,
    ) -> Sent<'e, Option<Self::Row>>
    where
        E: Execute<'q, Self> + 'q;

    /// Sends a query for its rows.
    fn fetch_all<'e, 'q: 'e, E>(
        connection: &'e mut Self::Connection,
        query: E,
    ) -> Sent<'e, Vec<Self::Row>>
    where
        E: Execute<'q, Self> + 'q;

    /// Classifies any error of sqlx.
    #[must_use]
    fn classify(error: &sqlx::Error) -> Retryability {
        match error {
            sqlx::Error::Database(error) => Self::classify_code(error.as_ref()),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Retryability::Transient(Reason::Connection),
            sqlx::Error::PoolTimedOut => Retryability::Transient(Reason::Overload),
            sqlx::Error::PoolClosed => Retryability::Transient(Reason::Shutdown),
            _ => Retryability::Permanent,
        }
    }

    /// Why another attempt at once may succeed, if it may: conflicts, a lost connection, a server
    /// without room. A full disk or an exhausted pool is left to the caller.
    #[must_use]
    fn retry_at_once(error: &sqlx::Error) -> Option<Reason> {
        let Retryability::Transient(reason) = Self::classify(error) else { return None };
        let again = match reason {
            Reason::Deadlock | Reason::Serialization | Reason::LockTimeout | Reason::Connection => {
                true
            }
            Reason::Overload => error.as_database_error().is_some_and(Self::has_no_room),
            _ => false,
        };
        again.then_some(reason)
    }

    /// Whether a COMMIT that failed with this error may nevertheless have happened.
    #[must_use]
    fn in_doubt(error: &sqlx::Error) -> bool {
        match error {
            sqlx::Error::Database(error) => Self::commit_in_doubt(error.as_ref()),
            _ => true,
        }
    }
}

/// The part of [`Dialect`] whose text is the same for each database, but which Rust cannot say
/// generically (an executor is implemented for each connection type apart).
macro_rules! executing {
    () => {
        fn send(connection: &mut Self::Connection, sql: String) -> Sent<'_, ()> {
            Box::pin(async move {
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection).await.map(drop)
            })
        }

        fn tell(
            connection: &mut Self::Connection,
            sql: String,
            values: Vec<Value>,
        ) -> Sent<'_, u64> {
            let query = $crate::txn::dialect::bound!(sql, values);
            Box::pin(async move { Ok(query.execute(connection).await?.rows_affected()) })
        }

        fn ask(
            connection: &mut Self::Connection,
            sql: String,
            values: Vec<Value>,
            again: bool,
        ) -> Sent<'_, Vec<Self::Row>> {
            // On MySQL one that is not kept is closed after use, a packet without an answer: the
            // next statement then waits 40 ms for a delayed acknowledgement.
            let kept = again || matches!(Self::FAMILY, $crate::txn::dialect::Family::MySql);
            let query = $crate::txn::dialect::bound!(sql, values).persistent(kept);
            Box::pin(query.fetch_all(connection))
        }

        fn text(row: &Self::Row, column: usize) -> Result<Option<String>, sqlx::Error> {
            sqlx::Row::try_get(row, column)
        }

        fn affected(done: &Self::QueryResult) -> u64 {
            done.rows_affected()
        }

        fn execute<'e, 'q: 'e, E>(
            connection: &'e mut Self::Connection,
            query: E,
        ) -> Sent<'e, Self::QueryResult>
        where
            E: sqlx::Execute<'q, Self> + 'q,
        {
            sqlx::Executor::execute(connection, query)
        }

        fn fetch_optional<'e, 'q: 'e, E>(
            connection: &'e mut Self::Connection,
            query: E,
        ) -> Sent<'e, Option<Self::Row>>
        where
            E: sqlx::Execute<'q, Self> + 'q,
        {
            sqlx::Executor::fetch_optional(connection, query)
        }

        fn fetch_all<'e, 'q: 'e, E>(
            connection: &'e mut Self::Connection,
            query: E,
        ) -> Sent<'e, Vec<Self::Row>>
        where
            E: sqlx::Execute<'q, Self> + 'q,
        {
            sqlx::Executor::fetch_all(connection, query)
        }
    };
}
use executing;

/// A query of a text and its values.
macro_rules! bound {
    ($sql:expr, $values:expr) => {
        $values.into_iter().fold(sqlx::query(sqlx::AssertSqlSafe($sql)), |query, value| match value
        {
            Value::Int(int) => query.bind(int),
            Value::Text(text) => query.bind(text),
            Value::Bytes(bytes) => query.bind(bytes),
        })
    };
}
use bound;

/// The first row of the answer to several statements sent as one.
macro_rules! first_row {
    ($connection:expr, $sql:expr) => {
        sqlx::raw_sql(sqlx::AssertSqlSafe($sql))
            .fetch_all($connection)
            .await?
            .into_iter()
            .next()
            .ok_or(sqlx::Error::RowNotFound)?
    };
}
use first_row;

/// Milliseconds for a server's setting: at least one, because zero means no limit.
fn millis(duration: std::time::Duration) -> u128 {
    duration.as_millis().clamp(1, 2_000_000_000)
}
