//! What must hold when the service gets a signal: SIGTERM drains, a second one ends it at once,
//! SIGHUP rereads the log level and the limits.

use crate::support::beans;
use crate::support::oracle::assert_lists_equal_the_oracles;
use crate::support::postgres_url;
use crate::support::world::{Worker, World, soon};
use sqlx::{Connection, PgConnection};
use std::time::Instant;

/// Writes wait for the test's lock and neither time out nor end the drain.
const PATIENT: [&str; 7] = [
    "transaction.lock_timeout=\"60s\"",
    "transaction.statement_timeout=\"70s\"",
    "transaction.deadline=\"90s\"",
    "shutdown.grace=\"60s\"",
    "pipeline.concurrency=2",
    "pipeline.batch=1",
    "pipeline.workers=2",
];

/// Holds every write up until dropped or released.
struct Barrier(PgConnection);

impl Barrier {
    async fn close(world: &World) -> Self {
        let mut session = PgConnection::connect(&world.database_url).await.expect("it answers");
        sqlx::raw_sql("BEGIN; LOCK TABLE coffee_bean_similarity IN EXCLUSIVE MODE")
            .execute(&mut session)
            .await
            .expect("the table is locked");
        soon("a write waits for the lock", async || {
            sqlx::query_scalar::<_, bool>(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted
                   AND relation = 'coffee_bean_similarity'::regclass)",
            )
            .fetch_one(&world.admin)
            .await
            .expect("locks are readable")
        })
        .await;
        Self(session)
    }

    async fn open(self) {
        self.0.close().await.expect("the session ends, and its lock with it");
    }
}

async fn draining(worker: &Worker) {
    soon("readiness tells of the drain", async || {
        worker.get("/readyz").is_some_and(|(status, _)| status == 503)
    })
    .await;
}

/// The field of the last line that says this.
fn logged(log: &str, message: &str, field: &str) -> Option<serde_json::Value> {
    log.lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find(|line| line["message"] == message)
        .map(|line| line[field].clone())
}

async fn under_load(beans: usize, seed: u64) -> (World, Worker) {
    let world = World::broker().await;
    let catalogue = beans::beans(beans, seed);
    world.succeed_with_input(&["import", "-"], &beans::lines(&catalogue));
    let worker = world.worker(&PATIENT);
    worker.ready().await;
    world.succeed(&["publish", "--all"]);
    soon("the worker works", async || worker.acked() > 0).await;
    (world, worker)
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_drains_within_the_grace_and_neither_loses_nor_repeats_work() {
    let (world, worker) = under_load(300, 61).await;
    let barrier = Barrier::close(&world).await;
    worker.signal("TERM");
    draining(&worker).await;
    assert!(worker.get("/livez").is_some_and(|(status, _)| status == 200), "alive meanwhile");
    let released = Instant::now();
    barrier.open().await;
    let (status, log) = worker.wait();
    assert!(status.success(), "a drained worker exits 0: {status}\n{log}");
    assert!(released.elapsed().as_secs() < 60, "within the grace");
    let done = logged(&log, "service stopped", "processed").and_then(|n| n.as_u64());
    let done = done.expect("it says what it did");
    assert!(done < 300, "it was told to stop in the middle: {done}");
    let heir = world.worker(&[]);
    soon("another does the rest", async || heir.acked() + done >= 300).await;
    assert_lists_equal_the_oracles(&world).await;
    assert!(heir.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_ends_it_at_once_and_what_it_held_is_done_by_another() {
    let (world, worker) = under_load(100, 62).await;
    let barrier = Barrier::close(&world).await;
    worker.signal("TERM");
    draining(&worker).await;
    let told = Instant::now();
    worker.signal("TERM");
    let (status, log) = worker.wait();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(told.elapsed().as_secs() < 10, "it waits for nothing: {:?}", told.elapsed());
    assert!(logged(&log, "second signal: stopping now", "signal").is_some(), "{log}");
    barrier.open().await;
    let heir = world.worker(&[]);
    heir.ready().await;
    let raw = crate::support::rabbit::Raw::connect(&world).await;
    soon("another does the rest", async || {
        raw.is_empty().await && heir.metric("cupping_in_flight") == 0.0 && heir.acked() > 0
    })
    .await;
    assert!(heir.terminate().success(), "nothing is left in it either");
    assert_lists_equal_the_oracles(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_rereads_level_and_limits_and_refuses_a_bad_file() {
    let tail = "[pipeline]\nconcurrency = 8\nbatch = 4\n[log]\nlevel = \"info\"\n";
    let world = World::on(&postgres_url(), None, tail).await;
    let file = world.path("cupping.toml");
    let text = std::fs::read_to_string(&file).expect("the world wrote it");
    let rewrite = |from: &str, to: &str| {
        assert!(text.contains(from));
        std::fs::write(&file, text.replace(from, to)).expect("the file is ours");
    };
    let worker = world.worker(&[]);
    worker.ready().await;
    let limit = || worker.metric("cupping_concurrency_limit");
    soon("the first limit shows", async || limit() == 8.0).await;

    rewrite("concurrency = 8", "concurrency = 16");
    worker.signal("HUP");
    soon("the new limit shows", async || limit() == 16.0).await;
    let told = async || logged(&worker.log(), "limit changed", "was") == Some(8.into());
    soon("the change is logged", told).await;
    assert_eq!(logged(&worker.log(), "limit changed", "now"), Some(16.into()));
    assert_eq!(logged(&worker.log(), "log level changed", "was"), None);

    rewrite("concurrency = 8", "concurrency = 0");
    worker.signal("HUP");
    let refusal = "settings not read again; the old ones stay";
    soon("a bad file is refused", async || logged(&worker.log(), refusal, "error").is_some()).await;
    let why = logged(&worker.log(), refusal, "error").expect("just seen").to_string();
    assert!(why.contains("pipeline.concurrency"), "{why}");
    assert_eq!(limit(), 16.0);

    rewrite("level = \"info\"", "level = \"debug\"");
    worker.signal("HUP");
    soon("the limit of the file holds again", async || limit() == 8.0).await;
    soon("debug lines come", async || worker.log().contains("\"level\":\"DEBUG\"")).await;
    assert!(worker.terminate().success());
}
