//! What runs, how often and how much at once: merging, reruns, the limit, races.

use super::pipeline_rig::{Mode, PATIENCE, Rig, bean, drive, emptied, limits, record};
use super::support::eventually;
use cupping::index::SimilarityIndex;
use cupping::pipeline::Freshener;
use cupping::store::SimilarityStore;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tokio::sync::{Semaphore, watch};

/// Counts the runs of every bean.
fn count_runs(rig: &Rig) -> Arc<AtomicUsize> {
    let runs = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&runs);
    rig.index.before_scoring(move |beans| {
        seen.fetch_add(beans.len(), SeqCst);
    });
    runs
}

async fn hundred_messages_for_one_bean(mode: Mode) {
    let rig = Rig::new(mode, 10).await;
    rig.publish(std::iter::repeat_n(3, 100)).await;
    let runs = count_runs(&rig);
    let summary = rig.run_dry().await;
    assert!(runs.load(SeqCst) <= 2, "{} runs", runs.load(SeqCst));
    assert_eq!((summary.acked, summary.failed, summary.lost), (100, 0, 0));
    assert_eq!(rig.store.list(&bean(3)).await.expect("reads").len(), 9);
}

async fn arrives_while_running(mode: Mode) {
    let rig = Rig::new(mode, 5).await;
    rig.publish([1]).await;
    let runs = count_runs(&rig);
    let (written, mut writing) = watch::channel(0);
    let release = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&release);
    rig.store.before_write(move |_| {
        written.send_modify(|n| *n += 1);
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.expect("open").forget();
            Ok(())
        }
    });
    let rig = &rig;
    let summary = rig
        .run(|handle, stop| async move {
            writing.wait_for(|n| *n == 1).await.expect("alive");
            let handle = &handle;
            rig.publish([1, 1, 1]).await;
            eventually("three more are taken", PATIENCE, || async {
                handle.summary().received == 4
            })
            .await;
            assert_eq!(handle.in_flight(), 1, "the bean does not run twice at once");
            release.add_permits(100);
            emptied(&*rig.queue()).await;
            stop.cancel();
        })
        .await;
    assert_eq!(runs.load(SeqCst), 2, "exactly one more run");
    assert_eq!((summary.acked, summary.coalesced, summary.reruns), (4, 2, 1));
}

async fn the_limit_is_real(mode: Mode) {
    let mut rig = Rig::new(mode, 60).await;
    rig.settings.pipeline = limits(8, 3, 5);
    rig.publish(0..60).await;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (entered, peak) = (Arc::clone(&now), Arc::clone(&most));
    rig.index.before_scoring(move |beans| {
        let count = entered.fetch_add(beans.len(), SeqCst) + beans.len();
        peak.fetch_max(count, SeqCst);
    });
    let release = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&release);
    rig.store.before_write(move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.expect("open").forget();
            Ok(())
        }
    });
    let left = Arc::clone(&now);
    rig.store.after_write(move |beans| {
        left.fetch_sub(beans, SeqCst);
    });
    let full = Arc::clone(&most);
    let rig = &rig;
    let summary = rig
        .run(|handle, stop| async move {
            // Nothing can be written, so what can start has started once the limit is reached.
            eventually("eight beans run", PATIENCE, || async {
                full.load(SeqCst) == 8 && handle.in_flight() == 8
            })
            .await;
            eventually("all are taken", PATIENCE, || async {
                handle.summary().received == 60
            })
            .await;
            release.add_permits(1000);
            emptied(&*rig.queue()).await;
            stop.cancel();
        })
        .await;
    assert_eq!(most.load(SeqCst), 8, "never more");
    assert_eq!(summary.acked, 60);
}

/// Two updates of one bean, in two pipelines: the first computes its list, is held, the bean
/// changes, the second computes and commits, and only then the first writes.
async fn the_later_update_stands(mode: Mode) {
    let mut first = Rig::new(mode, 12).await;
    let second = first.beside();
    // So that it leaves the second message to the second.
    first.settings.limits.messages = Some(1);
    first.publish([4]).await;
    let (computed, mut held) = watch::channel(0);
    let release = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&release);
    first.store.before_write(move |_| {
        computed.send_modify(|n| *n += 1);
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.expect("open").forget();
            Ok(())
        }
    });
    let (first, second) = (&first, &second);
    let summary = first
        .run(|_, _| async move {
            held.wait_for(|n| *n == 1).await.expect("alive");
            first.writer.import(&[record(4, 3)]).await.expect("changes the bean");
            second.publish([4]).await;
            second
                .run(|handle, stop| async move {
                    eventually("the second has committed", PATIENCE, || async {
                        handle.summary().acked == 1
                    })
                    .await;
                    stop.cancel();
                })
                .await;
            release.add_permits(100);
            emptied(&*first.queue()).await;
            let fresh = Freshener::new(second.store.clone(), second.index.clone());
            let (snapshot, _) = fresh.refresh().await.expect("reads");
            let right = snapshot.top_k(&[bean(4)]).remove(0).expect("is there");
            assert_eq!(first.store.list(&bean(4)).await.expect("reads"), right);
        })
        .await;
    assert_eq!((summary.acked, summary.reruns), (1, 1), "its own list was outdated: run again");
}

/// After a run over everything, each list is the one the index computes from the whole.
async fn every_list_is_right(mode: Mode) {
    let rig = Rig::new(mode, 150).await;
    rig.publish((0..150).chain(40..90).rev()).await;
    let summary = rig.run_dry().await;
    assert_eq!((summary.acked, summary.failed), (200, 0));
    let snapshot = rig.index.snapshot();
    let ids: Vec<_> = (0..150).map(bean).collect();
    for (id, right) in ids.iter().zip(snapshot.top_k(&ids)) {
        assert_eq!(rig.store.list(id).await.expect("reads"), right.expect("is there"), "{id}");
    }
    rig.publish(0..150).await;
    let again = rig.run_dry().await;
    assert_eq!((again.processed, again.unchanged), (150, 150), "nothing is written twice");
}

/// Every duration the summary tells is one that happened.
async fn a_limit_of_messages(mode: Mode) {
    let mut rig = Rig::new(mode, 40).await;
    rig.settings.limits.messages = Some(15);
    rig.publish(0..40).await;
    let summary = rig.run(|_, _| async {}).await;
    assert_eq!((summary.received, summary.acked), (15, 15));
    assert_eq!((rig.left().await, rig.highest_attempt().await), (25, 1));
    rig.settings.limits.messages = None;
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&order);
    rig.index.before_scoring(move |beans| seen.lock().expect("fresh").extend(beans.to_vec()));
    assert_eq!(rig.run_dry().await.acked, 25);
    assert_eq!(order.lock().expect("unpoisoned").len(), 25, "each once");
}

super::pipeline_rig::in_both_modes! {
    hundred_waiting_messages_for_one_bean_are_at_most_two_runs: hundred_messages_for_one_bean,
    a_message_that_arrives_while_its_bean_runs_causes_exactly_one_more_run: arrives_while_running,
    never_more_beans_are_in_flight_than_the_limit: the_limit_is_real,
    of_two_raced_updates_the_later_one_s_list_stands: the_later_update_stands,
    every_list_is_right_and_unchanged_ones_are_not_written: every_list_is_right,
    a_limit_of_messages_drains_and_leaves_the_others: a_limit_of_messages,
}
