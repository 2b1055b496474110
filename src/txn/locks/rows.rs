//! Locking the rows of a plan.
//!
//! Decides: the statement that locks, and that a busy row is a value and not a failure where the
//! caller asked so. Never does: judge the order (see `held`).

use super::ids::LockIds;
use super::plan::{Entry, LockPlan, Locked, Strength, TryLocked};
use crate::resilience::retryability::{Reason, Retryability};
use crate::txn::body::{BodyError, Cause};
use crate::txn::dialect::{Dialect, Family};
use crate::txn::events;
use crate::txn::lockdep::Site;
use crate::txn::statement::Statement;
use crate::txn::transaction::Tx;
use std::future::Future;
use std::time::Instant;

impl<DB: Dialect> Tx<DB> {
    /// Locks the rows of a plan until the transaction ends: tables by rank, ids ascending, one
    /// statement a table (a thousand ids each on MySQL and MariaDB). Reports which rows there are.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use cupping::txn::{Transactor, TxnOptions, work};
    /// # use sqlx::Sqlite;
    /// use cupping::txn::{LockIds, LockPlan, TableRank};
    ///
    /// const REGION: TableRank = TableRank::new(1, "region", "id");
    ///
    /// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    /// # let pool = memory.connect("sqlite::memory:").await?;
    /// # sqlx::raw_sql("CREATE TABLE region (id INTEGER PRIMARY KEY);
    /// #                INSERT INTO region VALUES (2)")
    /// #     .execute(&pool).await?;
    /// # let body = work!(|tx: Sqlite| {
    /// let locked = tx.lock_rows(&LockPlan::new().rows(REGION, vec![7_i64, 2])).await?;
    /// assert_eq!(locked.missing(&REGION), Some(LockIds::from(vec![7_i64])));
    /// # Ok(()) });
    /// # Transactor::new(pool).run("example", &TxnOptions::default(), body).await?;
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sqlite"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Hazards
    /// A row that is not there is not locked: another transaction may insert it. (InnoDB locks the
    /// gap at REPEATABLE READ, which keeps others from inserting, but two may hold the same gap.)
    ///
    /// On MySQL and MariaDB `key` has to be the primary key: InnoDB locks in the order of the index
    /// that it reads, so the statement forces that one.
    ///
    /// The plan orders what it locks. Statements that lock more (an UPDATE of rows that are in no
    /// plan, a cascade, a trigger) are not seen.
    ///
    /// # Errors
    /// When a lock is not granted in time; when rows held already are not all below those of the
    /// plan, which fails the unit as `LockOrder`.
    #[track_caller]
    pub fn lock_rows<'a>(
        &'a mut self,
        plan: &'a LockPlan,
    ) -> impl Future<Output = Result<Locked, BodyError>> + Send + 'a {
        let site = Site::here();
        self.lock_rows_at(site, plan)
    }

    async fn lock_rows_at(&mut self, site: Site, plan: &LockPlan) -> Result<Locked, BodyError> {
        let entries = plan.ordered()?;
        self.held.admit_rows(&entries)?;
        let started = Instant::now();
        let mut locked = Locked::default();
        for entry in entries {
            let mut texts = Vec::new();
            for portion in portions::<DB>(&entry)? {
                let rows = self.ask_once(site, statement::<DB>(&entry, &portion, false)).await;
                let Ok(rows) = rows else {
                    events::lock_wait(started.elapsed());
                    return rows.map(|_| Locked::default());
                };
                read::<DB>(&rows, &mut texts)?;
            }
            let ids = entry.ids.read(texts)?;
            locked.0.push((entry, ids));
        }
        events::lock_wait(started.elapsed());
        Ok(locked)
    }

    /// Locks the rows of a plan if none of them is held by somebody else; never waits for a row, so
    /// it may be asked for in any order. What it got counts as held.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use cupping::txn::{Transactor, TxnOptions, work};
    /// # use sqlx::Sqlite;
    /// use cupping::txn::{LockPlan, TableRank, TryLocked};
    ///
    /// const REGION: TableRank = TableRank::new(1, "region", "id");
    ///
    /// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    /// # let pool = memory.connect("sqlite::memory:").await?;
    /// # sqlx::raw_sql("CREATE TABLE region (id INTEGER PRIMARY KEY)").execute(&pool).await?;
    /// # let body = work!(|tx: Sqlite| {
    /// match tx.try_lock_rows(&LockPlan::new().rows(REGION, vec![7_i64])).await? {
    ///     TryLocked::Locked(_) => {}
    ///     TryLocked::Busy { table } => tracing::info!(table, "somebody is at it"),
    /// }
    /// # Ok(()) });
    /// # Transactor::new(pool).run("example", &TxnOptions::default(), body).await?;
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sqlite"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Hazards
    /// When it is busy, rows locked before the busy one are given back on PostgreSQL; InnoDB may
    /// keep them until the transaction ends. On SQLite it is never busy: the transaction excludes
    /// all others from its beginning.
    ///
    /// # Errors
    /// As [`Tx::execute`]; busy is not one.
    pub async fn try_lock_rows(&mut self, plan: &LockPlan) -> Result<TryLocked, BodyError> {
        let entries = plan.ordered()?;
        let mut queries = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            for portion in portions::<DB>(entry)? {
                queries.push((at, statement::<DB>(entry, &portion, true)));
            }
        }
        self.held.hold_rows(&entries);
        self.command("SAVEPOINT cupping_try".into()).await?;
        let mut texts = vec![Vec::new(); entries.len()];
        for (at, query) in queries {
            match self.unless_busy(query).await? {
                Some(rows) => read::<DB>(&rows, &mut texts[at])?,
                None => return Ok(TryLocked::Busy { table: entries[at].table.table }),
            }
        }
        self.command("RELEASE SAVEPOINT cupping_try".into()).await?;
        let mut locked = Locked::default();
        for (entry, texts) in entries.into_iter().zip(texts) {
            let ids = entry.ids.read(texts)?;
            locked.0.push((entry, ids));
        }
        Ok(TryLocked::Locked(locked))
    }

    /// The rows of a statement behind the savepoint `cupping_try`; `None`, and back at the
    /// savepoint, when it would have had to wait for a lock.
    async fn unless_busy(
        &mut self,
        statement: Statement<DB>,
    ) -> Result<Option<Vec<DB::Row>>, BodyError> {
        self.admit()?;
        let (sql, values) = statement.into_parts();
        let sent = DB::ask(&mut self.connection, sql, values, false);
        let answer = self.watch.answered(sent).await;
        self.busy_or(answer).await
    }

    /// As [`Tx::unless_busy`], for the number of rows that a statement matched.
    pub(in crate::txn) async fn tell_unless_busy(
        &mut self,
        statement: Statement<DB>,
    ) -> Result<Option<u64>, BodyError> {
        self.admit()?;
        let (sql, values) = statement.into_parts();
        let sent = DB::tell(&mut self.connection, sql, values);
        let answer = self.watch.answered(sent).await;
        self.busy_or(answer).await
    }

    async fn busy_or<T>(&mut self, answer: Result<T, sqlx::Error>) -> Result<Option<T>, BodyError> {
        match answer {
            // Where the server has rolled back everything instead of the statement, there is no
            // savepoint any more: the unit then fails, and no statement runs outside of it.
            Err(error) if is_busy::<DB>(&error) => {
                let back = "ROLLBACK TO SAVEPOINT cupping_try; RELEASE SAVEPOINT cupping_try";
                self.command(back.into()).await?;
                Ok(None)
            }
            other => self.remember(other).map(Some),
        }
    }
}

