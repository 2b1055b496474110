//! One open transaction, as its body sees it.
//!
//! Decides: that nothing is sent after a first error (the transaction is poisoned) or after the
//! caller has given up, and that a connection in doubt never goes back to its pool.
//! Never does: retry.

use super::body::{BodyError, Cause};
use super::dialect::Dialect;
use super::effects::Effects;
use super::lockdep::{Recorder, Site};
use super::locks::Held;
use super::options::TxnOptions;
use super::outcome::Transaction;
use super::progress::Progress;
use super::watch::Watch;
use super::witness::Witness;
use crate::resilience::retryability::{Reason, Retryability};
use futures_util::FutureExt;
use sqlx::Pool;
use sqlx::pool::PoolConnection;
use std::future::Future;
use std::sync::Arc;

/// An open transaction. Handed to a body by [`super::Transactor::run`]; committed or rolled back
/// there, never by the body.
///
/// There is no retry in here: a unit runs again from its beginning or not at all, so a `Tx` cannot
/// run a unit of its own.
///
/// ```compile_fail
/// # use cupping::txn::{Tx, TxnOptions, BodyError, work};
/// # #[cfg(feature = "postgres")]
/// async fn nested(tx: &mut Tx<sqlx::Postgres>) {
///     tx.run("inner", &TxnOptions::default(), work!(|tx| { Ok(()) })).await;
/// }
/// # #[cfg(not(feature = "postgres"))] compile_error!("postgres only");
/// ```
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cupping::txn::{Transactor, TxnOptions, work};
///
/// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
/// # let pool = memory.connect("sqlite::memory:").await?;
/// let beans: i64 = Transactor::new(pool)
///     .run("stock", &TxnOptions::default(), work!(|tx| {
///         tx.execute("CREATE TABLE bean (name TEXT)").await?;
///         tx.execute("INSERT INTO bean VALUES ('Guji'), ('Huila')").await?;
///         let (count,) = tx.fetch_one_as("SELECT count(*) FROM bean").await?;
///         Ok(count)
///     }))
///     .await?;
/// assert_eq!(beans, 2);
/// # Ok(()) }
/// # #[cfg(not(feature = "sqlite"))]
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct Tx<DB: Dialect> {
    pub(super) connection: PoolConnection<DB>,
    pub(super) watch: Watch<DB>,
    poison: Option<Arc<sqlx::Error>>,
    pub(super) open: bool,
    broken: bool,
    pub(super) unseen: bool,
    number: Option<Transaction>,
    asks_number: bool,
    pub(super) restore: Option<String>,
    /// Statements that give back what outlives a transaction.
    pub(super) farewell: Vec<String>,
    session: Option<u64>,
    pub(super) depth: u32,
    pub(super) held: Held,
    pub(super) effects: Effects,
    pub(super) witness: Option<Witness<DB>>,
    pub(super) recorder: Recorder,
}

/// What is left of a transaction when it is committed.
pub(super) struct Committed {
    pub(super) effects: Effects,
}

/// A COMMIT that failed, with what is needed to find out what became of it.
pub(super) struct CommitFailed<DB: Dialect> {
    pub(super) error: sqlx::Error,
    pub(super) number: Option<Transaction>,
    pub(super) witness: Option<Witness<DB>>,
    pub(super) effects: Effects,
}

impl<DB: Dialect> Tx<DB> {
    pub(super) async fn begin(
        pool: &Pool<DB>,
        connection: PoolConnection<DB>,
        (name, label): (&'static str, Option<&str>),
        options: &TxnOptions,
        progress: Arc<Progress>,
    ) -> Result<Self, sqlx::Error> {
        let watch = Watch::new(name, progress, options.statement_timeout, pool.connect_options());
        let mut tx = Self {
            connection,
            watch,
            poison: None,
            open: true,
            broken: false,
            unseen: false,
            number: None,
            asks_number: false,
            restore: None,
            farewell: Vec::new(),
            session: None,
            depth: 0,
            held: Held::default(),
            effects: Effects::default(),
            witness: None,
            recorder: Recorder::default(),
        };
        let begun = DB::begin(&mut tx.connection, options, label);
        match tx.watch.ended(begun).await {
            Ok(begun) => {
                tx.asks_number = begun.transaction.is_none() && options.resolves_commit();
                (tx.number, tx.restore) = (begun.transaction, begun.restore);
                tx.session = begun.session;
                tx.watch.set_session(begun.session);
                Ok(tx)
            }
            Err(error) => {
                // A database that could not grant the lock has not begun (SQLite); after any
                // other error the connection is closed.
                tx.open = !DB::refused_begin(&error);
                Err(error)
            }
        }
    }

    /// The session's number on the server (backend process, connection id), as its logs and views
    /// show it; `None` on SQLite.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use cupping::txn::{Transactor, TxnOptions, work};
    /// # use sqlx::Sqlite;
    /// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    /// # let pool = memory.connect("sqlite::memory:").await?;
    /// # let body = work!(|tx: Sqlite| {
    /// tracing::info!(db.session = tx.session(), "to be found in pg_stat_activity");
    /// # Ok(()) });
    /// # Transactor::new(pool).run("example", &TxnOptions::default(), body).await?;
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sqlite"))]
    /// # fn main() {}
    /// ```
    #[must_use]
    pub fn session(&self) -> Option<u64> {
        self.session
    }

    /// Runs existing code on the connection inside this transaction: a function that takes
    /// `&mut PgConnection` and returns sqlx's errors.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use cupping::txn::{Transactor, TxnOptions, work};
    /// use sqlx::SqliteConnection;
    ///
    /// /// Code that was there before.
    /// async fn add(connection: &mut SqliteConnection, bean: &str) -> Result<u64, sqlx::Error> {
    ///     let insert = sqlx::query("INSERT INTO bean VALUES (?)").bind(bean.to_owned());
    ///     Ok(insert.execute(connection).await?.rows_affected())
    /// }
    ///
    /// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    /// # let pool = memory.connect("sqlite::memory:").await?;
    /// let added = Transactor::new(pool)
    ///     .run("add", &TxnOptions::default(), work!(|tx| {
    ///         tx.execute("CREATE TABLE bean (name TEXT)").await?;
    ///         tx.with_connection(|connection| Box::pin(add(connection, "Guji"))).await
    ///     }))
    ///     .await?;
    /// assert_eq!(added, 1);
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sqlite"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Hazards
    /// The code must neither begin nor end a transaction. An error that it swallows is noticed
    /// before COMMIT where the database tells (PostgreSQL), at the price of a round trip.
    ///
    /// # Errors
    /// As [`Tx::execute`].
    #[track_caller]
    pub fn with_connection<T, F>(
        &mut self,
        code: F,
    ) -> impl Future<Output = Result<T, BodyError>> + Send
    where
        T: Send,
        F: for<'c> FnOnce(&'c mut DB::Connection) -> super::dialect::Sent<'c, T> + Send,
    {
        let site = Site::here();
        async move {
            self.admit()?;
            self.unseen = true;
            self.recorder.unseen(site);
            let answer = self.watch.answered(code(&mut self.connection)).await;
            self.remember(answer)
        }
    }

