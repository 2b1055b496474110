//! Plans: all the rows that a transaction will change, locked first and in one order.
//!
//! Decides: the order of tables and ids, and the strength. Never does: wait out of order.

use super::ids::LockIds;
use crate::txn::body::{BodyError, Cause};

/// A table's place in the order in which tables are locked. Declare each once, for every
/// transaction to use:
///
/// ```
/// use cupping::txn::TableRank;
///
/// const REGION: TableRank = TableRank::new(1, "region", "id");
/// const BEAN: TableRank = TableRank::new(2, "coffee_bean", "id");
/// assert!(REGION.rank < BEAN.rank);
/// ```
///
/// `table` and `key` are written into statements as they are: constants, never input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableRank {
    /// Lower ranks are locked first; a rank belongs to one table.
    pub rank: u32,
    /// The table's name, quoted if it has to be.
    pub table: &'static str,
    /// The primary key's column.
    pub key: &'static str,
}

impl TableRank {
    /// A table at a rank. Example: see [`TableRank`].
    #[must_use]
    pub const fn new(rank: u32, table: &'static str, key: &'static str) -> Self {
        Self { rank, table, key }
    }
}

/// How strongly rows are locked, from weak to strong.
///
/// MySQL and MariaDB know two: [`Strength::KeyShare`] and [`Strength::Share`] are their shared
/// lock, the others their exclusive one. On SQLite a transaction that writes excludes all others
/// from its beginning (BEGIN IMMEDIATE), so there is nothing to choose.
///
/// ```
/// use cupping::txn::Strength;
///
/// assert_eq!(Strength::default(), Strength::NoKeyUpdate);
/// assert!(Strength::KeyShare < Strength::Update);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Strength {
    /// The row stays, and its key too: what a foreign key asks for.
    KeyShare,
    /// The row stays as it is.
    Share,
    /// The row will be changed, its keys not. Does not keep others from inserting rows that refer
    /// to it.
    #[default]
    NoKeyUpdate,
    /// The row will be deleted, or its keys changed.
    Update,
}

/// Rows to be locked by [`crate::txn::Tx::lock_rows`]: sorted and de-duplicated, table by table.
///
/// ```
/// use cupping::txn::{LockPlan, Strength, TableRank};
///
/// const REGION: TableRank = TableRank::new(1, "region", "id");
/// const BEAN: TableRank = TableRank::new(2, "coffee_bean", "id");
///
/// let plan = LockPlan::new()
///     .rows(BEAN, vec![9_i64, 4, 9])
///     .rows_for(Strength::KeyShare, REGION, vec![3_i64]);
/// assert_eq!(plan.len(), 3);
/// ```
#[derive(Debug, Clone, Default)]
pub struct LockPlan {
    entries: Vec<Entry>,
    defect: Option<String>,
}

/// The rows of one table.
#[derive(Debug, Clone)]
pub(in crate::txn) struct Entry {
    pub(in crate::txn) table: TableRank,
    pub(in crate::txn) ids: LockIds,
    pub(super) strength: Strength,
}

impl Entry {
    /// Rows that were taken without a plan.
    pub(in crate::txn) fn taken(table: TableRank, ids: LockIds) -> Self {
        Self { table, ids, strength: Strength::default() }
    }
}

impl LockPlan {
    /// An empty plan. Example: see [`LockPlan`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With rows of a table, to be changed without changing their keys. Example: see [`LockPlan`].
    #[must_use]
    pub fn rows(self, table: TableRank, ids: impl Into<LockIds>) -> Self {
        self.rows_for(Strength::default(), table, ids)
    }

    /// With rows of a table, at a strength; a table named twice is locked once, at the greater of
    /// both. Example: see [`LockPlan`].
    #[must_use]
    pub fn rows_for(
        mut self,
        strength: Strength,
        table: TableRank,
        ids: impl Into<LockIds>,
    ) -> Self {
        let ids = ids.into();
        match self.entries.iter().position(|entry| entry.table.rank == table.rank) {
            None => self.entries.push(Entry { table, ids, strength }),
            Some(at) if self.entries[at].table != table => {
                let other = self.entries[at].table.table;
                self.defect = Some(format!(
                    "{other} and {} share rank {}: give each table a rank of its own",
                    table.table, table.rank
                ));
            }
            Some(at) => {
                let entry = self.entries.remove(at);
                let strength = strength.max(entry.strength);
                match entry.ids.merged(ids) {
                    Some(ids) => self.entries.push(Entry { table, ids, strength }),
                    None => {
                        let table = table.table;
                        self.defect = Some(format!("ids of {table} are of different kinds"));
                    }
                }
            }
        }
        self
    }