/// A lock that was not to be had at once. PostgreSQL and MariaDB report it by the code of a
/// timeout, so this is asked only of statements that must not wait.
fn is_busy<DB: Dialect>(error: &sqlx::Error) -> bool {
    DB::classify(error) == Retryability::Transient(Reason::LockTimeout)
}

fn portions<DB: Dialect>(entry: &Entry) -> Result<Vec<LockIds>, BodyError> {
    entry.ids.portions(DB::FAMILY).ok_or_else(|| {
        BodyError(Cause::LockOrder(format!(
            "{} texts are too many ids of {} for one plan: their order is the collation's, so they \
             cannot be divided among statements",
            entry.ids.len(),
            entry.table.table
        )))
    })
}

fn read<DB: Dialect>(rows: &[DB::Row], texts: &mut Vec<String>) -> Result<(), sqlx::Error> {
    for row in rows {
        texts.extend(DB::text(row, 0)?);
    }
    Ok(())
}

fn statement<DB: Dialect>(entry: &Entry, ids: &LockIds, at_once: bool) -> Statement<DB> {
    let family = DB::FAMILY;
    let (table, key) = (entry.table.table, format!("r.{}", entry.table.key));
    let column = ids.column(family, &key);
    let index = if family == Family::MySql { " FORCE INDEX (PRIMARY)" } else { "" };
    let start = format!("SELECT {column} FROM {table} AS r{index} WHERE ");
    ids.among(Statement::new(start), &key)
        .push(format!(" ORDER BY {}", ids.order(family, &key)))
        .push(lock_clause(family, entry.strength, at_once))
}

