//! What must hold when workers come and go, when settings change between runs, and when a run is
//! limited.

use crate::support::beans;
use crate::support::oracle::assert_lists_equal_the_oracles;
use crate::support::world::soon;
use crate::support::world::{Worker, World};
use std::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn scaled_from_one_to_four_to_one_under_load_nothing_is_lost() {
    let world = World::broker().await;
    let catalogue = beans::beans(500, 31);
    world.succeed_with_input(&["import", "-"], &beans::lines(&catalogue));
    // Small batches and a small prefetch, so that there is something left to share.
    let settings = ["pipeline.batch=2", "pipeline.concurrency=4", "transport.prefetch=8"];
    let first = world.worker(&settings);
    world.succeed_with_input(&["publish", "-"], &beans::ids(&catalogue));
    soon("the first worker works", async || first.acked() > 0).await;
    let more: Vec<Worker> = (0..3).map(|_| world.worker(&settings)).collect();
    for round in 0..3 {
        world.succeed_with_input(&["publish", "-"], &beans::ids(&catalogue));
        for worker in &more {
            let before = worker.acked();
            soon(&format!("each takes its share, round {round}"), async || worker.acked() > before)
                .await;
        }
    }
    for worker in more {
        assert!(worker.terminate().success(), "a drained worker exits 0");
    }
    soon("the first worker empties the queue", async || queue_is_empty(&world).await).await;
    assert_lists_equal_the_oracles(&world).await;
    assert!(first.terminate().success());
}

async fn queue_is_empty(world: &World) -> bool {
    crate::support::rabbit::Raw::connect(world).await.is_empty().await
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_in_the_step_queues_of_old_settings_still_come_back() {
    let world = World::broker().await;
    let catalogue = beans::beans(10, 41);
    world.succeed_with_input(&["import", "-"], &beans::lines(&catalogue));
    let missing = uuid::Uuid::new_v4().to_string();
    let old = world.worker(&["retry.delay=\"3s\""]);
    old.ready().await;
    world.succeed(&["publish", &missing]);
    soon("it waits in the old ladder's first step", async || {
        old.metric("cupping_message_retries_total{reason=\"bean_missing\"}") >= 1.0
    })
    .await;
    assert!(old.terminate().success());
    let new = world.worker(&["retry.delay=\"200ms\""]);
    soon("it comes back and ends under the new settings", async || new.acked() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_limited_by_messages_drains_and_exits_zero() {
    let world = World::broker().await;
    let catalogue = beans::beans(150, 51);
    world.succeed_with_input(&["import", "-"], &beans::lines(&catalogue));
    world.succeed(&["publish", "--all"]);
    let (status, log) = world.worker_with(&[], &["--limit", "100"]).wait();
    assert!(status.success(), "{log}");
    let heir = world.worker(&[]);
    soon("the rest is there for another", async || queue_is_empty(&world).await).await;
    soon("the rest is acked", async || heir.acked() == 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_limited_by_time_drains_and_exits_zero() {
    let world = World::one_database().await;
    let started = Instant::now();
    let (status, log) = world.worker_with(&[], &["--time-limit", "5s"]).wait();
    assert!(status.success(), "{log}");
    assert!(started.elapsed().as_secs() >= 5, "it ran for its time");
}
