//! The schedule: merging, order, limits, suspects; and random walks that must keep its promises.

use super::*;
use proptest::prelude::*;

const BOUNDS: Bounds = Bounds { concurrency: 4, batch: 2, workers: 3 };

fn bean(n: usize) -> BeanId {
    BeanId::parse(&format!("bean-{n}")).expect("a valid id")
}

fn schedule() -> Schedule<u32> {
    Schedule::new(BOUNDS, [])
}

fn ids(batch: Option<Vec<(BeanId, Vec<u32>)>>) -> Vec<String> {
    batch.unwrap_or_default().into_iter().map(|(bean, _)| bean.to_string()).collect()
}

#[test]
fn messages_for_a_waiting_bean_are_merged_into_one_run() {
    let mut s = schedule();
    assert_eq!(s.arrive(bean(1), Lane::Live, 0, 10), Arrival::New);
    for token in 11..110 {
        assert_eq!(s.arrive(bean(1), Lane::Live, 0, token), Arrival::Merged);
    }
    let batch = s.start().expect("a run");
    assert_eq!(batch.len(), 1);
    assert_eq!(batch[0].1.len(), 100);
    assert!(s.start().is_none());
    assert_eq!(s.ended(&bean(1), End::Done), None);
    assert!(s.idle());
}

#[test]
fn messages_that_arrive_while_the_bean_runs_cause_exactly_one_more_run() {
    let mut s = schedule();
    s.arrive(bean(1), Lane::Live, 0, 1);
    s.start().expect("the first run");
    s.arrive(bean(1), Lane::Live, 0, 2);
    s.arrive(bean(1), Lane::Bulk, 0, 3);
    assert!(s.start().is_none(), "never twice at once");
    assert_eq!(s.ended(&bean(1), End::Done), Some("arrived"));
    assert_eq!(s.start().expect("one more run")[0].1, vec![2, 3]);
    s.ended(&bean(1), End::Done);
    assert!(s.start().is_none());
}

#[test]
fn a_run_that_must_run_again_takes_along_what_arrived_meanwhile() {
    let mut s = schedule();
    s.arrive(bean(1), Lane::Live, 0, 1);
    s.start().expect("the first run");
    s.arrive(bean(1), Lane::Live, 0, 2);
    assert_eq!(s.ended(&bean(1), End::Again(vec![1], "outdated")), Some("outdated"));
    let batch = s.start().expect("one more run");
    assert_eq!(batch.len(), 1);
    assert_eq!(batch[0].1, vec![2, 1]);
    assert!(s.start().is_none());
}

#[test]
fn batches_beans_and_workers_are_bounded() {
    let mut s = schedule();
    for n in 0..10 {
        s.arrive(bean(n), Lane::Live, 0, 0);
    }
    assert_eq!(ids(s.start()).len(), 2);
    assert_eq!(ids(s.start()).len(), 2);
    assert!(s.start().is_none(), "four beans are in flight");
    s.ended(&bean(0), End::Done);
    assert_eq!(ids(s.start()), vec!["bean-4"], "room for one, in the third batch");
    s.ended(&bean(1), End::Done);
    assert_eq!(ids(s.start()), vec!["bean-5"], "the first batch has ended");
}

#[test]
fn bulk_gets_at_least_a_tenth_while_live_has_work_and_the_rest_when_not() {
    let mut s = Schedule::new(Bounds { concurrency: 1, batch: 1, workers: 1 }, []);
    for n in 0..200 {
        s.arrive(bean(n), Lane::Live, 0, 0);
        s.arrive(bean(1000 + n), Lane::Bulk, 0, 0);
    }
    let mut bulk = 0;
    for _ in 0..100 {
        let (id, _) = s.start().expect("work").remove(0);
        bulk += usize::from(id.as_str().len() > "bean-999".len());
        s.ended(&id, End::Done);
    }
    assert_eq!(bulk, 10);
}

