//! What only a queue in a table has: tickets, claims that expire, the delivery limit, outages of
//! its database, notifications between processes.
//!
//! Decides: that each holds on both databases where both have it. Never does: repeat the
//! conformance suite.

use crate::support::eventually;
use crate::support::transports::{
    PostgresFixture, SHORT_VISIBILITY, SqliteFixture, TransportFixture, queue_settings,
};
use cupping::domain::bean::BeanId;
use cupping::domain::message::MessageKind;
use cupping::transport::settlement::Settled;
use cupping::transport::{Delivery, Failure, Lane, Outgoing, Source, Transport, TransportError};
use std::num::NonZeroU32;
use std::time::{Duration, Instant, SystemTime};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(60);

async fn source(transport: &dyn Transport) -> Box<dyn Source> {
    transport.source(CancellationToken::new()).await.expect("the queue can be consumed")
}

async fn next(source: &mut Box<dyn Source>) -> Delivery {
    let next = tokio::time::timeout(PATIENCE, source.next()).await;
    next.expect("in time").expect("the queue works").expect("not stopped")
}

async fn publish(transport: &dyn Transport, count: usize) {
    let message = |number: usize| Outgoing {
        bean: BeanId::parse(&format!("bean-{number}")).expect("an id"),
        kind: MessageKind::BeanCreated,
        lane: Lane::Live,
        ripple: false,
    };
    let messages: Vec<Outgoing> = (0..count).map(message).collect();
    transport.publisher().publish(&messages).await.expect("stored");
}

