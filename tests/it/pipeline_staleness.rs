//! What a worker must not be misled by: a claim that ran out, and an index that is behind.

use super::pipeline_rig::{Mode, PATIENCE, Rig, bean, drive, emptied, record};
use super::support::eventually;
use cupping::config::{Guarded, Refresh};
use cupping::domain::bean::BeanId;
use cupping::pipeline::Freshener;
use cupping::store::{SimilarityStore, StoreSettings};
use std::sync::Arc;

/// The list computed from the catalogue as it is now.
async fn right(rig: &Rig, n: usize) -> Vec<BeanId> {
    let other = rig.beside();
    let fresh = Freshener::new(other.store.clone(), other.index.clone());
    let (snapshot, _) = fresh.refresh().await.expect("reads");
    let list = snapshot.top_k(&[bean(n)]).remove(0).expect("is there");
    list.into_iter().map(|similar| similar.bean).collect()
}

async fn stored(rig: &Rig, n: usize) -> Vec<BeanId> {
    let list = rig.store.list(&bean(n)).await.expect("reads");
    list.into_iter().map(|similar| similar.bean).collect()
}

/// A claim runs out while its bean is worked on: the rows are right and stay, but the message is
/// not ours to count as acknowledged.
async fn claim_runs_out(mode: Mode) {
    let rig = Rig::new(mode, 6).await;
    rig.publish([2]).await;
    let other = Arc::new(rig.beside());
    rig.store.before_write(move |_| {
        let other = Arc::clone(&other);
        async move {
            other.lose_claims().await;
            Ok(())
        }
    });
    let summary = rig
        .run(|handle, stop| async move {
            eventually("it is settled", PATIENCE, || async {
                let summary = handle.summary();
                summary.lost + summary.acked == 1
            })
            .await;
            stop.cancel();
        })
        .await;
    assert_eq!((summary.lost, summary.acked), (1, 0));
    assert_eq!(rig.left().await, 1, "it is delivered again");
    assert_eq!(stored(&rig, 2).await.len(), 5);
}

fn reloading() -> StoreSettings {
    let mut settings = StoreSettings::default();
    settings.catalogue.refresh = Refresh::Reload;
    settings.catalogue.reload_interval = std::time::Duration::from_secs(3600);
    settings
}

/// Without a log the index is up to an hour old here; a message about a bean that was created or
/// changed since is worked off all the same.
async fn newer_than_the_index(mode: Mode) {
    let rig = Rig::with(mode, 8, reloading()).await;
    rig.publish([1]).await;
    let (rig, queue) = (&rig, rig.queue());
    let summary = rig
        .run(|_, stop| async move {
            emptied(&*queue).await;
            rig.writer.import(&[record(4, 3), record(8, 0)]).await.expect("imports");
            rig.publish([4, 8]).await;
            emptied(&*queue).await;
            stop.cancel();
        })
        .await;
    assert_eq!((summary.acked, summary.retried), (3, 0));
    assert_eq!(stored(rig, 8).await, right(rig, 8).await, "a new bean");
    assert_eq!(stored(rig, 4).await, right(rig, 4).await, "a changed bean");
}

/// Without a log, under the graph lock: the index still has a bean that is gone, so the list of
/// another names it. That is found out at the write, and mended by one reload.
async fn the_index_has_a_bean_that_is_gone(mode: Mode) {
    let rig = Rig::with(mode, 8, StoreSettings { guarded: Guarded::On, ..reloading() }).await;
    rig.publish([1]).await;
    let (rig, queue) = (&rig, rig.queue());
    let summary = rig
        .run(|_, stop| async move {
            emptied(&*queue).await;
            rig.execute("DELETE FROM coffee_bean WHERE name = 'Bean 5'").await;
            rig.publish([2]).await;
            emptied(&*queue).await;
            stop.cancel();
        })
        .await;
    assert_eq!(summary.acked, 2);
    assert!(summary.reruns <= 1, "{} runs in vain", summary.reruns);
    assert_eq!(stored(rig, 2).await, right(rig, 2).await);
}

super::pipeline_rig::in_both_modes! {
    a_message_whose_claim_ran_out_is_lost_and_not_acked: claim_runs_out,
    a_bean_newer_than_a_reloaded_index_is_computed_all_the_same: newer_than_the_index,
}

#[test]
fn an_index_that_names_a_bean_that_is_gone_is_reloaded_at_once() {
    drive(the_index_has_a_bean_that_is_gone(Mode::OneDatabase));
}
