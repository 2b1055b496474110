//! A batch of lists on its way to the database: what the write protocols share.
//!
//! Decides: what is written: nothing for a source that is outdated or stored as it should be.
//! Never does: lock, or execute a statement.

use super::{StoreError, WriteItem, WriteOutcome};
use crate::domain::bean::BeanId;
use crate::domain::ranking::SimilarList;
use crate::txn::ticket::{self, Ticket};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// One source, ready to be written; its list in order.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) source: String,
    pub(super) list: SimilarList,
    pub(super) tickets: Vec<Ticket>,
}

/// Checks and orders the items of a batch.
pub(super) fn planned(
    items: Vec<WriteItem>,
    accepted: impl Fn(&BeanId) -> Result<(), StoreError>,
) -> Result<Vec<Planned>, StoreError> {
    let plan = |item: WriteItem| {
        accepted(&item.source)?;
        item.list.iter().try_for_each(|entry| accepted(&entry.bean))?;
        let mut list = item.list;
        list.sort_unstable();
        Ok(Planned { source: item.source.as_str().to_owned(), list, tickets: item.tickets })
    };
    items.into_iter().map(plan).collect()
}

impl Planned {
    /// What becomes of it, by the sources that are outdated and the lists that are stored.
    pub(super) fn outcome(
        &self,
        outdated: &HashSet<String>,
        stored: &HashMap<String, SimilarList>,
    ) -> WriteOutcome {
        let old = stored.get(&self.source).map_or(&[][..], Vec::as_slice);
        if outdated.contains(&self.source) {
            WriteOutcome::Outdated
        } else if old == self.list.as_slice() {
            WriteOutcome::Unchanged
        } else {
            WriteOutcome::Written { deleted: old.len() as u64, inserted: self.list.len() as u64 }
        }
    }
}

/// The sources that this transaction commits.
pub(super) fn committed<'a>(
    items: &'a [Planned],
    outdated: &'a HashSet<String>,
) -> impl Iterator<Item = &'a Planned> {
    items.iter().filter(|item| !outdated.contains(&item.source))
}

/// The settlements of committed sources, those alike as one.
pub(super) fn tickets(items: &[Planned], outdated: &HashSet<String>) -> Vec<Ticket> {
    let asked = committed(items, outdated).flat_map(|item| &item.tickets);
    let ticket = |((statement, claim), ids): ((&Arc<str>, &Arc<str>), Vec<i64>)| Ticket {
        statement: Arc::clone(statement),
        ids,
        claim: Arc::clone(claim),
    };
    ticket::merged(asked).into_iter().map(ticket).collect()
}

/// The settlements that a merged one, which returned these rows, did not make: their claim had
/// run out.
pub(super) fn unsettled<'a>(
    items: &'a [Planned],
    outdated: &'a HashSet<String>,
    merged: &'a Ticket,
    returned: Vec<(i64,)>,
) -> impl Iterator<Item = Ticket> + 'a {
    let settled: HashSet<i64> = returned.into_iter().map(|(id,)| id).collect();
    committed(items, outdated)
        .flat_map(|item| &item.tickets)
        .filter(|ticket| ticket.statement == merged.statement && ticket.claim == merged.claim)
        .filter(move |ticket| !ticket.settled_by(&settled))
        .cloned()
}
