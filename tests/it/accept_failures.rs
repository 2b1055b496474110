//! What must hold when messages, writes and workers fail.

use crate::support::beans;
use crate::support::oracle::assert_lists_equal_the_oracles;
use crate::support::rabbit::Raw;
use crate::support::world::World;
use crate::support::world::soon;
use sqlx::AssertSqlSafe;
use std::time::Duration;

/// A short ladder, so that a test climbs it soon.
const SHORT_LADDER: [&str; 3] =
    ["retry.max_retries=2", "retry.delay=\"100ms\"", "retry.max_delay=\"400ms\""];

#[tokio::test(flavor = "multi_thread")]
async fn strange_messages_end_as_the_design_says_and_the_worker_lives() {
    let world = World::broker().await;
    let catalogue = beans::beans(30, 5);
    world.succeed_with_input(&["import", "-"], &beans::lines(&catalogue));
    let worker = world.worker(&SHORT_LADDER);
    worker.ready().await;
    let raw = Raw::connect(&world).await;
    let missing = uuid::Uuid::new_v4();
    raw.publish(None, format!(r#"{{"coffeeBeanId":"{missing}"}}"#).as_bytes()).await;
    raw.publish(None, b"this is no JSON").await;
    raw.publish(Some("App\\Message\\SendNewsletter"), br#"{"coffeeBeanId":"x"}"#).await;
    raw.publish(None, br#"{"coffeeBeanId":"o'brien\"; DROP TABLE coffee_bean; --"}"#).await;
    let huge = format!(r#"{{"coffeeBeanId":"{missing}","pad":"{}"}}"#, "x".repeat(1 << 20));
    raw.publish(None, huge.as_bytes()).await;
    raw.publish(None, b"").await;
    raw.publish(None, format!(r#"{{"coffeeBeanId":"{}"}}"#, catalogue[0].id).as_bytes()).await;

    let failed = raw.failed(5).await;
    let reasons: Vec<_> = failed.iter().map(|message| message.text("x-cupping-error")).collect();
    assert_eq!(
        failed.len(),
        5,
        "no JSON, foreign kind, impossible id, too large, empty: {reasons:?}"
    );
    assert!(failed.iter().all(|m| !m.text("x-cupping-error").is_empty()), "{reasons:?}");
    assert!(failed.iter().all(|m| m.header_bytes() <= 4096));
    soon("the missing bean is acked after its early retries, the good one at once", async || {
        worker.acked() == 2
    })
    .await;
    assert!(worker.log().contains("bean is not in the catalogue"));
    assert!(worker.get("/livez").is_some_and(|answer| answer.0 == 200), "the worker lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_bean_climbs_the_ladder_alone_and_ends_in_the_failed_queue() {
    let world = World::broker().await;
    let catalogue = beans::beans(40, 6);
    world.succeed_with_input(&["import", "-"], &beans::lines(&catalogue));
    let bad = &catalogue[17].id;
    refuse_writes_of(&world, bad, "40001").await;
    let raw = Raw::connect(&world).await;
    world.succeed_with_input(&["publish", "-"], &beans::ids(&catalogue));
    let worker = world.worker(&[]);
    soon("the other beans of the batch are committed", async || worker.acked() == 39).await;

    let failed = raw.failed_within(1, Duration::from_secs(60)).await;
    assert_eq!(failed[0].text("x-cupping-error-class"), "serialization");
    assert_eq!(failed[0].text("x-cupping-sqlstate"), "40001");
    assert_eq!(failed[0].text("x-cupping-attempts"), "6");
    assert!(failed[0].header_bytes() <= 4096);
    let delays: Vec<u64> = worker
        .log()
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|event| event.to_string().contains("delivery retried"))
        .filter_map(|event| event.pointer("/fields/delay_ms").or(event.get("delay_ms"))?.as_u64())
        .collect();
    assert_eq!(delays.len(), 5, "{delays:?}");
    for (delay, step) in delays.iter().zip([500, 1000, 2000, 4000, 8000]) {
        assert!((step * 9 / 10..=step * 11 / 10).contains(delay), "{delays:?}");
    }
    let exhausted = worker
        .metric("cupping_retries_exhausted_total{level=\"message\",reason=\"serialization\"}");
    assert_eq!(exhausted, 1.0);
    assert_eq!(worker.acked(), 39);
}

/// A trigger that fails every insert of the source's rows with a SQLSTATE.
async fn refuse_writes_of(world: &World, source: &str, sqlstate: &str) {
    sqlx::raw_sql(AssertSqlSafe(format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF NEW.source_bean_id = '{source}' THEN
             RAISE EXCEPTION 'refused by the test' USING ERRCODE = '{sqlstate}';
           END IF; RETURN NEW; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON coffee_bean_similarity
           FOR EACH ROW EXECUTE FUNCTION refuse()"
    )))
    .execute(&world.admin)
    .await
    .expect("the trigger is made");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_with_fifty_prefetched_nothing_is_lost_and_no_attempt_is_burnt() {
    let world = World::broker().await;
    let catalogue = beans::beans(50, 8);
    world.succeed_with_input(&["import", "-"], &beans::lines(&catalogue));
    // Every write waits for this lock, so that the worker holds all fifty when it is killed.
    let mut hostage = world.admin.acquire().await.expect("a connection");
    sqlx::raw_sql("BEGIN; LOCK TABLE coffee_bean_similarity IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *hostage)
        .await
        .expect("the lock is taken");
    let slow = [
        "transaction.lock_timeout=\"60s\"",
        "transaction.statement_timeout=\"80s\"",
        "transaction.deadline=\"120s\"",
        "pipeline.concurrency=4",
        "pipeline.batch=4",
    ];
    let victim = world.worker(&slow);
    world.succeed_with_input(&["publish", "-"], &beans::ids(&catalogue));
    soon("all fifty are prefetched", async || {
        victim
            .metrics()
            .iter()
            .filter(|(name, _)| name.starts_with("cupping_messages_received_total"))
            .map(|(_, value)| value)
            .sum::<f64>()
            >= 50.0
    })
    .await;
    victim.kill();
    sqlx::raw_sql("ROLLBACK").execute(&mut *hostage).await.expect("the lock is given back");

    let heir = world.worker(&[]);
    soon("the heir acks all fifty", async || heir.acked() == 50).await;
    let retries: f64 = heir
        .metrics()
        .iter()
        .filter(|(name, _)| name.starts_with("cupping_message_retries_total"))
        .map(|(_, value)| value)
        .sum();
    assert_eq!(retries, 0.0, "no attempt was burnt");
    assert_lists_equal_the_oracles(&world).await;
}

/// The worker's database user waits this long before it looks for a deadlock; a rival, who must
/// not become the victim, looks only after an hour.
const DEADLOCK_TIMEOUT: &str = "1s";

/// Above that, so that a deadlock shows as itself and not as a lock that was not granted in time.
const PATIENT: [&str; 3] = [
    "transaction.lock_timeout=\"15s\"",
    "transaction.statement_timeout=\"20s\"",
    "transaction.deadline=\"90s\"",
];

#[tokio::test(flavor = "multi_thread")]
async fn forced_deadlocks_are_retried_and_counted_exactly() {
    let world = World::broker().await;
    let bean = one_listed_bean(&world).await;
    let worker = world.worker(&PATIENT);
    worker.ready().await;
    change_the_list_of(&world, &bean).await;
    let rivals = Rivals::hold_rows_of(&world, &bean, 2).await;
    world.succeed(&["publish", &bean]);
    for rival in rivals.0 {
        rival.close_the_cycle(&world).await;
    }
    soon("the third attempt commits", async || worker.acked() == 1).await;
    assert_lists_equal_the_oracles(&world).await;
    let deadlocks: f64 = worker
        .metrics()
        .iter()
        .filter(|(name, _)| name.starts_with("cupping_deadlocks_total"))
        .map(|(_, value)| value)
        .sum();
    assert_eq!(deadlocks, 2.0);
    assert_eq!(transaction_retries(&worker), 2.0);
    assert_eq!(world.deadlocks().await, 2, "the server counted the same");
    for event in ["deadlock", "transaction retried"] {
        assert_eq!(events_naming(&worker.log(), event, &bean), 2, "{event}: {}", worker.log());
    }
}

/// How often an event was logged inside a write of this bean.
fn events_naming(log: &str, event: &str, bean: &str) -> usize {
    log.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|line| line["message"] == event)
        .filter_map(|line| {
            let spans = line["spans"].as_array()?;
            spans.iter().find(|span| span["name"] == "write").cloned()
        })
        .filter(|write| write["bean.ids"] == bean)
        .inspect(|write| assert_eq!(write["bean.count"], 1, "{write}"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlocks_until_exhausted_climb_the_ladder_and_fail_with_an_error_log() {
    let world = World::broker().await;
    let bean = one_listed_bean(&world).await;
    let mut settings = PATIENT.to_vec();
    settings.extend(["retry.max_retries=1", "retry.delay=\"100ms\"", "transaction.attempts=2"]);
    let worker = world.worker(&settings);
    worker.ready().await;
    change_the_list_of(&world, &bean).await;
    let rivals = Rivals::hold_rows_of(&world, &bean, 4).await;
    let raw = Raw::connect(&world).await;
    world.succeed(&["publish", &bean]);
    for rival in rivals.0 {
        rival.close_the_cycle(&world).await;
    }
    let failed = raw.failed(1).await;
    assert_eq!(failed[0].text("x-cupping-error-class"), "deadlock");
    assert_eq!(failed[0].text("x-cupping-sqlstate"), "40P01");
    let series = "cupping_retries_exhausted_total{level=\"message\",reason=\"deadlock\"}";
    soon("the exhausted message is counted", async || worker.metric(series) == 1.0).await;
    assert_eq!(transaction_retries(&worker), 2.0, "one retry in each of two attempts");
    let log = worker.log();
    assert!(log.lines().any(|l| l.contains("ERROR") && l.contains("retries exhausted")), "{log}");
    assert_eq!(events_naming(&log, "retries exhausted", &bean), 2, "{log}");
}

fn transaction_retries(worker: &crate::support::world::Worker) -> f64 {
    worker.metric(
        "cupping_transaction_retries_total{name=\"write_similarities\",reason=\"deadlock\"}",
    )
}

/// A catalogue of thirty beans whose lists are stored; returns the id of one of them.
async fn one_listed_bean(world: &World) -> String {
    let catalogue = beans::beans(30, 9);
    world.succeed_with_input(&["import", "-"], &beans::lines(&catalogue));
    world.succeed(&["recompute", "--all"]);
    let database: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&world.admin)
        .await
        .expect("a database has a name");
    let setting = format!("ALTER DATABASE {database} SET deadlock_timeout = '{DEADLOCK_TIMEOUT}'");
    sqlx::query(AssertSqlSafe(setting)).execute(&world.admin).await.expect("a superuser may");
    catalogue[3].id.clone()
}

/// Falsifies a stored score, so that the next run has something to write.
async fn change_the_list_of(world: &World, bean: &str) {
    sqlx::query(
        "UPDATE coffee_bean_similarity SET score = score / 2 WHERE source_bean_id = $1::uuid",
    )
    .bind(bean)
    .execute(&world.admin)
    .await
    .expect("the row is changed");
}

/// Sessions that hold share locks on the rows of a source, so that the worker's DELETE waits.
struct Rivals(Vec<Rival>);

struct Rival {
    connection: sqlx::PgConnection,
    key: i64,
}

impl Rivals {
    async fn hold_rows_of(world: &World, bean: &str, count: usize) -> Self {
        use sqlx::Connection;
        let key = crate::support::oracle::source_lock_key(bean);
        let mut rivals = Vec::new();
        for _ in 0..count {
            let mut connection = sqlx::PgConnection::connect(&world.database_url)
                .await
                .expect("the database answers");
            sqlx::raw_sql(AssertSqlSafe(format!(
                "SET deadlock_timeout = '1h'; BEGIN;
                 SELECT FROM coffee_bean_similarity WHERE source_bean_id = '{bean}' FOR SHARE"
            )))
            .execute(&mut connection)
            .await
            .expect("the rows are locked");
            rivals.push(Rival { connection, key });
        }
        Self(rivals)
    }
}

impl Rival {
    /// Waits until the worker waits for our rows; then asks for the lock that the worker holds.
    /// The worker is the victim; we get the lock, and end.
    async fn close_the_cycle(mut self, world: &World) {
        soon("the worker waits for a rival's rows", async || {
            sqlx::query_scalar::<_, bool>(
                "SELECT EXISTS (SELECT FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'
                     AND wait_event IN ('transactionid', 'tuple') AND query LIKE 'DELETE%')",
            )
            .fetch_one(&world.admin)
            .await
            .expect("activity is readable")
        })
        .await;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(self.key)
            .execute(&mut self.connection)
            .await
            .expect("the rival is not the victim");
        sqlx::raw_sql("ROLLBACK").execute(&mut self.connection).await.expect("the rival ends");
    }
}
