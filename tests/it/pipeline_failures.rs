//! What failures come to: outages, panics, bad beans, the ladder, and the end of a worker.

use super::pipeline_rig::{Mode, PATIENCE, Rig, bean, drive, emptied, limits};
use super::support::eventually;
use cupping::resilience::retryability::{Reason, Retryability};
use cupping::store::{SimilarityStore, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::Semaphore;

fn refused(reason: Reason) -> StoreError {
    StoreError::Query {
        doing: "a test refuses",
        retryability: Retryability::Transient(reason),
        source: sqlx::Error::PoolTimedOut,
    }
}

async fn outage(mode: Mode) {
    let rig = Rig::new(mode, 30).await;
    rig.publish(0..30).await;
    let down = Arc::new(AtomicBool::new(true));
    let (write, probe) = (Arc::clone(&down), Arc::clone(&down));
    let answer = |down: &AtomicBool| {
        if down.load(SeqCst) { Err(refused(Reason::Connection)) } else { Ok(()) }
    };
    rig.store.before_write(move |_| std::future::ready(answer(&write)));
    let probes = Arc::new(AtomicUsize::new(0));
    let looks = Arc::clone(&probes);
    let rig = &rig;
    let summary = rig
        .run(|handle, stop| async move {
            let handle = &handle;
            eventually("the pipeline runs", PATIENCE, || async {
                handle.readiness().index_loaded
            })
            .await;
            rig.store.on_probe(move || {
                looks.fetch_add(1, SeqCst);
                answer(&probe)
            });
            eventually("readiness tells of the outage", PATIENCE, || async {
                !handle.readiness().store_reachable
            })
            .await;
            eventually("it looks again and again", PATIENCE, || async {
                probes.load(SeqCst) > 3
            })
            .await;
            assert_eq!(handle.in_flight(), 0, "nothing is started meanwhile");
            down.store(false, SeqCst);
            emptied(&*rig.queue()).await;
            assert!(handle.ready(), "{:?}", handle.readiness());
            assert!(rig.failed().await.is_empty());
            stop.cancel();
        })
        .await;
    assert_eq!((summary.acked, summary.retried, summary.failed), (30, 0, 0));
}

async fn panic_in_scoring(mode: Mode) {
    let rig = Rig::new(mode, 20).await;
    rig.publish(0..20).await;
    rig.index.before_scoring(|beans| {
        assert!(!beans.contains(&bean(13)), "scoring panics, as told");
    });
    let summary = rig.run_dry().await;
    assert_eq!((summary.acked, summary.failed, summary.retried), (19, 1, 0));
    assert_eq!(rig.failed().await, [("panic".to_owned(), 1)]);
    assert!(rig.store.list(&bean(13)).await.expect("reads").is_empty());
}

async fn one_bad_bean(mode: Mode) {
    let mut rig = Rig::new(mode, 40).await;
    rig.settings.pipeline = limits(40, 40, 1);
    rig.publish(0..40).await;
    rig.store.before_write(|beans| {
        let bad = beans.contains(&bean(17));
        std::future::ready(if bad { Err(refused(Reason::Serialization)) } else { Ok(()) })
    });
    let summary = rig.run_dry().await;
    assert_eq!((summary.acked, summary.retried, summary.failed), (39, 2, 1));
    assert_eq!(rig.failed().await, [("serialization".to_owned(), 3)]);
    for n in (0..40).filter(|n| *n != 17) {
        assert_eq!(rig.store.list(&bean(n)).await.expect("reads").len(), 20, "{n}");
    }
}

async fn drains(mode: Mode) {
    let mut rig = Rig::new(mode, 50).await;
    rig.settings.pipeline = limits(10, 5, 2);
    rig.publish(0..50).await;
    let release = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&release);
    rig.store.before_write(move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.expect("open").forget();
            Ok(())
        }
    });
    let rig = &rig;
    let summary = rig
        .run(|handle, stop| async move {
            let handle = &handle;
            eventually("ten run, the others wait", PATIENCE, || async {
                handle.in_flight() == 10 && handle.waiting() == 40
            })
            .await;
            stop.cancel();
            eventually("what waits is handed back", PATIENCE, || async {
                handle.summary().returned == 40
            })
            .await;
            assert!(!handle.ready() && handle.in_flight() == 10);
            release.add_permits(1000);
        })
        .await;
    assert_eq!((summary.acked, summary.returned, summary.lost), (10, 40, 0));
    assert_eq!((rig.left().await, rig.highest_attempt().await), (40, 1));
    assert_eq!(rig.run_dry().await.acked, 40);
}

