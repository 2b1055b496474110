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
    /// ```no_run
    /// # #[cfg(feature = "mysql")]
    /// # async fn example(transactor: cupping::txn::Transactor<sqlx::MySql>)
    /// # -> Result<(), cupping::txn::TxnError> {
    /// use cupping::txn::{IdempotencyKey, TxnOptions, work};
    ///
    /// let key = IdempotencyKey::new("charge", "order-17", "amount=100");
    /// let charged = transactor
    ///     .once("charge", &TxnOptions::default(), &key, work!(|tx| {
    ///         let done = tx.execute("UPDATE account SET balance = balance - 100").await?;
    ///         Ok(done.rows_affected())
    ///     }))
    ///     .await?;
    /// # drop(charged); Ok(()) }
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
    /// ```no_run
    /// # #[cfg(feature = "postgres")]
    /// # async fn example(tx: &mut cupping::txn::Tx<sqlx::Postgres>)
    /// # -> Result<(), cupping::txn::BodyError> {
    /// use cupping::txn::{IdempotencyKey, work};
    /// use sqlx::Postgres;
    ///
    /// let key = IdempotencyKey::new("swap", "request-9", "from=a,to=b");
    /// let swapped = tx
    ///     .once(&key, work!(|tx: Postgres| {
    ///         tx.execute("UPDATE shift SET owner = 'b' WHERE owner = 'a'").await?;
    ///         Ok("done".to_owned())
    ///     }))
    ///     .await?;
    /// # drop(swapped); Ok(()) }
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
/// ```no_run
/// # #[cfg(feature = "postgres")]
/// # async fn example(transactor: cupping::txn::Transactor<sqlx::Postgres>)
/// # -> Result<(), cupping::txn::TxnError> {
/// use cupping::txn::idempotency::{DEFAULT_TABLE, sweep};
///
/// while sweep(&transactor, DEFAULT_TABLE, 1000).await? == 1000 {}
/// # Ok(()) }
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
