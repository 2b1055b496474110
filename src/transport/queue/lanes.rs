//! How the two lanes share a worker: which is claimed next, and which is handed on next.
//!
//! Decides: live first; a tenth of the slots, and one delivery in ten, for bulk while both have
//! work; all that live leaves, less a tenth kept free for the next live message, for bulk.
//! Never does: claim or hand on; a pure function of counts.

use crate::transport::Lane;

/// One in this many slots, and one in this many deliveries, is the bulk lane's under load.
const BULK_SHARE: usize = 10;

/// A number for each lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PerLane<T> {
    pub(super) live: T,
    pub(super) bulk: T,
}

impl<T> PerLane<T> {
    pub(super) fn get_mut(&mut self, lane: Lane) -> &mut T {
        match lane {
            Lane::Live => &mut self.live,
            Lane::Bulk => &mut self.bulk,
        }
    }
}

/// What to claim next: a lane and how many. `held` counts claims that are not settled, `open`
/// says which lanes are worth asking, `bulk_turn` whether bulk has waited its nine deliveries
/// (it decides where there is but one slot to share).
pub(super) fn next_claim(
    prefetch: usize,
    held: PerLane<usize>,
    open: PerLane<bool>,
    bulk_turn: bool,
) -> Option<(Lane, usize)> {
    let free = prefetch.saturating_sub(held.live + held.bulk);
    if free == 0 {
        return None;
    }
    let share = (prefetch / BULK_SHARE).max(1);
    let bulk_first = prefetch > 1 || bulk_turn || !open.live;
    if open.bulk && held.bulk < share && bulk_first {
        return Some((Lane::Bulk, free.min(share - held.bulk)));
    }
    if open.live {
        return Some((Lane::Live, free));
    }
    let kept_for_live = if prefetch > 1 { share } else { 0 };
    let room = free.min((prefetch - kept_for_live).saturating_sub(held.bulk));
    (open.bulk && room > 0).then_some((Lane::Bulk, room))
}

/// Counts deliveries, to give bulk its turn.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Turns {
    live_since_bulk: usize,
}

impl Turns {
    /// Whether the next delivery should be a bulk one, if there is one.
    pub(super) fn is_bulk_turn(self) -> bool {
        self.live_since_bulk + 1 >= BULK_SHARE
    }

    /// Which lane is handed on next; `None` when nothing waits.
    pub(super) fn pick(&mut self, waiting: PerLane<usize>) -> Option<Lane> {
        let lane = match (waiting.live > 0, waiting.bulk > 0) {
            (false, false) => return None,
            (true, false) => Lane::Live,
            (false, true) => Lane::Bulk,
            (true, true) if self.is_bulk_turn() => Lane::Bulk,
            (true, true) => Lane::Live,
        };
        match lane {
            Lane::Live => self.live_since_bulk = self.live_since_bulk.saturating_add(1),
            Lane::Bulk => self.live_since_bulk = 0,
        }
        Some(lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOTH: PerLane<bool> = PerLane { live: true, bulk: true };

    fn held(live: usize, bulk: usize) -> PerLane<usize> {
        PerLane { live, bulk }
    }

    #[test]
    fn bulk_fills_its_tenth_first_and_live_takes_the_rest() {
        assert_eq!(next_claim(100, held(0, 0), BOTH, false), Some((Lane::Bulk, 10)));
        assert_eq!(next_claim(100, held(0, 10), BOTH, false), Some((Lane::Live, 90)));
        assert_eq!(next_claim(100, held(90, 10), BOTH, false), None);
        assert_eq!(next_claim(100, held(95, 0), BOTH, false), Some((Lane::Bulk, 5)));
    }

    #[test]
    fn bulk_alone_takes_what_live_leaves_but_keeps_room_for_it() {
        let open = PerLane { live: false, bulk: true };
        assert_eq!(next_claim(100, held(0, 10), open, false), Some((Lane::Bulk, 80)));
        assert_eq!(next_claim(100, held(0, 90), open, false), None);
    }

    #[test]
    fn a_single_slot_is_shared_by_turns() {
        assert_eq!(next_claim(1, held(0, 0), BOTH, false), Some((Lane::Live, 1)));
        assert_eq!(next_claim(1, held(0, 0), BOTH, true), Some((Lane::Bulk, 1)));
        let open = PerLane { live: false, bulk: true };
        assert_eq!(next_claim(1, held(0, 0), open, false), Some((Lane::Bulk, 1)));
    }

    #[test]
    fn one_delivery_in_ten_is_bulk_while_both_wait() {
        let mut turns = Turns::default();
        let picks: Vec<Lane> = (0..100).filter_map(|_| turns.pick(held(5, 5))).collect();
        assert_eq!(picks.iter().filter(|lane| **lane == Lane::Bulk).count(), 10);
        assert_eq!(picks[0], Lane::Live);
    }

    proptest! {
        #[test]
        fn claims_never_pass_the_prefetch(
            prefetch in 1_usize..300, live in 0_usize..300, bulk in 0_usize..300,
            open_live: bool, open_bulk: bool, turn: bool,
        ) {
            let open = PerLane { live: open_live, bulk: open_bulk };
            if let Some((lane, count)) = next_claim(prefetch, held(live, bulk), open, turn) {
                prop_assert!(count > 0);
                prop_assert!(live + bulk + count <= prefetch);
                let asked = if lane == Lane::Live { open_live } else { open_bulk };
                prop_assert!(asked, "a closed lane was asked");
            }
        }

        #[test]
        fn an_open_lane_with_free_slots_is_never_starved(
            prefetch in 2_usize..300, bulk in 0_usize..300,
        ) {
            // live alone with any free slot claims; bulk below its share claims under live load
            if bulk < prefetch {
                let open = PerLane { live: true, bulk: false };
                prop_assert!(next_claim(prefetch, held(0, bulk), open, false).is_some());
            }
            let busy = held(prefetch - 1, 0);
            prop_assert_eq!(next_claim(prefetch, busy, BOTH, false), Some((Lane::Bulk, 1)));
        }
    }
}
