//! Claims: work for which several compete, each row taken by one and waited for by none.
//!
//! Decides: that a row held by somebody else is passed over (`SKIP LOCKED`), and how work is
//! divided by id. Never does: wait, or mark a row as taken: the lock is the claim, and it ends with
//! the transaction.

use super::body::BodyError;
use super::dialect::{Dialect, Family};
use super::locks::{Entry, LockIds, Strength, TableRank, lock_clause};
use super::statement::{Statement, as_text};
use super::transaction::Tx;

mod partition;

pub use partition::{NoSuchPart, Partition};

/// Which rows are to be claimed.
///
/// ```
/// use cupping::txn::{Claim, Partition, TableRank};
///
/// const JOB: TableRank = TableRank::new(9, "job", "id");
///
/// let half = Partition::new(2, 0)?;
/// let claim = Claim::of(JOB).filter("r.state = 'due'").limit(20).partition(half);
/// # drop(claim); Ok::<(), cupping::txn::NoSuchPart>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    table: TableRank,
    filter: &'static str,
    limit: u32,
    partition: Option<Partition>,
}

/// Rows claimed at once where no limit is given.
const LIMIT: u32 = 100;

impl Claim {
    /// Rows of a table, a hundred at most. Its rank counts as if they had been locked by a plan.
    /// Example: see [`Claim`].
    #[must_use]
    pub const fn of(table: TableRank) -> Self {
        Self { table, filter: "", limit: LIMIT, partition: None }
    }

    /// Only rows of which this holds; the table is called `r` in it. Written into the statement as
    /// it is: a constant, never input. Example: see [`Claim`].
    #[must_use]
    pub const fn filter(self, filter: &'static str) -> Self {
        Self { filter, ..self }
    }

    /// At most so many. Example: see [`Claim`].
    #[must_use]
    pub const fn limit(self, limit: u32) -> Self {
        Self { limit, ..self }
    }

    /// Only this part of the ids; the key must be an integer. Example: see [`Claim`].
    #[must_use]
    pub const fn partition(self, partition: Partition) -> Self {
        Self { partition: Some(partition), ..self }
    }

    fn statement<DB: Dialect>(&self) -> Statement<DB> {
        let (family, key) = (DB::FAMILY, format!("r.{}", self.table.key));
        let column = as_text(family, &key);
        let mut conditions = Vec::new();
        if !self.filter.is_empty() {
            conditions.push(format!("({})", self.filter));
        }
        conditions.extend(self.partition.map(|partition| partition.sql(family, &key)));
        let mut text = format!("SELECT {column} FROM {} AS r", self.table.table);
        if !conditions.is_empty() {
            text.push_str(" WHERE ");
            text.push_str(&conditions.join(" AND "));
        }
        let skip = if family == Family::Sqlite { "" } else { " SKIP LOCKED" };
        let lock = lock_clause(family, Strength::NoKeyUpdate, false);
        Statement::new(format!("{text} ORDER BY {key} LIMIT {}{lock}{skip}", self.limit))
    }
}

impl<DB: Dialect> Tx<DB> {
    /// Claims rows with integer keys until the transaction ends, lowest first, passing over those
    /// that somebody else holds. Never waits for a row, so it may be asked for in any order; what
    /// it got counts as held.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use cupping::txn::{Transactor, TxnOptions, work};
    /// # use sqlx::Sqlite;
    /// use cupping::txn::{Claim, TableRank};
    ///
    /// const JOB: TableRank = TableRank::new(9, "job", "id");
    ///
    /// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    /// # let pool = memory.connect("sqlite::memory:").await?;
    /// # sqlx::raw_sql("CREATE TABLE job (id INTEGER PRIMARY KEY, state TEXT);
    /// #                INSERT INTO job VALUES (1, 'due'), (2, 'done'), (3, 'due')")
    /// #     .execute(&pool).await?;
    /// # let body = work!(|tx: Sqlite| {
    /// let jobs = tx.claim(&Claim::of(JOB).filter("r.state = 'due'").limit(20)).await?;
    /// assert_eq!(jobs, [1, 3]);
    /// for job in jobs {
    ///     let done = sqlx::query("UPDATE job SET state = 'done' WHERE id = ?").bind(job);
    ///     tx.execute(done).await?;
    /// }
    /// # Ok(()) });
    /// # Transactor::new(pool).run("example", &TxnOptions::default(), body).await?;
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sqlite"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Hazards
    /// An empty answer does not mean that there is no work: somebody else may be at it, and give it
    /// back undone. A claim lives as long as its transaction, so the work has to be short; for long
    /// work write a lease into the row.
    ///
    /// On InnoDB at REPEATABLE READ rows that were looked at and do not match stay locked too.
    ///
    /// SQLite has no row locks: a transaction that writes excludes all others from its beginning,
    /// so claimers wait for one another there.
    ///
    /// # Errors
    /// As [`Tx::execute`].
    pub async fn claim(&mut self, claim: &Claim) -> Result<Vec<i64>, BodyError> {
        let ids = self.claimed(claim, &LockIds::from(Vec::<i64>::new())).await?;
        Ok(ids.ints().to_vec())
    }

    /// As [`Tx::claim`], where keys are texts. Example: see [`Tx::claim`].
    ///
    /// # Errors
    /// As [`Tx::claim`].
    pub async fn claim_texts(&mut self, claim: &Claim) -> Result<Vec<String>, BodyError> {
        let ids = self.claimed(claim, &LockIds::from(Vec::<String>::new())).await?;
        Ok(ids.texts().to_vec())
    }

    async fn claimed(&mut self, claim: &Claim, kind: &LockIds) -> Result<LockIds, BodyError> {
        let rows = self.ask(claim.statement::<DB>()).await?;
        let texts: Result<Vec<_>, _> = rows.iter().map(|row| DB::text(row, 0)).collect();
        let ids = kind.read(texts?.into_iter().flatten().collect())?;
        self.held.hold_rows(&[Entry::taken(claim.table, ids.clone())]);
        Ok(ids)
    }
}
