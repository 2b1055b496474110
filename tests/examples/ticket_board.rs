//! The ticket board: opposite moves deadlock before, and after they do not.

use crate::outcome::{Outcome, server};

#[test]
fn a_hundred_opposite_moves_deadlock_before_and_keep_every_position_after() {
    let postgres = server("CUPPING_TEST_POSTGRES");
    // It judges itself by its exit code; this is what a reader of its table sees.
    let board = Outcome::of("ticket_board", &["--postgres", &postgres]);
    assert!(board.number("before", "deadlocks") > 0.0);
    assert!(board.number("before", "errors_surfaced") > 0.0);
    assert_eq!(board.number("after", "deadlocks"), 0.0);
    assert_eq!(board.number("after", "errors_surfaced"), 0.0);
    assert_eq!(board.number("after", "operations"), 100.0);
    assert_eq!(board.note("after", "tickets at a wrong position"), "0");
    assert_eq!(
        board.note("after", "statements a move over 2 positions"),
        board.note("after", "statements a move over 200 positions"),
    );
    let slept = board.note("after", "the client that slept");
    assert!(!slept.ends_with("again 0 times"), "it must have missed something: {slept}");
}
