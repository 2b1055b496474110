//! What differs from database to database: codes, statements, and how a query is sent.
//!
//! Decides: the port. Never does: retry. A new database is one more file below and one line here.

use super::forensics::DeadlockReport;
use super::options::TxnOptions;
use crate::resilience::retryability::{Reason, Retryability};
use futures_util::future::BoxFuture;
use sqlx::{Database, Execute};

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

mod sealed {
    pub trait Sealed {}
    #[cfg(feature = "postgres")]
    impl Sealed for sqlx::Postgres {}
    #[cfg(feature = "sqlite")]
    impl Sealed for sqlx::Sqlite {}
}

type Sent<'e, T> = BoxFuture<'e, Result<T, sqlx::Error>>;

/// A database that [`super::Transactor`] can work with. Sealed.
pub trait Dialect: Database + sealed::Sealed {
    /// Whether the server itself ends a statement at `statement_timeout`. The client then bounds
    /// its own wait a little above, so that a dead network cannot hold it for ever.
    const SERVER_ENDS_STATEMENTS: bool;

    /// Classifies by the database's code, never by its text.
    fn classify_code(error: &dyn sqlx::error::DatabaseError) -> Retryability;

    /// Whether a COMMIT that failed with this code may nevertheless have happened.
    fn commit_in_doubt(error: &dyn sqlx::error::DatabaseError) -> bool;

    /// The report inside a deadlock error.
    fn deadlock(error: &sqlx::Error) -> Option<DeadlockReport>;

    /// What is sent before [`Dialect::begin`], outside of the transaction.
    fn prepare(options: &TxnOptions) -> Option<String>;

    /// The statement, or the statements in one round trip, that begin a transaction.
    fn begin(options: &TxnOptions) -> String;

    /// Whether the connection is outside of any transaction.
    fn is_clean(connection: &mut Self::Connection) -> Sent<'_, bool>;

    /// Sends statements without parameters, as they are.
    fn send(connection: &mut Self::Connection, sql: String) -> Sent<'_, ()>;

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

/// Milliseconds for a server's setting: at least one, because zero means no limit.
fn millis(duration: std::time::Duration) -> u128 {
    duration.as_millis().clamp(1, 2_000_000_000)
}
