//! The two queues of ready beans, and the fair choice between them.
//!
//! Decides: live goes first, but every tenth pick is bulk while bulk waits. Never does: know what
//! a bean waits for; an entry whose stamp is stale is skipped.

use crate::domain::bean::BeanId;
use crate::transport::Lane;
use std::collections::VecDeque;

/// Live picks in a row, at most, while bulk waits: bulk gets at least a tenth.
const LIVE_IN_A_ROW: u32 = 9;

/// An entry: valid only while the bean still waits under the same stamp.
type Entry = (BeanId, u64);

/// Ready beans, by lane.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    live: VecDeque<Entry>,
    bulk: VecDeque<Entry>,
    live_in_a_row: u32,
}

impl Lanes {
    /// Adds a bean at the end of its lane.
    pub(crate) fn push(&mut self, lane: Lane, bean: BeanId, stamp: u64) {
        match lane {
            Lane::Live => self.live.push_back((bean, stamp)),
            Lane::Bulk => self.bulk.push_back((bean, stamp)),
        }
    }

    /// The next valid bean.
    pub(crate) fn pop(&mut self, valid: impl Fn(&BeanId, u64) -> bool) -> Option<BeanId> {
        skip_stale(&mut self.live, &valid);
        skip_stale(&mut self.bulk, &valid);
        let bulk_waits = !self.bulk.is_empty();
        let bulks_turn = self.live_in_a_row >= LIVE_IN_A_ROW || self.live.is_empty();
        if bulk_waits && bulks_turn {
            self.live_in_a_row = 0;
            return self.bulk.pop_front().map(|(bean, _)| bean);
        }
        self.live_in_a_row = if bulk_waits { self.live_in_a_row + 1 } else { 0 };
        self.live.pop_front().map(|(bean, _)| bean)
    }
}

fn skip_stale(lane: &mut VecDeque<Entry>, valid: impl Fn(&BeanId, u64) -> bool) {
    while lane.front().is_some_and(|(bean, stamp)| !valid(bean, *stamp)) {
        lane.pop_front();
    }
}
