//! One open transaction, as its body sees it.
//!
//! Decides: that nothing is sent after a first error (the transaction is poisoned) or after the
//! caller has given up, and that a connection in doubt never goes back to its pool.
//! Never does: retry.

use super::body::{BodyError, Cause};
use super::dialect::Dialect;
use super::locks::Held;
use super::options::TxnOptions;
use super::progress::Progress;
use crate::resilience::retryability::{Reason, Retryability};
use sqlx::pool::PoolConnection;
use sqlx::{Execute, FromRow};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How much longer than the server's own timeout the client waits for a statement's answer.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// An open transaction. Handed to a body by [`super::Transactor::run`]; committed or rolled back
/// there, never by the body.
#[derive(Debug)]
pub struct Tx<DB: Dialect> {
    connection: PoolConnection<DB>,
    progress: Arc<Progress>,
    answer_within: Option<Duration>,
    poison: Option<Arc<sqlx::Error>>,
    open: bool,
    broken: bool,
    pub(super) held: Held,
}

impl<DB: Dialect> Tx<DB> {
    pub(super) async fn begin(
        mut connection: PoolConnection<DB>,
        options: &TxnOptions,
        progress: Arc<Progress>,
    ) -> Result<Self, sqlx::Error> {
        let answer_within =
            DB::SERVER_ENDS_STATEMENTS.then(|| options.statement_timeout + ANSWER_GRACE);
        if let Some(sql) = DB::prepare(options) {
            DB::send(&mut connection, sql).await?;
        }
        let mut tx = Self {
            connection,
            progress,
            answer_within,
            poison: None,
            open: true,
            broken: false,
            held: Held::default(),
        };
        let begun = DB::send(&mut tx.connection, DB::begin(options));
        match answered(answer_within, begun).await {
            Ok(()) => Ok(tx),
            Err(error) => {
                // A database that could not grant the lock has not begun (SQLite); after any
                // other error the connection is closed.
                tx.open =
                    !matches!(DB::classify(&error), Retryability::Transient(Reason::LockTimeout));
                Err(error)
            }
        }
    }

    /// Sends a query for its effect.
    ///
    /// # Errors
    /// When the database fails; from then on every statement and the commit are refused.
    pub async fn execute<'q, E>(&mut self, query: E) -> Result<DB::QueryResult, BodyError>
    where
        E: Execute<'q, DB> + 'q,
    {
        self.admit()?;
        let sent = DB::execute(&mut self.connection, query);
        let answer = answered(self.answer_within, sent).await;
        self.remember(answer)
    }

    /// Sends a query for its rows.
    ///
    /// # Errors
    /// As [`Tx::execute`].
    pub async fn fetch_all<'q, E>(&mut self, query: E) -> Result<Vec<DB::Row>, BodyError>
    where
        E: Execute<'q, DB> + 'q,
    {
        self.admit()?;
        let sent = DB::fetch_all(&mut self.connection, query);
        let answer = answered(self.answer_within, sent).await;
        self.remember(answer)
    }

    /// Sends a query for at most one row.
    ///
    /// # Errors
    /// As [`Tx::execute`].
    pub async fn fetch_optional<'q, E>(&mut self, query: E) -> Result<Option<DB::Row>, BodyError>
    where
        E: Execute<'q, DB> + 'q,
    {
        self.admit()?;
        let sent = DB::fetch_optional(&mut self.connection, query);
        let answer = answered(self.answer_within, sent).await;
        self.remember(answer)
    }

    /// Sends a query for one row.
    ///
    /// # Errors
    /// As [`Tx::execute`]; and `RowNotFound`, which does not poison.
    pub async fn fetch_one<'q, E>(&mut self, query: E) -> Result<DB::Row, BodyError>
    where
        E: Execute<'q, DB> + 'q,
    {
        let row = self.fetch_optional(query).await?;
        Ok(row.ok_or(sqlx::Error::RowNotFound)?)
    }

    /// Sends a query for its rows, each read as an `O` (a tuple, a struct).
    ///
    /// # Errors
    /// As [`Tx::execute`]; and when a row cannot be read as an `O`.
    pub async fn fetch_all_as<'q, O, E>(&mut self, query: E) -> Result<Vec<O>, BodyError>
    where
        O: for<'r> FromRow<'r, DB::Row>,
        E: Execute<'q, DB> + 'q,
    {
        let rows = self.fetch_all(query).await?;
        let read: Result<Vec<O>, sqlx::Error> = rows.iter().map(O::from_row).collect();
        Ok(read?)
    }

    /// Sends a query for at most one row, read as an `O`.
    ///
    /// # Errors
    /// As [`Tx::fetch_all_as`].
    pub async fn fetch_optional_as<'q, O, E>(&mut self, query: E) -> Result<Option<O>, BodyError>
    where
        O: for<'r> FromRow<'r, DB::Row>,
        E: Execute<'q, DB> + 'q,
    {
        let row = self.fetch_optional(query).await?;
        Ok(row.as_ref().map(O::from_row).transpose()?)
    }

    /// Refuses to send when it would be in vain.
    fn admit(&self) -> Result<(), BodyError> {
        if self.poison.is_some() {
            return Err(BodyError(Cause::Poisoned));
        }
        if self.progress.is_abandoned() {
            return Err(BodyError(Cause::Abandoned));
        }
        Ok(())
    }

    fn remember<T>(&mut self, answer: Result<T, sqlx::Error>) -> Result<T, BodyError> {
        answer.map_err(|error| {
            let error = Arc::new(error);
            self.poison = Some(Arc::clone(&error));
            self.broken =
                matches!(DB::classify(&error), Retryability::Transient(Reason::Connection));
            BodyError(Cause::Database(error))
        })
    }

    /// The first error: it decides what becomes of the whole.
    pub(super) fn first_error(&self) -> Option<Arc<sqlx::Error>> {
        self.poison.clone()
    }

    /// Sends COMMIT; the connection goes back to its pool if the answer was good.
    pub(super) async fn commit(mut self) -> Result<(), (Self, sqlx::Error)> {
        let sent = DB::send(&mut self.connection, "COMMIT".into());
        match answered(self.answer_within, sent).await {
            Ok(()) => {
                self.open = false;
                Ok(())
            }
            Err(error) => Err((self, error)),
        }
    }

    /// Rolls back; a connection that is broken, or on which that fails, is closed.
    pub(super) async fn rollback(mut self) {
        if self.broken {
            return;
        }
        let sent = DB::send(&mut self.connection, "ROLLBACK".into());
        if answered(self.answer_within, sent).await.is_ok() {
            self.open = false;
        }
    }
}

impl<DB: Dialect> Drop for Tx<DB> {
    fn drop(&mut self) {
        // Ended neither way (a panic, a lost connection): the server rolls back when it is closed.
        if self.open {
            self.connection.close_on_drop();
        }
    }
}

/// Waits for an answer, within a bound where the server promises one.
async fn answered<T>(
    within: Option<Duration>,
    sent: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let Some(within) = within else { return sent.await };
    tokio::time::timeout(within, sent).await.unwrap_or_else(|_| {
        let message = format!("no answer within {within:?}, though the server ends statements");
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, message)))
    })
}
