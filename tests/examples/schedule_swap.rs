//! The schedule in three processes: deadlocks and doubles before, neither after.

use crate::outcome::{Outcome, server};

#[test]
fn swaps_in_three_processes_deadlock_and_double_before_and_happen_once_after() {
    let (postgres, redis) = (server("CUPPING_TEST_POSTGRES"), server("CUPPING_TEST_REDIS"));
    // It judges itself by its exit code; this is what a reader of its table sees.
    let schedule = Outcome::of("schedule_swap", &["--postgres", &postgres, "--redis", &redis]);
    assert!(schedule.number("before", "deadlocks") > 0.0);
    assert!(schedule.number("before", "errors_surfaced") > 0.0);
    assert_eq!(schedule.number("after", "operations"), 100.0);
    assert_eq!(schedule.number("after", "deadlocks"), 0.0);
    assert_eq!(schedule.number("after", "errors_surfaced"), 0.0);
    for doubled in [
        "swaps executed twice",
        "twins answered differently",
        "swaps rolled back twice",
        "alerts resolved twice",
        "rotas with nobody left",
    ] {
        assert_ne!(schedule.note("before", doubled), "0 of 20", "{doubled}");
        assert_eq!(schedule.note("after", doubled), "0 of 20", "{doubled}");
    }
    let late = schedule.note("after", "a late process");
    assert!(late.contains("is older than"), "refused by the fence: {late}");
    let pools = schedule.note("after", "pools");
    assert_eq!(pools.matches(" 0 leaked").count(), 3, "{pools}");
}