/// `FOR …`, as the database says it.
pub(in crate::txn) fn lock_clause(
    family: Family,
    strength: Strength,
    at_once: bool,
) -> &'static str {
    use Strength::{KeyShare, NoKeyUpdate, Share, Update};
    match (family, strength, at_once) {
        (Family::Sqlite, ..) => "",
        (Family::Postgres, KeyShare, false) => " FOR KEY SHARE",
        (Family::Postgres, KeyShare, true) => " FOR KEY SHARE NOWAIT",
        (Family::Postgres, Share, false) => " FOR SHARE",
        (Family::Postgres, Share, true) => " FOR SHARE NOWAIT",
        (Family::Postgres, NoKeyUpdate, false) => " FOR NO KEY UPDATE",
        (Family::Postgres, NoKeyUpdate, true) => " FOR NO KEY UPDATE NOWAIT",
        (Family::Postgres, Update, false) => " FOR UPDATE",
        (Family::Postgres, Update, true) => " FOR UPDATE NOWAIT",
        (Family::MySql, KeyShare | Share, false) => " LOCK IN SHARE MODE",
        // MariaDB knows no FOR SHARE, and MySQL no NOWAIT after the old words.
        (Family::MySql, KeyShare | Share, true) => {
            " /*M! LOCK IN SHARE MODE NOWAIT */ /*!80000 FOR SHARE NOWAIT */"
        }
        (Family::MySql, NoKeyUpdate | Update, false) => " FOR UPDATE",
        (Family::MySql, NoKeyUpdate | Update, true) => " FOR UPDATE NOWAIT",
    }
}

#[cfg(all(test, feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod tests {
    use super::super::plan::TableRank;
    use super::*;

    #[test]
    fn each_database_gets_its_own_words() {
        let plan = LockPlan::new().rows(TableRank::new(1, "region", "id"), vec![2_i64, 1]);
        let entry = &plan.ordered().expect("a sound plan")[0];
        let postgres = statement::<sqlx::Postgres>(entry, &entry.ids, false);
        assert_eq!(
            postgres.as_str(),
            "SELECT CAST(r.id AS text) FROM region AS r WHERE \
             r.id = ANY(CAST(CAST($1 AS text) AS bigint[])) ORDER BY r.id FOR NO KEY UPDATE"
        );
        let mysql = statement::<sqlx::MySql>(entry, &entry.ids, true);
        assert_eq!(
            mysql.as_str(),
            "SELECT CAST(r.id AS CHAR) FROM region AS r FORCE INDEX (PRIMARY) WHERE \
             r.id IN (?, ?) ORDER BY r.id FOR UPDATE NOWAIT"
        );
        let sqlite = statement::<sqlx::Sqlite>(entry, &entry.ids, false);
        assert!(sqlite.as_str().ends_with("ORDER BY r.id"), "{}", sqlite.as_str());
    }
}
