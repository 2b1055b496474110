//! What a transaction holds, to refuse a lock out of order.
//!
//! Decides: which lock may still be waited for. Never does: lock; and it forgets nothing when a
//! scope is rolled back, because InnoDB keeps what the scope locked.

use super::ids::Highest;
use super::keys::LockKeys;
use super::plan::{Entry, TableRank};
use crate::txn::body::{BodyError, Cause};

/// What a transaction holds.
#[derive(Debug, Default)]
#[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "SQLite has rows alone"))]
pub(in crate::txn) struct Held {
    gate: Option<bool>,
    key: Option<i64>,
    rows: Option<Rows>,
}

/// The rows held of the highest rank.
#[derive(Debug)]
struct Rows {
    table: TableRank,
    highest: Option<Highest>,
}

fn refused(message: String) -> BodyError {
    BodyError(Cause::LockOrder(message))
}

#[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "SQLite has rows alone"))]
impl Held {
    /// Before keys are waited for.
    pub(super) fn admit_keys(&mut self, keys: &LockKeys) -> Result<(), BodyError> {
        let Some(first) = keys.as_slice().first() else { return Ok(()) };
        if let Some(rows) = &self.rows {
            return Err(refused(format!(
                "the lock {first} was asked for while rows of {} are held; take keys first, then \
                 rows",
                rows.table.table
            )));
        }
        if let Some(highest) = self.key.filter(|highest| highest >= first) {
            return Err(refused(format!(
                "the lock {first} was asked for while {highest} is held; locks must ascend: \
                 collect all keys into one LockKeys and take them in one call"
            )));
        }
        self.hold_keys(keys);
        Ok(())
    }

    /// After keys were taken without waiting, which is allowed in any order.
    pub(super) fn hold_keys(&mut self, keys: &LockKeys) {
        self.key = self.key.max(keys.as_slice().last().copied());
    }

    /// Before a gate is waited for.
    #[cfg(feature = "postgres")]
    pub(super) fn admit_gate(&mut self, exclusive: bool) -> Result<(), BodyError> {
        if self.key.is_some() || self.rows.is_some() || self.gate.is_some() {
            return Err(refused(
                "a gate was asked for while locks are held; take one gate, first of all, in the \
                 mode that is needed in the end"
                    .into(),
            ));
        }
        self.gate = Some(exclusive);
        Ok(())
    }

    /// Before the rows of a plan (its entries ascend) are waited for.
    pub(super) fn admit_rows(&mut self, entries: &[Entry]) -> Result<(), BodyError> {
        if let (Some(asked), Some(held)) = (entries.first(), &self.rows) {
            let (rank, holds) = (asked.table.rank, held.table.rank);
            let above = match asked.ids.bounds() {
                Some((lowest, _)) if asked.table == held.table => {
                    held.highest.as_ref().is_some_and(|highest| *highest < lowest)
                }
                _ => false,
            };
            if rank < holds || (rank == holds && !above) {
                return Err(refused(format!(
                    "rows of {} (rank {rank}), from id {}, were asked for while rows of {} (rank \
                     {holds}) are held; locks must ascend: collect all rows into one LockPlan, or \
                     take the lower ones first",
                    asked.table.table,
                    asked.ids.lowest(),
                    held.table.table,
                )));
            }
        }
        self.hold_rows(entries);
        Ok(())
    }

    /// After rows were taken without waiting, which is allowed in any order.
    pub(in crate::txn) fn hold_rows(&mut self, entries: &[Entry]) {
        for entry in entries.iter().filter(|entry| !entry.ids.is_empty()) {
            let mut highest = entry.ids.bounds().map(|(_, highest)| highest);
            match &self.rows {
                Some(held) if held.table.rank > entry.table.rank => continue,
                Some(held) if held.table == entry.table => {
                    highest = highest.zip(held.highest.clone()).map(|(a, b)| a.max(b));
                }
                // Two tables of one rank are never waited for together; later ids of neither
                // can be told to be above.
                Some(held) if held.table.rank == entry.table.rank => highest = None,
                _ => {}
            }
            self.rows = Some(Rows { table: entry.table, highest });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::LockPlan;
    use super::*;

    const REGION: TableRank = TableRank::new(1, "region", "id");
    const BEAN: TableRank = TableRank::new(2, "bean", "id");

    fn entries(table: TableRank, ids: &[i64]) -> Vec<Entry> {
        LockPlan::new().rows(table, ids).ordered().expect("a sound plan")
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_key_below_one_held_and_a_late_gate_are_refused() {
        let mut held = Held::default();
        assert!(held.admit_gate(false).is_ok());
        assert!(held.admit_gate(true).is_err(), "an upgrade can deadlock");
        assert!(held.admit_keys(&LockKeys::new([1, 5])).is_ok());
        assert!(held.admit_keys(&LockKeys::new([4])).is_err());
        assert!(held.admit_keys(&LockKeys::new([])).is_ok());
        assert!(held.admit_keys(&LockKeys::new([6])).is_ok());
    }

    #[test]
    fn rows_ascend_by_rank_and_id_and_come_after_keys() {
        let mut held = Held::default();
        assert!(held.admit_rows(&entries(REGION, &[3, 7])).is_ok());
        assert!(held.admit_keys(&LockKeys::new([1])).is_err(), "keys come first");
        assert!(held.admit_rows(&entries(REGION, &[7])).is_err());
        assert!(held.admit_rows(&entries(REGION, &[8])).is_ok());
        assert!(held.admit_rows(&[]).is_ok());
        assert!(held.admit_rows(&entries(BEAN, &[1])).is_ok());
        let error = held.admit_rows(&entries(REGION, &[99])).expect_err("a lower rank");
        let told = error.to_string();
        assert!(told.contains("region") && told.contains("bean") && told.contains("99"), "{told}");
    }

    #[test]
    fn what_was_taken_without_waiting_counts_as_held() {
        let mut held = Held::default();
        held.hold_keys(&LockKeys::new([9]));
        assert!(held.admit_keys(&LockKeys::new([5])).is_err());
        held.hold_rows(&entries(BEAN, &[4]));
        held.hold_rows(&entries(REGION, &[9]));
        assert!(held.admit_rows(&entries(REGION, &[10])).is_err());
        assert!(held.admit_rows(&entries(BEAN, &[5])).is_ok());
    }

    #[test]
    fn another_table_of_the_same_rank_is_refused() {
        let mut held = Held::default();
        let twin = TableRank::new(1, "country", "id");
        assert!(held.admit_rows(&entries(REGION, &[1])).is_ok());
        assert!(held.admit_rows(&entries(twin, &[9])).is_err());
    }
}
