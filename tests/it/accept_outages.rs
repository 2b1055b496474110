//! What must hold when a server is restarted under load. These tests start servers of their own.

use crate::support::beans;
use crate::support::oracle::assert_lists_equal_the_oracles;
use crate::support::servers::Servers;
use crate::support::world::soon;
use crate::support::world::{Worker, World};

#[tokio::test(flavor = "multi_thread")]
async fn work_resumes_by_itself_after_postgres_and_rabbitmq_are_restarted_under_load() {
    let servers = Servers::start(&["postgres", "rabbitmq"]);
    let world = World::on(&servers.postgres, Some(servers.amqp.clone()), "").await;
    let catalogue = beans::beans(400, 21);
    world.succeed_with_input(&["import", "-"], &beans::lines(&catalogue));
    let worker = world.worker(&["pipeline.batch=2", "pipeline.concurrency=4"]);
    worker.ready().await;
    let order = beans::ids(&catalogue);

    world.succeed_with_input(&["publish", "-"], &order);
    soon("some work is done", async || worker.acked() > 0).await;
    servers.stop("postgres");
    not_ready(&worker).await;
    servers.start_again("postgres");
    worker.ready().await;
    soon("all is acked after PostgreSQL came back", async || worker.acked() >= 400).await;
    assert_eq!(retries(&worker), 0.0, "an outage burns no attempt");

    world.succeed_with_input(&["publish", "-"], &order);
    servers.stop("rabbitmq");
    not_ready(&worker).await;
    servers.start_again("rabbitmq");
    worker.ready().await;
    world.succeed_with_input(&["publish", "-"], &order);
    soon("all is acked after RabbitMQ came back", async || worker.acked() >= 1200).await;
    assert!(worker.metric("cupping_broker_reconnects_total") >= 1.0);
    drained(&world).await;
    assert_lists_equal_the_oracles(&world).await;
    assert!(worker.terminate().success());
}

async fn not_ready(worker: &Worker) {
    soon("readiness tells of the outage", async || {
        worker.get("/readyz").is_some_and(|answer| answer.0 == 503)
    })
    .await;
    assert!(worker.get("/livez").is_some_and(|answer| answer.0 == 200), "alive meanwhile");
}

/// One more message for a bean and its ack prove that nothing is stuck before it.
async fn drained(world: &World) {
    let (status, log) = world.worker_with(&[], &["--time-limit", "2s"]).wait();
    assert!(status.success(), "{log}");
}

fn retries(worker: &Worker) -> f64 {
    worker
        .metrics()
        .iter()
        .filter(|(name, _)| name.starts_with("cupping_message_retries_total"))
        .map(|(_, value)| value)
        .sum()
}
