//! Which lane is served next.
//!
//! Decides: live first, but every tenth delivery bulk first, so that under full load of both the
//! bulk lane gets a tenth of the slots, and all that live leaves otherwise. Never does: wait.

use crate::transport::Lane;

/// One delivery in so many is offered to the bulk lane first.
const BULK_TURN: u8 = 10;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Turns {
    since_bulk: u8,
}

impl Turns {
    /// The lanes in the order in which they are asked now.
    pub(super) fn order(self) -> [Lane; 2] {
        if self.since_bulk + 1 >= BULK_TURN {
            [Lane::Bulk, Lane::Live]
        } else {
            [Lane::Live, Lane::Bulk]
        }
    }

    /// Notes which lane was served. A bulk delivery that live left room for is no turn used up
    /// early: the count starts again with it, since live had nothing to give.
    pub(super) fn served(&mut self, lane: Lane) {
        self.since_bulk = match lane {
            Lane::Bulk => 0,
            Lane::Live => (self.since_bulk + 1).min(BULK_TURN),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(turns: &mut Turns, waiting: &[Lane]) -> Lane {
        let lane = turns.order().into_iter().find(|lane| waiting.contains(lane)).unwrap();
        turns.served(lane);
        lane
    }

    #[test]
    fn under_full_load_one_in_ten_is_bulk() {
        let mut turns = Turns::default();
        let served: Vec<Lane> =
            (0..1000).map(|_| serve(&mut turns, &[Lane::Live, Lane::Bulk])).collect();
        assert_eq!(served.iter().filter(|lane| **lane == Lane::Bulk).count(), 100);
        assert_eq!(served[0], Lane::Live);
    }

    #[test]
    fn bulk_gets_everything_that_live_leaves() {
        let mut turns = Turns::default();
        assert!((0..50).all(|_| serve(&mut turns, &[Lane::Bulk]) == Lane::Bulk));
        assert_eq!(serve(&mut turns, &[Lane::Live, Lane::Bulk]), Lane::Live);
    }

    #[test]
    fn a_bulk_message_that_comes_late_still_gets_its_turn() {
        let mut turns = Turns::default();
        assert!((0..50).all(|_| serve(&mut turns, &[Lane::Live]) == Lane::Live));
        assert_eq!(serve(&mut turns, &[Lane::Live, Lane::Bulk]), Lane::Bulk);
    }
}
