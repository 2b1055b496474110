//! The fence: a table that remembers the newest holder of a lock and refuses every older one.
//!
//! Decides: the table and the statement of each database. Never does: talk to Redis; any source
//! of rising tokens will do.
//!
//! Why: a lock that expires cannot stop a holder that was paused and does not know it yet. The
//! database can: it sees the newer holder's token, in the same transaction as the write.

use super::super::body::BodyError;
use super::super::dialect::Dialect;
use super::super::transaction::Tx;
use futures_util::future::BoxFuture;
use std::fmt;

/// The table of the fence, for a database that has it already under this name.
pub const FENCE_TABLE: &str = "cupping_fence";

/// A number that is larger for each later holder of a lock.
///
/// ```
/// use cupping::txn::redis::FencingToken;
///
/// assert!(FencingToken::new(8) > FencingToken::new(7));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(u64);

impl FencingToken {
    /// From its number, when it came from elsewhere (a message, a request).
    /// Example: see [`FencingToken`].
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number; below 2⁵³, so that any JSON reader keeps it. Example: see [`FencingToken`].
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A holder is too late: a newer one has written already. The transaction is rolled back; stop.
///
/// ```
/// use cupping::txn::TxnError;
/// use cupping::txn::redis::FenceRefused;
///
/// /// Whether a unit was refused because a newer holder has written.
/// fn too_late(error: &TxnError) -> bool {
///     matches!(error, TxnError::Body { source, .. } if source.is::<FenceRefused>())
/// }
/// # assert!(!too_late(&TxnError::Panicked { name: "swap" }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "token {presented} for {resource} is older than {newest}: the lock expired and a newer holder \
     has written; stop the work"
)]
pub struct FenceRefused {
    /// What is fenced.
    pub resource: String,
    /// The token of the late holder.
    pub presented: FencingToken,
    /// The newest token that has been seen.
    pub newest: FencingToken,
}

/// A database that can hold a fence.
///
/// ```
/// use cupping::txn::redis::{FENCE_TABLE, Fenced};
///
/// # #[cfg(feature = "postgres")]
/// assert!(<sqlx::Postgres as Fenced>::DDL.contains(FENCE_TABLE));
/// ```
pub trait Fenced: Dialect {
    /// Creates the table unless it is there.
    const DDL: &'static str;

    /// Remembers the token unless a newer one is remembered; answers with the newest.
    #[doc(hidden)]
    fn remember<'t>(
        tx: &'t mut Tx<Self>,
        resource: &'t str,
        token: i64,
    ) -> BoxFuture<'t, Result<i64, BodyError>>;
}

/// Admits the holder of a lock to this transaction, or refuses it because a newer holder has been
/// here. Call it first in every transaction that writes what the lock protects; the row it locks
/// also makes two holders' transactions follow one another.
///
/// ```no_run
/// # use cupping::txn::redis::{Fenced, FencingToken, fence};
/// # use cupping::txn::{Transactor, TxnError, TxnOptions, work};
/// # async fn example(pool: sqlx::PgPool, token: FencingToken) -> Result<(), TxnError> {
/// // once: sqlx::raw_sql(<sqlx::Postgres as Fenced>::DDL)
/// Transactor::new(pool)
///     .run("swap", &TxnOptions::default(), work!([token] => |tx| {
///         fence(tx, "schedule/week-7", token).await?;
///         tx.execute("UPDATE schedule SET version = version + 1 WHERE id = 7").await?;
///         Ok(())
///     }))
///     .await
/// # }
/// ```
///
/// # Errors
/// [`FenceRefused`] as the body's own error (the transaction is rolled back and not tried again),
/// or the database's.
///
/// # Hazards
/// It protects what is written in this transaction and nothing else. A writer that does not call
/// it is not fenced.
pub async fn fence<DB: Fenced>(
    tx: &mut Tx<DB>,
    resource: &str,
    token: FencingToken,
) -> Result<(), BodyError> {
    let number = i64::try_from(token.0).unwrap_or(i64::MAX);
    let newest = DB::remember(tx, resource, number).await?;
    if newest > number {
        let newest = FencingToken(newest.unsigned_abs());
        return Err(FenceRefused { resource: resource.to_owned(), presented: token, newest }.into());
    }
    Ok(())
}

/// The form of PostgreSQL and SQLite: an upsert that leaves a newer token alone, then a look at
/// what is there. The upsert has locked the row (or there was a newer token, which stays newer).
#[cfg(any(feature = "postgres", feature = "sqlite"))]
macro_rules! remembering {
    ($upsert:literal, $newest:literal) => {
        fn remember<'t>(
            tx: &'t mut Tx<Self>,
            resource: &'t str,
            token: i64,
        ) -> BoxFuture<'t, Result<i64, BodyError>> {
            Box::pin(async move {
                let upsert = sqlx::query($upsert).bind(resource).bind(token);
                if tx.execute(upsert).await?.rows_affected() > 0 {
                    return Ok(token);
                }
                let newest = tx.fetch_one(sqlx::query($newest).bind(resource)).await?;
                Ok(sqlx::Row::try_get(&newest, 0)?)
            })
        }
    };
}

#[cfg(feature = "postgres")]
impl Fenced for sqlx::Postgres {
    const DDL: &'static str = "CREATE TABLE IF NOT EXISTS cupping_fence (
        resource text PRIMARY KEY,
        token bigint NOT NULL
    )";

    remembering!(
        "INSERT INTO cupping_fence AS f (resource, token) VALUES ($1, $2)
         ON CONFLICT (resource) DO UPDATE SET token = EXCLUDED.token
         WHERE f.token <= EXCLUDED.token",
        "SELECT token FROM cupping_fence WHERE resource = $1"
    );
}

#[cfg(feature = "sqlite")]
impl Fenced for sqlx::Sqlite {
    const DDL: &'static str = "CREATE TABLE IF NOT EXISTS cupping_fence (
        resource TEXT PRIMARY KEY NOT NULL,
        token INTEGER NOT NULL
    ) WITHOUT ROWID";

    remembering!(
        "INSERT INTO cupping_fence AS f (resource, token) VALUES (?1, ?2)
         ON CONFLICT (resource) DO UPDATE SET token = EXCLUDED.token
         WHERE f.token <= EXCLUDED.token",
        "SELECT token FROM cupping_fence WHERE resource = ?1"
    );
}

#[cfg(feature = "mysql")]
impl Fenced for sqlx::MySql {
    const DDL: &'static str = "CREATE TABLE IF NOT EXISTS cupping_fence (
        resource varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
        token bigint NOT NULL
    ) ENGINE = InnoDB";

    fn remember<'t>(
        tx: &'t mut Tx<Self>,
        resource: &'t str,
        token: i64,
    ) -> BoxFuture<'t, Result<i64, BodyError>> {
        Box::pin(async move {
            // No condition is possible here, and the count of rows says nothing (it depends on a
            // flag of the connection): so keep the larger and look.
            let upsert = "INSERT INTO cupping_fence (resource, token) VALUES (?, ?)
                          ON DUPLICATE KEY UPDATE token = GREATEST(token, VALUES(token))";
            tx.execute(sqlx::query(upsert).bind(resource).bind(token)).await?;
            // FOR UPDATE reads what is there now, not what the snapshot saw.
            let newest = "SELECT token FROM cupping_fence WHERE resource = ? FOR UPDATE";
            let newest = tx.fetch_one(sqlx::query(newest).bind(resource)).await?;
            Ok(sqlx::Row::try_get(&newest, 0)?)
        })
    }
}
