//! The pipeline on RabbitMQ and PostgreSQL: what has no ticket is acknowledged after the commit.

use super::pipeline_doubles::HookedIndex;
use super::pipeline_rig::{Mode, PATIENCE, Rig, bean, drive, limits};
use super::support::eventually;
use cupping::config::Config;
use cupping::pipeline::Freshener;
use cupping::resilience::retryability::{Reason, Retryability};
use cupping::store::{SimilarityStore, StoreError};

#[test]
fn on_a_broker_every_list_is_right_and_every_message_is_acknowledged() {
    drive(async {
        let rig = &Rig::new(Mode::Broker, 100).await;
        rig.queue().prepare().await.expect("declares");
        rig.publish((0..100).chain(20..70).rev()).await;
        let summary = rig
            .run(|handle, stop| async move {
                let handle = &handle;
                eventually("all is settled", PATIENCE, || async { handle.summary().acked == 150 })
                    .await;
                assert!(handle.ready(), "{:?}", handle.readiness());
                stop.cancel();
            })
            .await;
        assert_eq!((summary.received, summary.failed, summary.lost), (150, 0, 0));
        let index = HookedIndex::new(Config::default().score_settings());
        let (snapshot, _) =
            Freshener::new(rig.store.clone(), index).refresh().await.expect("reads");
        let ids: Vec<_> = (0..100).map(bean).collect();
        for (id, right) in ids.iter().zip(snapshot.top_k(&ids)) {
            assert_eq!(rig.store.list(id).await.expect("reads"), right.expect("is there"));
        }
    });
}

#[test]
fn on_a_broker_a_bad_bean_climbs_the_ladder_while_its_batch_commits() {
    drive(async {
        let mut rig = Rig::new(Mode::Broker, 30).await;
        rig.settings.pipeline = limits(30, 30, 1);
        let rig = &rig;
        rig.queue().prepare().await.expect("declares");
        rig.publish(0..30).await;
        rig.store.before_write(|beans| {
            let conflict = StoreError::Query {
                doing: "a test refuses",
                retryability: Retryability::Transient(Reason::Serialization),
                source: sqlx::Error::PoolTimedOut,
            };
            std::future::ready(if beans.contains(&bean(7)) { Err(conflict) } else { Ok(()) })
        });
        let summary = rig
            .run(|handle, stop| async move {
                let handle = &handle;
                eventually("the bad bean has failed", PATIENCE, || async {
                    let now = handle.summary();
                    (now.acked, now.failed) == (29, 1)
                })
                .await;
                stop.cancel();
            })
            .await;
        assert_eq!((summary.received, summary.retried, summary.lost), (32, 2, 0));
        assert_eq!(rig.queue().depth().await.expect("answers").failed, 1);
    });
}