    /// How many rows. Example: see [`LockPlan`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.iter().map(|entry| entry.ids.len()).sum()
    }

    /// Whether there are none. Example: see [`LockPlan`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// In the order of locking, without tables of which no row is wanted.
    pub(super) fn ordered(&self) -> Result<Vec<Entry>, BodyError> {
        if let Some(defect) = &self.defect {
            return Err(BodyError(Cause::LockOrder(defect.clone())));
        }
        let wanted = self.entries.iter().filter(|entry| !entry.ids.is_empty());
        let mut entries: Vec<Entry> = wanted.cloned().collect();
        entries.sort_by_key(|entry| entry.table.rank);
        Ok(entries)
    }
}

/// The rows that a plan has locked.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cupping::txn::{LockIds, LockPlan, TableRank, Transactor, TxnOptions, work};
///
/// const BEAN: TableRank = TableRank::new(1, "bean", "id");
///
/// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
/// # let pool = memory.connect("sqlite::memory:").await?;
/// Transactor::new(pool)
///     .run("lock", &TxnOptions::default(), work!(|tx| {
///         tx.execute("CREATE TABLE bean (id INTEGER PRIMARY KEY)").await?;
///         tx.execute("INSERT INTO bean VALUES (1), (2)").await?;
///         let locked = tx.lock_rows(&LockPlan::new().rows(BEAN, vec![3_i64, 2])).await?;
///         assert_eq!(locked.existing(&BEAN), Some(&LockIds::from(vec![2_i64])));
///         assert_eq!(locked.missing(&BEAN), Some(LockIds::from(vec![3_i64])));
///         assert!(!locked.is_complete());
///         Ok(())
///     }))
///     .await?;
/// # Ok(()) }
/// # #[cfg(not(feature = "sqlite"))]
/// # fn main() {}
/// ```
#[derive(Debug, Clone, Default)]
pub struct Locked(pub(super) Vec<(Entry, LockIds)>);

impl Locked {
    /// The rows of a table that were there, and are locked now; `None` for a table of which the
    /// plan wants no row. Example: see [`Locked`].
    #[must_use]
    pub fn existing(&self, table: &TableRank) -> Option<&LockIds> {
        self.0.iter().find(|(entry, _)| entry.table == *table).map(|(_, ids)| ids)
    }

    /// The rows of a table that were not there, so that nothing is locked for them; `None` as for
    /// [`Locked::existing`]. Texts count as missing when the database spells them differently (a
    /// collation that ignores case). Example: see [`Locked`].
    #[must_use]
    pub fn missing(&self, table: &TableRank) -> Option<LockIds> {
        let (entry, ids) = self.0.iter().find(|(entry, _)| entry.table == *table)?;
        Some(entry.ids.without(ids))
    }

    /// Whether every row of the plan was there. Example: see [`Locked`].
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.0.iter().all(|(entry, ids)| entry.ids.len() == ids.len())
    }
}

/// What became of a plan that must not wait.
///
/// ```
/// use cupping::txn::{Locked, TryLocked};
///
/// fn table_in_the_way(tried: &TryLocked) -> Option<&'static str> {
///     match tried {
///         TryLocked::Locked(_) => None,
///         TryLocked::Busy { table } => Some(table),
///     }
/// }
/// assert_eq!(table_in_the_way(&TryLocked::Busy { table: "bean" }), Some("bean"));
/// assert_eq!(table_in_the_way(&TryLocked::Locked(Locked::default())), None);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub enum TryLocked {
    /// All of it is locked.
    Locked(Locked),
    /// Somebody holds a row of this table.
    Busy {
        /// The table of the first row that could not be had.
        table: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGION: TableRank = TableRank::new(1, "region", "id");
    const BEAN: TableRank = TableRank::new(2, "bean", "id");

    #[test]
    fn tables_are_in_rank_order_and_a_table_named_twice_is_locked_once() {
        let plan = LockPlan::new()
            .rows(BEAN, vec![5_i64])
            .rows_for(Strength::KeyShare, REGION, vec![2_i64, 1])
            .rows_for(Strength::Update, BEAN, vec![1_i64, 5]);
        let ordered = plan.ordered().expect("a sound plan");
        let seen: Vec<_> =
            ordered.iter().map(|e| (e.table.table, e.ids.ints(), e.strength)).collect();
        let beans = ("bean", &[1, 5][..], Strength::Update);
        assert_eq!(seen, [("region", &[1, 2][..], Strength::KeyShare), beans]);
    }

    #[test]
    fn a_shared_rank_and_mixed_kinds_are_refused() {
        let twin = TableRank::new(1, "country", "id");
        let shared = LockPlan::new().rows(REGION, vec![1_i64]).rows(twin, vec![1_i64]);
        assert!(shared.ordered().is_err());
        let mixed = LockPlan::new().rows(REGION, vec![1_i64]).rows(REGION, vec!["a"]);
        assert!(mixed.ordered().is_err());
    }
}
