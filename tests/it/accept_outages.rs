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
    let worker = world.worker(&PATIENT);
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

    // Only a message can bring a list back, so that one that is lost leaves a list missing.
    let lists = sources(&world).await;
    sqlx::query("TRUNCATE coffee_bean_similarity").execute(&world.admin).await.expect("emptied");
    let mut hostage = world.admin.acquire().await.expect("a connection");
    sqlx::raw_sql("BEGIN; LOCK TABLE coffee_bean_similarity IN SHARE MODE")
        .execute(&mut *hostage)
        .await
        .expect("no write gets through before the broker is gone");
    world.succeed_with_input(&["publish", "-"], &order);
    servers.stop("rabbitmq");
    not_ready(&worker).await;
    servers.start_again("rabbitmq");
    sqlx::raw_sql("ROLLBACK").execute(&mut *hostage).await.expect("the lock is given back");
    worker.ready().await;
    soon("every list is back", async || sources(&world).await == lists).await;
    assert!(worker.metric("cupping_broker_reconnects_total") >= 1.0);
    assert_lists_equal_the_oracles(&world).await;
    assert!(worker.terminate().success());
}

/// Small batches, so that there is something left to do; a lock is waited for as long as it takes.
const PATIENT: [&str; 5] = [
    "pipeline.batch=2",
    "pipeline.concurrency=4",
    "transaction.lock_timeout=60s",
    "transaction.statement_timeout=80s",
    "transaction.deadline=120s",
];

/// How many beans have a list.
async fn sources(world: &World) -> i64 {
    sqlx::query_scalar("SELECT count(DISTINCT source_bean_id) FROM coffee_bean_similarity")
        .fetch_one(&world.admin)
        .await
        .expect("the lists are countable")
}

async fn not_ready(worker: &Worker) {
    soon("readiness tells of the outage", async || {
        worker.get("/readyz").is_some_and(|answer| answer.0 == 503)
    })
    .await;
    assert!(worker.get("/livez").is_some_and(|answer| answer.0 == 200), "alive meanwhile");
}

fn retries(worker: &Worker) -> f64 {
    worker
        .metrics()
        .iter()
        .filter(|(name, _)| name.starts_with("cupping_message_retries_total"))
        .map(|(_, value)| value)
        .sum()
}
