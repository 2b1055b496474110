//! Idempotency: work that happens once, however often it is asked for.
//!
//! Decides: that the record of the work is written in the same transaction as the work, so that
//! there is one exactly if the other is; and what a duplicate, a twin, and a reused key get.
//! Never does: keep a record of work that failed.

mod key;
mod records;
mod witness;

use super::body::{BodyError, BodyFuture};
use super::dialect::Dialect;
use super::error::TxnError;
use super::options::TxnOptions;
use super::transaction::Tx;
use super::transactor::Transactor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

pub use key::{DEFAULT_TABLE, DEFAULT_TTL, IdempotencyError, IdempotencyKey, Twin, fingerprint};
pub use records::schema;
use records::{Record, Seen};

/// The result of work that happens once.
///
/// ```
/// use cupping::txn::Once;
///
/// let answer = Once::Replayed(7);
/// assert!(answer.is_replayed());
/// assert_eq!(answer.into_inner(), 7);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Once<T> {
    /// It was done now.
    Fresh(T),
    /// It had been done before; this is the result it had.
    Replayed(T),
}

impl<T> Once<T> {
    /// The result. Example: see [`Once`].
    #[must_use]
    pub fn into_inner(self) -> T {
        match self {
            Self::Fresh(result) | Self::Replayed(result) => result,
        }
    }

    /// Whether it had been done before. Example: see [`Once`].
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        matches!(self, Self::Replayed(_))
    }
}

/// How often a record that vanishes between two statements (swept) is looked for.
const LOOKS: u32 = 3;

impl<DB: Dialect> Transactor<DB> {
    /// Runs `body` in a transaction unless that was done before under the same key; then gives the
    /// result it had.
    ///
    /// The record tells what became of a COMMIT whose answer was lost, where the server cannot
    /// (MySQL and MariaDB).
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use cupping::txn::idempotency::{DEFAULT_TABLE, schema};
    /// use cupping::txn::{IdempotencyKey, Once, Transactor, TxnOptions, work};
    ///
    /// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    /// # let pool = memory.connect("sqlite::memory:").await?;
    /// # sqlx::raw_sql("CREATE TABLE account (balance INTEGER); INSERT INTO account VALUES (500)")
    /// #     .execute(&pool).await?;
    /// let table = sqlx::AssertSqlSafe(schema::<sqlx::Sqlite>(DEFAULT_TABLE));
    /// sqlx::raw_sql(table).execute(&pool).await?; // once, with your migrations
    /// let transactor = Transactor::new(pool);
    /// let key = IdempotencyKey::new("charge", "order-17", "amount=100");
    /// for expected in [Once::Fresh(400_i64), Once::Replayed(400)] {
    ///     let charged = transactor
    ///         .once("charge", &TxnOptions::default(), &key, work!(|tx| {
    ///             tx.execute("UPDATE account SET balance = balance - 100").await?;
    ///             let (balance,): (i64,) = tx.fetch_one_as("SELECT balance FROM account").await?;
    ///             Ok(balance)
    ///         }))
    ///         .await?;
    ///     assert_eq!(charged, expected);
    /// }
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sqlite"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Hazards
    /// Once means: one commit for as long as the record lives. Work that reaches outside of the
    /// database needs a key of its own there.
    ///
    /// # Errors
    /// As [`Transactor::run`]; [`IdempotencyError`] inside of [`TxnError::Body`].
    pub async fn once<T, F>(
        &self,
        name: &'static str,
        options: &TxnOptions,
        key: &IdempotencyKey,
        body: F,
    ) -> Result<Once<T>, TxnError>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: for<'t> Fn(&'t mut Tx<DB>) -> BodyFuture<'t, T> + Send + Sync + 'static,
    {
        let (key, body) = (key.clone(), Arc::new(body));
        let unit = super::body::typed::<DB, _, _>(move |tx| {
            let (key, body) = (key.clone(), Arc::clone(&body));
            Box::pin(async move { tx.once_here(&key, move |tx| body(tx)).await })
        });
        self.run(name, options, unit).await
    }
}