fn failure() -> Failure {
    Failure {
        class: "lock_timeout".into(),
        sqlstate: None,
        message: "nul \0 and more".repeat(1000),
        attempts: 1,
        first_failed_at: SystemTime::now(),
        last_failed_at: SystemTime::now(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_of_one_claim_ack_in_one_statement_of_the_store() {
    let fixture = PostgresFixture::create(LONG).await;
    let transport = fixture.open(8).await;
    publish(&*transport, 3).await;
    let mut source = source(&*transport).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(next(&mut source).await);
    }
    let tickets: Vec<_> =
        held.iter().map(|delivery| delivery.settlement.ticket().expect("a table")).collect();
    assert!(tickets.windows(2).all(|pair| pair[0].statement == pair[1].statement));
    assert!(tickets.windows(2).all(|pair| pair[0].claim == pair[1].claim));
    let ids: Vec<i64> = tickets.iter().flat_map(|ticket| ticket.ids.clone()).collect();
    let statement = sqlx::AssertSqlSafe(tickets[0].statement.to_string());
    let done = sqlx::query(statement).bind(ids).bind(&*tickets[0].claim);
    assert_eq!(done.execute(&fixture.pool).await.expect("runs").rows_affected(), 3);
    held.into_iter().for_each(|delivery| delivery.settlement.committed());
    let depth = transport.depth().await.expect("answers");
    assert_eq!((depth.live, depth.claimed), (0, Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_ticket_acks_by_a_json_list_and_only_under_its_claim() {
    let fixture = SqliteFixture::create(LONG).await;
    let transport = fixture.open(8).await;
    publish(&*transport, 2).await;
    let mut source = source(&*transport).await;
    let (first, second) = (next(&mut source).await, next(&mut source).await);
    let ticket = first.settlement.ticket().expect("a table");
    let run = async |ids: String, claim: String| {
        let statement = sqlx::AssertSqlSafe(ticket.statement.to_string());
        let done = sqlx::query(statement).bind(ids).bind(claim).execute(&fixture.pool).await;
        done.expect("runs").rows_affected()
    };
    assert_eq!(run(format!("[{}]", ticket.ids[0]), "another".into()).await, 0);
    assert_eq!(run(format!("[{}]", ticket.ids[0]), ticket.claim.to_string()).await, 1);
    first.settlement.committed();
    assert_eq!(second.settlement.ack().await.expect("settles"), Settled::Done);
}

/// Kills workers one after the other; the third is one too many.
async fn killed_too_often(fixture: &dyn TransportFixture, transport: &dyn Transport) {
    publish(transport, 1).await;
    fixture.kill_a_worker_holding(1).await;
    let mut source = source(transport).await;
    let delivery = next(&mut source).await;
    assert_eq!((delivery.crash_count, delivery.attempt), (1, 1));
    delivery.settlement.hand_back().await.expect("settles");
    let delivery = next(&mut source).await;
    assert_eq!(delivery.crash_count, 1, "handing back is no crash");
    delivery.settlement.republish().await.expect("settles");
    let delivery = next(&mut source).await;
    assert_eq!(delivery.crash_count, 0, "republished is as new");
    delivery.settlement.ack().await.expect("settles");
    drop(source);

    publish(transport, 1).await;
    fixture.kill_a_worker_holding(1).await;
    let mut rescuer = self::source(transport).await;
    let delivery = next(&mut rescuer).await;
    assert_eq!(delivery.crash_count, 1);
    drop(rescuer);
    delivery.settlement.hand_back().await.expect("settles");
    eventually("it was given back", PATIENCE, async || {
        transport.depth().await.expect("answers").live == 1
    })
    .await;
    fixture.kill_a_worker_holding(1).await;
    let _rescuer = self::source(transport).await;
    eventually("the message failed", PATIENCE, async || fixture.failed().await.len() == 1).await;
    let failed = fixture.failed().await;
    assert_eq!(failed[0].class, "delivery_limit");
    assert_eq!(failed[0].attempts, 1);
    assert!(failed[0].message.contains("transport.queue.delivery_limit"));
    let depth = transport.depth().await.expect("answers");
    assert_eq!((depth.live, depth.claimed, depth.failed), (0, Some(0), 1));
}

fn two_deaths_at_most() -> cupping::transport::queue::QueueSettings {
    let mut settings = queue_settings(4, SHORT_VISIBILITY);
    settings.queue.delivery_limit = NonZeroU32::new(2).expect("two is not zero");
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn message_whose_workers_keep_ending_fails_in_postgres() {
    let fixture = PostgresFixture::create(SHORT_VISIBILITY).await;
    let transport = fixture.open_with(two_deaths_at_most()).await;
    killed_too_often(&fixture, &transport).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn message_whose_workers_keep_ending_fails_in_sqlite() {
    let fixture = SqliteFixture::create(SHORT_VISIBILITY).await;
    let transport = fixture.open_with(two_deaths_at_most());
    killed_too_often(&fixture, &transport).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claim_of_a_living_worker_is_renewed_even_while_it_drains() {
    let fixture = SqliteFixture::create(LONG).await;
    let transport = fixture.open_with(queue_settings(4, Duration::from_secs(2)));
    publish(&transport, 1).await;
    let stop = CancellationToken::new();
    let mut source = transport.source(stop.clone()).await.expect("consumes");
    let delivery = next(&mut source).await;
    stop.cancel();
    assert!(source.next().await.expect("works").is_none());
    drop(source);
    let claimed_until = async || -> i64 {
        let sql = "SELECT claimed_until FROM cupping_queue_message";
        sqlx::query_scalar(sql).fetch_one(&fixture.pool).await.expect("the row is claimed")
    };
    let first = claimed_until().await;
    eventually("the claim is renewed", PATIENCE, async || claimed_until().await > first).await;
    assert_eq!(delivery.settlement.ack().await.expect("settles"), Settled::Done);
    transport.close(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renewal_never_waits_for_a_row_that_is_being_settled() {
    let fixture = PostgresFixture::create(LONG).await;
    let transport = fixture.open_with(queue_settings(4, Duration::from_secs(2))).await;
    publish(&transport, 2).await;
    let mut source = source(&transport).await;
    let (first, second) = (next(&mut source).await, next(&mut source).await);
    let until = async |id: u64| -> i64 {
        let sql = "SELECT (extract(epoch FROM claimed_until) * 1000)::bigint
            FROM cupping.queue_message WHERE id = $1";
        let id = i64::try_from(id).expect("small");
        sqlx::query_scalar(sql).bind(id).fetch_one(&fixture.pool).await.expect("claimed")
    };
    let mut settling = fixture.pool.acquire().await.expect("a connection");
    sqlx::raw_sql("BEGIN").execute(&mut *settling).await.expect("begins");
    let ticket = first.settlement.ticket().expect("a table");
    let statement = sqlx::AssertSqlSafe(ticket.statement.to_string());
    let delete = sqlx::query(statement).bind(&ticket.ids).bind(&*ticket.claim);
    delete.execute(&mut *settling).await.expect("deletes");

    let before = until(second.tag).await;
    eventually("the other claim is renewed", PATIENCE, async || until(second.tag).await > before)
        .await;
    sqlx::raw_sql("COMMIT").execute(&mut *settling).await.expect("commits");
    first.settlement.committed();
    assert_eq!(second.settlement.ack().await.expect("settles"), Settled::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_of_another_process_is_noticed_without_waiting_for_the_poll() {
    let fixture = PostgresFixture::create(LONG).await;
    let mut settings = queue_settings(4, LONG);
    settings.queue.poll_interval = Duration::from_secs(20);
    let (transport, other) = (fixture.open_with(settings.clone()).await, fixture.open(4).await);
    let mut source = source(&transport).await;
    // The pauses of an idle queue double: 10 ms to 10 s within the first 20 s. Late ones are long
    // enough to tell; the first round trips make sure that the listener is there.
    let mut fastest = Duration::MAX;
    for _ in 0..8 {
        let sent = Instant::now();
        publish(&*other, 1).await;
        next(&mut source).await.settlement.ack().await.expect("settles");
        fastest = fastest.min(sent.elapsed());
    }
    assert!(fastest < Duration::from_secs(2), "{fastest:?}");
    let listening = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    eventually("a session listens", PATIENCE, async || {
        let count: i64 =
            sqlx::query_scalar(listening).fetch_one(&fixture.pool).await.expect("answers");
        count >= 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_lose_nothing_and_work_resumes() {
    let fixture = PostgresFixture::create(LONG).await;
    let transport = fixture.open(4).await;
    publish(&*transport, 40).await;
    let mut source = source(&*transport).await;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let mut seen = std::collections::BTreeSet::new();
    let mut received: u32 = 0;
    while seen.len() < 40 {
        let delivery = next(&mut source).await;
        assert_eq!((delivery.attempt, delivery.crash_count), (1, 0), "an outage burns nothing");
        received += 1;
        if received.is_multiple_of(10) {
            sqlx::query(cut).execute(&fixture.pool).await.expect("a superuser may");
        }
        let body = delivery.envelope.body.clone();
        match delivery.settlement.ack().await {
            Ok(_) => drop(seen.insert(body)),
            Err(error) => assert!(error.retryability().is_outage(), "{error}"),
        }
    }
    eventually("the queue is empty", PATIENCE, async || {
        let depth = transport.depth().await;
        depth.is_ok_and(|depth| depth.live == 0 && depth.claimed == Some(0))
    })
    .await;
    assert!(transport.connected());
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_tables_are_a_misconfiguration_that_says_what_to_do() {
    let fixture = PostgresFixture::create(LONG).await;
    sqlx::raw_sql("DROP SCHEMA cupping CASCADE").execute(&fixture.pool).await.expect("ours");
    let transport = fixture.open(4).await;
    let error = transport.prepare().await.expect_err("no tables");
    assert!(matches!(&error, TransportError::Misconfigured(_)), "{error}");
    assert!(error.to_string().contains("cupping migrate"), "{error}");
    let mut source = source(&*transport).await;
    let error = source.next().await.expect_err("no tables");
    assert!(matches!(error, TransportError::Misconfigured(_)));

    let fixture = SqliteFixture::create(LONG).await;
    sqlx::raw_sql("DROP TABLE cupping_queue_failed").execute(&fixture.pool).await.expect("ours");
    let error = fixture.open(4).await.prepare().await.expect_err("no table");
    assert!(error.to_string().contains("cupping migrate"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn retried_row_keeps_its_publishers_headers_and_tells_the_failure_within_the_limit() {
    let fixture = PostgresFixture::create(LONG).await;
    let foreign = "INSERT INTO cupping.queue_message (lane, body, headers, type, published_at)
        VALUES ('live', '{\"beanId\": 7}', '{\"traceparent\": \"00-ab\", \"list\": [1]}',
                'BeanUpdated', now())";
    sqlx::query(foreign).execute(&fixture.pool).await.expect("any client may publish so");
    let transport = fixture.open(4).await;
    let mut source = source(&*transport).await;
    let delivery = next(&mut source).await;
    delivery.settlement.retry(1, Duration::ZERO, failure()).await.expect("settles");
    let delivery = next(&mut source).await;
    assert_eq!(delivery.attempt, 2);
    let headers: String = sqlx::query_scalar("SELECT headers::text FROM cupping.queue_message")
        .fetch_one(&fixture.pool)
        .await
        .expect("the row is there");
    assert!(headers.contains("00-ab") && headers.contains("lock_timeout"), "{headers}");
    assert!(headers.contains("[1]"), "a header the port does not carry is kept");
    assert!(headers.len() < 4300, "{} bytes", headers.len());
    delivery.settlement.dead_letter(failure()).await.expect("settles");
    let failed = fixture.failed().await;
    assert!(failed[0].message.starts_with("nul \u{fffd} and more"));
    assert_eq!(failed[0].body, br#"{"beanId": 7}"#);
}
