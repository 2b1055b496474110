//! A statement that another party asks to have executed inside a transaction.
//!
//! Decides: the shape in which a table queue hands its acknowledgement to the store, so that rows
//! and settlement commit together. Never does: open a transaction.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// A parametrised statement over ids and a claim, which returns the ids that it settled: one that
/// is not returned was no longer held under the claim.
///
/// PostgreSQL binds `$1` as `bigint[]` and `$2` as `text`; SQLite binds `?1` as a JSON array of
/// numbers (read it with `json_each`) and `?2` as text. Tickets with the same statement and claim
/// may be merged into one execution with all their ids.
///
/// ```
/// use cupping::txn::ticket::{Ticket, merged};
/// use std::collections::HashSet;
///
/// let ticket = |ids: &[i64]| Ticket {
///     statement: "DELETE FROM queue WHERE id = ANY($1) AND claim = $2 RETURNING id".into(),
///     ids: ids.to_vec(),
///     claim: "worker-1".into(),
/// };
/// let tickets = [ticket(&[7, 3]), ticket(&[5])];
/// let executions = merged(tickets.iter());
/// assert_eq!(executions.values().next(), Some(&vec![3, 5, 7]), "one statement for all");
///
/// let returned = HashSet::from([3, 5]);
/// assert!(!tickets[0].settled_by(&returned), "somebody else has 7");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The statement.
    pub statement: Arc<str>,
    /// The rows it is about.
    pub ids: Vec<i64>,
    /// The claim under which they are held; a claim that has expired matches no row.
    pub claim: Arc<str>,
}

impl Ticket {
    /// Whether its statement, which returned these ids, settled all of its rows.
    /// Example: see [`Ticket`].
    #[must_use]
    pub fn settled_by(&self, returned: &HashSet<i64>) -> bool {
        self.ids.iter().all(|id| returned.contains(id))
    }
}

/// Ids by statement and claim, sorted: each entry is one execution.
///
/// ```
/// use cupping::txn::ticket::merged;
///
/// assert!(merged([].iter()).is_empty());
/// ```
#[must_use]
pub fn merged<'t>(
    tickets: impl Iterator<Item = &'t Ticket>,
) -> BTreeMap<(&'t Arc<str>, &'t Arc<str>), Vec<i64>> {
    let mut merged: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    for ticket in tickets {
        merged.entry((&ticket.statement, &ticket.claim)).or_default().extend(&ticket.ids);
    }
    merged.values_mut().for_each(|ids| ids.sort_unstable());
    merged
}