impl<DB: Dialect> Tx<DB> {
    /// Runs `body` behind a savepoint of this transaction unless that was done before under the
    /// same key; then gives the result it had. The record is committed, or not, with the rest of
    /// the transaction.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use cupping::txn::idempotency::{DEFAULT_TABLE, schema};
    /// use cupping::txn::{IdempotencyKey, Transactor, TxnOptions, work};
    /// use sqlx::Sqlite;
    ///
    /// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    /// # let pool = memory.connect("sqlite::memory:").await?;
    /// # let table = sqlx::AssertSqlSafe(schema::<Sqlite>(DEFAULT_TABLE));
    /// # sqlx::raw_sql(table).execute(&pool).await?;
    /// # sqlx::raw_sql("CREATE TABLE shift (owner TEXT); INSERT INTO shift VALUES ('a')")
    /// #     .execute(&pool).await?;
    /// let key = IdempotencyKey::new("swap", "request-9", "from=a,to=b");
    /// let body = work!([key] => |tx: Sqlite| {
    ///     let swapped = tx
    ///         .once(&key, work!(|tx: Sqlite| {
    ///             let swap = "UPDATE shift SET owner = 'b' WHERE owner = 'a'";
    ///             Ok(tx.execute(swap).await?.rows_affected())
    ///         }))
    ///         .await?;
    ///     Ok(swapped.into_inner())
    /// });
    /// let transactor = Transactor::new(pool);
    /// for _ in 0..2 {
    ///     // The second time nothing is swapped; the answer is the first one's.
    ///     assert_eq!(transactor.run("swap", &TxnOptions::default(), body.clone()).await?, 1);
    /// }
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sqlite"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Hazards
    /// It may wait for a twin, and no plan orders that wait: ask before locking anything else, and
    /// for one key only; or refuse twins ([`Twin::Refuse`]).
    ///
    /// # Errors
    /// What `body` failed with; [`IdempotencyError`], as the body's own failure.
    pub async fn once<T, F>(&mut self, key: &IdempotencyKey, body: F) -> Result<Once<T>, BodyError>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx<DB>) -> BodyFuture<'t, T> + Send + 'static,
    {
        let key = key.clone();
        // Work that fails and whose failure the caller survives must leave no record.
        self.scope(move |tx| Box::pin(async move { tx.once_here(&key, body).await })).await
    }

    async fn once_here<T, F>(&mut self, key: &IdempotencyKey, body: F) -> Result<Once<T>, BodyError>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx<DB>) -> BodyFuture<'t, T> + Send,
    {
        key.check().map_err(BodyError::own)?;
        let record = Record::new(key);
        for _ in 0..LOOKS {
            let registered = self.register(&record).await?;
            if registered == Some(true) {
                return self.do_once(&record, body).await.map(Once::Fresh);
            }
            match self.look(&record).await? {
                // Whoever is at it may only be reading what was done before; or it is being taken
                // over, and what is seen is the old record.
                Seen::Theirs(result, true) if registered.is_none() => {
                    return key.read(&result).map(Once::Replayed);
                }
                _ if registered.is_none() => return Err(BodyError::own(key.in_flight())),
                Seen::Ours => return self.do_once(&record, body).await.map(Once::Fresh),
                Seen::Theirs(result, _) => return key.read(&result).map(Once::Replayed),
                Seen::OtherFingerprint => return Err(BodyError::own(key.reused())),
                // Only this very transaction can see a record without a result.
                Seen::Unfinished => return Err(BodyError::own(key.in_flight())),
                Seen::Nothing => {}
            }
        }
        Err(BodyError::conflict(key.vanished()))
    }

    async fn do_once<T, F>(&mut self, record: &Record, body: F) -> Result<T, BodyError>
    where
        T: Serialize,
        F: for<'t> FnOnce(&'t mut Tx<DB>) -> BodyFuture<'t, T>,
    {
        let result = body(self).await?;
        let text = record.key.write(&result)?;
        self.tell(record.finish::<DB>(&text)).await?;
        // Any row of the transaction tells what became of it.
        if record.can_testify() {
            self.witness = Some(witness::of(record));
        }
        Ok(result)
    }
}

/// Deletes records that have expired, oldest first, at most `limit`; how many they were. To be
/// called every now and then until it finds fewer than the limit.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cupping::txn::Transactor;
/// use cupping::txn::idempotency::{DEFAULT_TABLE, schema, sweep};
///
/// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
/// # let pool = memory.connect("sqlite::memory:").await?;
/// let table = sqlx::AssertSqlSafe(schema::<sqlx::Sqlite>(DEFAULT_TABLE));
/// sqlx::raw_sql(table).execute(&pool).await?;
/// let transactor = Transactor::new(pool);
/// while sweep(&transactor, DEFAULT_TABLE, 1000).await? == 1000 {}
/// # Ok(()) }
/// # #[cfg(not(feature = "sqlite"))]
/// # fn main() {}
/// ```
///
/// # Errors
/// As [`Transactor::run`].
pub async fn sweep<DB: Dialect>(
    transactor: &Transactor<DB>,
    table: &'static str,
    limit: u32,
) -> Result<u64, TxnError> {
    let unit = super::body::typed::<DB, _, _>(move |tx| {
        Box::pin(async move { tx.tell(records::sweep::<DB>(table, limit)).await })
    });
    transactor.run("idempotency_sweep", &TxnOptions::default(), unit).await
}