#[test]
fn a_live_message_lifts_a_waiting_bulk_bean() {
    let mut s = Schedule::new(Bounds { concurrency: 1, batch: 1, workers: 1 }, []);
    s.arrive(bean(1), Lane::Bulk, 0, 0);
    s.arrive(bean(2), Lane::Bulk, 0, 0);
    s.arrive(bean(2), Lane::Live, 0, 1);
    assert_eq!(ids(s.start()), vec!["bean-2"]);
    s.ended(&bean(2), End::Done);
    assert_eq!(ids(s.start()), vec!["bean-1"]);
    s.ended(&bean(1), End::Done);
    assert!(s.idle() && s.start().is_none(), "the stale bulk entry starts nothing");
}

#[test]
fn a_suspected_killer_runs_alone_and_the_others_are_displaced() {
    let mut s = schedule();
    s.arrive(bean(1), Lane::Live, 0, 1);
    s.start().expect("an innocent run");
    s.arrive(bean(2), Lane::Live, 0, 2);
    s.arrive(bean(9), Lane::Live, SUSPECT_CRASHES, 9);
    assert!(s.start().is_none(), "it waits until nothing else runs, and holds the others");
    assert!(s.displaced().is_empty());
    s.ended(&bean(1), End::Done);
    assert_eq!(ids(s.start()), vec!["bean-9"]);
    assert_eq!(s.displaced(), vec![2]);
    s.arrive(bean(3), Lane::Live, 0, 3);
    assert!(s.start().is_none());
    assert_eq!(s.displaced(), vec![3]);
    s.ended(&bean(9), End::Done);
    s.arrive(bean(3), Lane::Live, 0, 3);
    assert_eq!(ids(s.start()), vec!["bean-3"]);
    assert!(s.displaced().is_empty());
}

#[test]
fn nothing_starts_while_suspended_and_nothing_is_lost() {
    let mut s = schedule();
    s.arrive(bean(1), Lane::Live, 0, 1);
    s.start().expect("a run");
    s.suspend(true);
    assert_eq!(s.ended(&bean(1), End::Back(vec![1])), None);
    assert!(s.start().is_none());
    s.suspend(false);
    assert_eq!(s.start().expect("the same run")[0].1, vec![1]);
}

#[test]
fn beans_of_an_earlier_dispatcher_are_not_started_a_second_time() {
    let mut s = Schedule::new(BOUNDS, [bean(1)]);
    s.arrive(bean(1), Lane::Live, 0, 1);
    assert!(s.start().is_none());
    s.ended(&bean(1), End::Done);
    assert_eq!(ids(s.start()), vec!["bean-1"]);
}

proptest! {
    /// Random arrivals, starts and ends: no bean twice at once, limits kept, every delivery
    /// comes out exactly once, and the schedule ends empty.
    #[test]
    fn random_walks_keep_the_promises(
        steps in prop::collection::vec((0u8..10, 0usize..6, 0u32..5), 1..300),
    ) {
        let mut s = schedule();
        let mut running: Vec<(BeanId, Vec<u32>)> = Vec::new();
        let (mut sent, mut seen) = (0u32, Vec::new());
        for (action, n, crashes) in steps {
            match action {
                0..=4 => {
                    let lane = if n % 2 == 0 { Lane::Live } else { Lane::Bulk };
                    s.arrive(bean(n), lane, crashes, sent);
                    sent += 1;
                }
                5..=6 => running.extend(s.start().unwrap_or_default()),
                _ if running.is_empty() => {}
                kind => {
                    let (id, tokens) = running.swap_remove(n % running.len());
                    let end = match kind {
                        7 => { seen.extend(tokens); End::Done }
                        8 => End::Again(tokens, "outdated"),
                        _ => End::Back(tokens),
                    };
                    s.ended(&id, end);
                }
            }
            seen.extend(s.displaced());
            let mut beans: Vec<_> = running.iter().map(|(id, _)| id.clone()).collect();
            prop_assert_eq!(beans.len(), s.in_flight());
            prop_assert!(beans.len() <= BOUNDS.concurrency);
            beans.sort();
            beans.dedup();
            prop_assert_eq!(beans.len(), s.in_flight());
        }
        while !s.idle() {
            running.extend(s.start().unwrap_or_default());
            let (id, tokens) = running.pop().expect("something runs while not idle");
            seen.extend(tokens);
            s.ended(&id, End::Done);
        }
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..sent).collect::<Vec<_>>());
    }
}