    /// Has `effect` run once, after the commit is known, before [`super::Transactor::run`] returns:
    /// for what must not happen for a transaction that is rolled back or run again (telling
    /// watching clients). Effects run in the order in which they were registered.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use cupping::txn::{Transactor, TxnOptions, work};
    /// use tokio::sync::mpsc;
    ///
    /// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    /// # let pool = memory.connect("sqlite::memory:").await?;
    /// let (moves, mut watching) = mpsc::channel(8);
    /// Transactor::new(pool)
    ///     .run("move", &TxnOptions::default(), work!([moves] => |tx| {
    ///         tx.execute("CREATE TABLE ticket (id INTEGER)").await?;
    ///         tx.after_commit(move || async move {
    ///             moves.send("moved").await.ok();
    ///         });
    ///         Ok(())
    ///     }))
    ///     .await?;
    /// assert_eq!(watching.recv().await, Some("moved"));
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sqlite"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Hazards
    /// A process that dies between the commit and the effect never runs it: what must not be lost
    /// belongs into a table of the same transaction (an outbox).
    pub fn after_commit<F, Fut>(&mut self, effect: F)
    where
        F: FnOnce() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.effects.add(Box::new(move || effect().boxed()));
    }

    /// Refuses to send when it would be in vain.
    pub(super) fn admit(&self) -> Result<(), BodyError> {
        if self.poison.is_some() {
            return Err(BodyError(Cause::Poisoned));
        }
        if self.watch.is_abandoned() {
            return Err(BodyError(Cause::Abandoned));
        }
        Ok(())
    }

    pub(super) fn remember<T>(&mut self, answer: Result<T, sqlx::Error>) -> Result<T, BodyError> {
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

    /// After a scope has been rolled back on the server.
    pub(super) fn clear_poison(&mut self) {
        self.poison = None;
    }

    /// What has to be asked before COMMIT: an error that code of the caller's own swallowed, and
    /// the transaction's number where it was not to be asked earlier.
    pub(super) async fn before_commit(&mut self) -> Result<(), BodyError> {
        self.recorder.verdict()?;
        if self.unseen && self.poison.is_none() {
            let sent = DB::send(&mut self.connection, "SELECT 1".into());
            let answer = self.watch.answered(sent).await;
            self.remember(answer)?;
        }
        if self.asks_number {
            let sent = DB::number(&mut self.connection);
            let answer = self.watch.answered(sent).await;
            self.number = self.remember(answer)?;
        }
        Ok(())
    }

    /// Sends COMMIT; the connection goes back to its pool if the answer was good.
    pub(super) async fn commit(mut self) -> Result<Committed, CommitFailed<DB>> {
        let sent = DB::send(&mut self.connection, "COMMIT".into());
        let answer = self.watch.ended(sent).await;
        let effects = std::mem::take(&mut self.effects);
        match answer {
            Ok(()) => {
                self.release().await;
                Ok(Committed { effects })
            }
            Err(error) => {
                let (number, witness) = (self.number.take(), self.witness.take());
                if !DB::in_doubt(&error) {
                    self.rollback().await;
                }
                Err(CommitFailed { error, number, witness, effects })
            }
        }
    }

    /// Rolls back; a connection that is broken, or on which that fails, is closed.
    pub(super) async fn rollback(mut self) {
        if self.broken {
            return;
        }
        let sent = DB::send(&mut self.connection, "ROLLBACK".into());
        if self.watch.ended(sent).await.is_ok() {
            self.release().await;
        }
    }
}