async fn grace_is_over(mode: Mode) {
    let mut rig = Rig::new(mode, 12).await;
    rig.settings.grace = Duration::from_millis(100);
    rig.publish(0..12).await;
    rig.store.before_write(|_| std::future::pending());
    let rig = &rig;
    let summary = rig
        .run(|handle, stop| async move {
            eventually("something runs", PATIENCE, || async { handle.in_flight() > 0 }).await;
            stop.cancel();
        })
        .await;
    assert_eq!(summary.acked, 0);
    rig.store.before_write(|_| std::future::ready(Ok(())));
    let again = rig.run_dry().await;
    assert_eq!((again.acked, again.retried), (12, 0), "handed back, not one attempt counted");
}

async fn missing_bean(mode: Mode) {
    let rig = Rig::new(mode, 3).await;
    rig.publish([1, 777]).await;
    let summary = rig.run_dry().await;
    assert_eq!((summary.acked, summary.retried, summary.failed), (2, 2, 0));
    assert!(rig.failed().await.is_empty());
}

async fn unknown_commit(mode: Mode) {
    let rig = Rig::new(mode, 10).await;
    rig.publish(0..10).await;
    let first = AtomicBool::new(true);
    rig.store.before_write(move |_| {
        let unknown = StoreError::Query {
            doing: "a test loses the answer to a commit",
            retryability: Retryability::OutcomeUnknown,
            source: sqlx::Error::PoolTimedOut,
        };
        std::future::ready(if first.swap(false, SeqCst) { Err(unknown) } else { Ok(()) })
    });
    let summary = rig.run_dry().await;
    assert_eq!((summary.acked, summary.retried, summary.failed), (10, 0, 0));
    assert!(summary.reruns >= 1);
}

super::pipeline_rig::in_both_modes! {
    an_outage_of_the_database_pauses_and_burns_no_attempt: outage,
    a_panic_in_scoring_costs_that_message_and_it_ends_in_the_failed_queue: panic_in_scoring,
    a_bean_whose_writes_fail_climbs_the_ladder_while_its_batch_commits: one_bad_bean,
    a_drain_finishes_what_runs_and_hands_the_rest_back: drains,
    what_still_runs_when_the_grace_is_over_is_handed_back: grace_is_over,
    a_bean_that_is_missing_is_retried_twice_and_then_acknowledged: missing_bean,
    a_commit_of_unknown_outcome_runs_the_beans_again: unknown_commit,
}

/// The same as with a hook, with a trigger of the database itself.
#[test]
fn a_trigger_that_raises_40001_for_one_bean_does_not_hold_up_its_batch() {
    drive(async {
        let mut rig = Rig::new(Mode::OneDatabase, 40).await;
        rig.settings.pipeline = limits(40, 40, 1);
        rig.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
               IF NEW.source_bean_id = '00000000-0000-4000-8000-000000000017' THEN \
                 RAISE EXCEPTION 'refused' USING ERRCODE = '40001'; \
               END IF; RETURN NEW; END $$; \
             CREATE TRIGGER refuse BEFORE INSERT ON coffee_bean_similarity \
               FOR EACH ROW EXECUTE FUNCTION refuse();",
        )
        .await;
        rig.publish(0..40).await;
        let summary = rig.run_dry().await;
        assert_eq!((summary.acked, summary.retried, summary.failed), (39, 2, 1));
        assert_eq!(rig.failed().await, [("serialization".to_owned(), 3)]);
        assert_eq!(rig.store.list(&bean(16)).await.expect("reads").len(), 20);
    });
}
