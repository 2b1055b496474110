//! Scopes: parts of a transaction that can be rolled back alone.
//!
//! Decides: which failures a scope may absorb (errors of the data, and the body's own) and which
//! are the whole transaction's. Never does: retry; a scope has neither attempts nor options.
//!
//! Why a deadlock inside a scope is the whole transaction's: on PostgreSQL the locks taken before
//! the savepoint are still held, so the same cycle can close again; on InnoDB the server has rolled
//! back everything already, the savepoint included.

use super::body::{BodyError, BodyFuture, Cause};
use super::dialect::Dialect;
use super::transaction::Tx;
use crate::resilience::retryability::Retryability;

impl<DB: Dialect> Tx<DB> {
    /// Runs `body` behind a savepoint. When it fails by the data (a duplicate, a broken constraint)
    /// or on its own account, its statements are undone, its effects forgotten, and the transaction
    /// goes on; when it fails by a conflict, a timeout or the connection, so does the whole unit,
    /// which then runs again, whatever the caller does with the error.
    ///
    /// Scopes nest.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use cupping::txn::{Transactor, TxnOptions, work};
    /// use sqlx::Sqlite;
    ///
    /// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    /// # let pool = memory.connect("sqlite::memory:").await?;
    /// # sqlx::raw_sql("CREATE TABLE tag (name TEXT UNIQUE)").execute(&pool).await?;
    /// let tags = Transactor::new(pool)
    ///     .run("tag", &TxnOptions::default(), work!(|tx| {
    ///         let mut added = 0;
    ///         for tag in ["sweet", "clean", "sweet"] {
    ///             let tried = tx
    ///                 .scope(work!(|tx: Sqlite| {
    ///                     tx.execute(sqlx::query("INSERT INTO tag VALUES (?)").bind(tag)).await?;
    ///                     Ok(())
    ///                 }))
    ///                 .await;
    ///             match tried {
    ///                 Ok(()) => added += 1,
    ///                 // A duplicate, say: the transaction is as it was before the scope.
    ///                 Err(error) => tracing::info!(%error, tag, "not added"),
    ///             }
    ///         }
    ///         Ok(added)
    ///     }))
    ///     .await?;
    /// assert_eq!(tags, 2);
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sqlite"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Hazards
    /// Locks: PostgreSQL gives back what the scope had locked; InnoDB keeps it until the end. For
    /// the order of locks both count as still held.
    ///
    /// # Errors
    /// What `body` failed with; an error that it swallowed is given back too.
    pub async fn scope<T, F>(&mut self, body: F) -> Result<T, BodyError>
    where
        F: for<'t> FnOnce(&'t mut Tx<DB>) -> BodyFuture<'t, T>,
    {
        self.admit()?;
        let savepoint = format!("cupping_{}", self.depth + 1);
        self.command(format!("SAVEPOINT {savepoint}")).await?;
        let effects = self.effects.len();
        let witness = self.witness.clone();
        self.depth += 1;
        let result = body(self).await;
        self.depth -= 1;
        let failure = match (result, self.first_error()) {
            (Ok(value), None) => {
                self.command(format!("RELEASE SAVEPOINT {savepoint}")).await?;
                return Ok(value);
            }
            (Ok(_), Some(first)) | (Err(BodyError(Cause::Poisoned)), Some(first)) => {
                BodyError(Cause::Database(first))
            }
            (Err(error), _) => error,
        };
        if self.is_of_the_whole(&failure) {
            return Err(failure);
        }
        self.clear_poison();
        self.effects.truncate(effects);
        self.witness = witness;
        let undo = format!("ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}");
        self.command(undo).await?;
        Err(failure)
    }

    /// Whether a failure inside a scope is the whole transaction's.
    fn is_of_the_whole(&self, failure: &BodyError) -> bool {
        let poisoned = self.first_error();
        let fatal = |error: &sqlx::Error| {
            // Errors that are not the database's (a row that cannot be read) leave it as it was.
            let told = error.as_database_error().is_some();
            match DB::classify(error) {
                Retryability::Permanent => !told && poisoned.is_some(),
                _ => true,
            }
        };
        match &failure.0 {
            Cause::Gate(_)
            | Cause::Abandoned
            | Cause::Poisoned
            | Cause::Again(..)
            | Cause::Inversion(_) => true,
            Cause::Database(error) => fatal(error),
            Cause::LockOrder(_) | Cause::Own(_) => poisoned.as_deref().is_some_and(fatal),
        }
    }

    pub(super) async fn command(&mut self, sql: String) -> Result<(), BodyError> {
        let sent = DB::send(&mut self.connection, sql);
        let answer = self.watch.answered(sent).await;
        self.remember(answer)
    }
}
