//! What this worker holds: the claims it has not settled, counted exactly once each.
//!
//! Decides: that a claim leaves the ledger when its slot is dropped, whichever way it was settled.
//! Never does: touch the table.

use super::lanes::PerLane;
use crate::transport::Lane;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The claims of one source.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    state: Mutex<State>,
    /// Told whenever a slot is freed.
    freed: Notify,
    /// Told whenever the last slot is freed.
    emptied: Notify,
    /// A claim or a settlement ended without a clear answer: rows may be ours without our knowing.
    unclear: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    held: BTreeMap<u64, (i64, Arc<str>)>,
    count: PerLane<usize>,
}

impl Ledger {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a claimed row; it is held until the slot is dropped.
    pub(super) fn enter(self: &Arc<Self>, id: i64, claim: Arc<str>, lane: Lane) -> Slot {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.held.insert(number, (id, claim.clone()));
        *state.count.get_mut(lane) += 1;
        drop(state);
        Slot { ledger: self.clone(), number, id, claim, lane, clear: false }
    }

    /// Claims held on each lane.
    pub(super) fn count(&self) -> PerLane<usize> {
        self.state().count
    }

    /// Whether nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.state().held.is_empty()
    }

    /// The rows held and the tokens under which they are.
    pub(super) fn held(&self) -> (Vec<i64>, Vec<String>) {
        let state = self.state();
        let ids = state.held.values().map(|(id, _)| *id).collect();
        let mut claims: Vec<String> =
            state.held.values().map(|(_, claim)| claim.to_string()).collect();
        claims.sort_unstable();
        claims.dedup();
        (ids, claims)
    }

    /// Waits until a slot is freed after this call (or was, unnoticed, before it).
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Waits until nothing is held any more.
    pub(super) async fn emptied(&self) {
        while !self.is_empty() {
            self.emptied.notified().await;
        }
    }

    /// Notes that rows may be claimed which the ledger does not know.
    pub(super) fn mark_unclear(&self) {
        self.unclear.store(true, Ordering::Release);
        self.freed.notify_one();
    }

    /// Takes the note; the caller settles it, or notes it again.
    pub(super) fn take_unclear(&self) -> bool {
        self.unclear.swap(false, Ordering::AcqRel)
    }
}

/// One held claim.
#[derive(Debug)]
pub(super) struct Slot {
    ledger: Arc<Ledger>,
    number: u64,
    pub(super) id: i64,
    pub(super) claim: Arc<str>,
    pub(super) lane: Lane,
    clear: bool,
}

impl Slot {
    /// The table said what became of the row: the claim is over.
    pub(super) fn clear(mut self) {
        self.clear = true;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.ledger.state();
        if state.held.remove(&self.number).is_some() {
            *state.count.get_mut(self.lane) -= 1;
        }
        let emptied = state.held.is_empty();
        drop(state);
        if emptied {
            self.ledger.emptied.notify_one();
        }
        if self.clear {
            self.ledger.freed.notify_one();
        } else {
            self.ledger.mark_unclear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_counted_until_it_is_dropped() {
        let ledger = Arc::new(Ledger::default());
        let one = ledger.enter(7, "a".into(), Lane::Live);
        let two = ledger.enter(8, "b".into(), Lane::Bulk);
        assert_eq!(ledger.count(), PerLane { live: 1, bulk: 1 });
        assert_eq!(ledger.held(), (vec![7, 8], vec!["a".to_owned(), "b".to_owned()]));
        one.clear();
        assert_eq!(ledger.count(), PerLane { live: 0, bulk: 1 });
        assert!(!ledger.take_unclear());
        drop(two);
        assert!(ledger.is_empty());
        assert!(ledger.take_unclear());
        assert!(!ledger.take_unclear());
    }

    #[test]
    fn a_row_claimed_twice_is_counted_twice() {
        let ledger = Arc::new(Ledger::default());
        let stale = ledger.enter(7, "a".into(), Lane::Live);
        let fresh = ledger.enter(7, "b".into(), Lane::Live);
        stale.clear();
        assert_eq!(ledger.held(), (vec![7], vec!["b".to_owned()]));
        fresh.clear();
        assert!(ledger.is_empty());
    }
}
