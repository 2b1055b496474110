//! What every queue must do: one suite over SQLite, PostgreSQL and RabbitMQ.
//!
//! Decides: the meaning of the `Transport` port. Never does: look inside one (see `queue_table`
//! and the `amqp` tests for what only one of them has).

mod worker;

use self::worker::{PATIENCE, Worker, bean, failure, is_empty, publish, within};
use crate::support::eventually;
use crate::support::transports::{
    PostgresFixture, RabbitFixture, SHORT_VISIBILITY, SqliteFixture, TransportFixture, short_ladder,
};
use cupping::transport::Lane;
use cupping::transport::settlement::Settled;
use futures_util::FutureExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

async fn everything_published_is_delivered(fixture: &dyn TransportFixture) {
    let mut worker = Worker::start(fixture, 16).await;
    publish(&*worker.transport, Lane::Live, "live-", 150).await;
    publish(&*worker.transport, Lane::Bulk, "bulk-", 150).await;
    let mut seen = BTreeSet::new();
    while seen.len() < 300 {
        let delivery = worker.next().await;
        let (name, lane) = (bean(&delivery), delivery.lane);
        assert!(name.starts_with(lane.name()), "{name} came on {lane:?}");
        assert_eq!(delivery.attempt, 1);
        assert_eq!(delivery.envelope.type_property.as_deref(), Some("BeanUpdated"));
        assert!(delivery.envelope.published_at.is_some());
        assert_eq!(delivery.settlement.ack().await.expect("settles"), Settled::Done);
        seen.insert(name);
    }
    let transport = worker.transport.clone();
    eventually("the queue is empty", PATIENCE, || is_empty(&*transport)).await;
    assert!(transport.connected());
    worker.end().await;
}

async fn retries_come_after_their_delay_and_count(fixture: &dyn TransportFixture) {
    let mut worker = Worker::start(fixture, 4).await;
    publish(&*worker.transport, Lane::Live, "bean-", 1).await;
    let mut first_failed_at = None;
    for (retry, step) in (1..).zip(short_ladder().steps()) {
        let delivery = worker.next().await;
        assert_eq!(delivery.attempt, retry);
        let mut told = failure("deadlock detected", retry);
        told.first_failed_at = delivery.first_failed_at.unwrap_or(told.first_failed_at);
        let sent = Instant::now();
        delivery.settlement.retry(retry, step, told).await.expect("settles");
        let again = worker.next().await;
        let waited = sent.elapsed();
        assert!(waited >= step.mul_f64(0.89), "retry {retry} came after {waited:?}");
        assert!(waited < step.mul_f64(1.2) + Duration::from_secs(5), "{waited:?}");
        assert_eq!(again.attempt, retry + 1);
        assert_eq!(bean(&again), "bean-0");
        let first = again.first_failed_at.expect("it has failed before");
        assert_eq!(*first_failed_at.get_or_insert(first), first, "the first failure stays");
        again.settlement.hand_back().await.expect("settles");
    }
    worker.next().await.settlement.ack().await.expect("settles");
    worker.end().await;
}

async fn attempts_survive_a_restart(fixture: &dyn TransportFixture) {
    let mut worker = Worker::start(fixture, 4).await;
    publish(&*worker.transport, Lane::Bulk, "bean-", 1).await;
    let delivery = worker.next().await;
    let step = short_ladder().steps()[0];
    delivery.settlement.retry(1, step, failure("m", 1)).await.expect("settles");
    worker.end().await;

    let mut worker = Worker::start(fixture, 4).await;
    let delivery = worker.next().await;
    assert_eq!((delivery.attempt, delivery.lane), (2, Lane::Bulk));
    assert!(delivery.first_failed_at.is_some());
    delivery.settlement.ack().await.expect("settles");
    worker.end().await;
}

async fn dead_letters_keep_body_and_reason(fixture: &dyn TransportFixture) {
    let mut worker = Worker::start(fixture, 4).await;
    publish(&*worker.transport, Lane::Live, "bean-", 1).await;
    let delivery = worker.next().await;
    let body = delivery.envelope.body.to_vec();
    let told = failure(&"a long text; ".repeat(2000), 6);
    assert_eq!(delivery.settlement.dead_letter(told).await.expect("settles"), Settled::Done);
    let failed = fixture.failed().await;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].body, body);
    assert_eq!(failed[0].class, "deadlock");
    assert_eq!(failed[0].sqlstate.as_deref(), Some("40P01"));
    assert_eq!(failed[0].attempts, 6);
    let message = &failed[0].message;
    assert!(message.starts_with("a long text; ") && message.len() < 4096, "{}", message.len());
    assert!(is_empty(&*worker.transport).await);
    worker.end().await;
}

async fn handed_back_messages_count_no_attempt(fixture: &dyn TransportFixture) {
    let mut worker = Worker::start(fixture, 4).await;
    publish(&*worker.transport, Lane::Live, "bean-", 1).await;
    let delivery = worker.next().await;
    delivery.settlement.hand_back().await.expect("settles");
    let delivery = worker.next().await;
    assert_eq!(delivery.attempt, 1);
    delivery.settlement.republish().await.expect("settles");
    let delivery = worker.next().await;
    assert_eq!((delivery.attempt, delivery.crash_count), (1, 0));
    drop(delivery);
    let delivery = worker.next().await;
    assert_eq!(delivery.attempt, 1);
    assert_eq!(delivery.settlement.ack().await.expect("settles"), Settled::Done);
    worker.end().await;
}

async fn two_consumers_share_the_work(fixture: &dyn TransportFixture) {
    const MESSAGES: usize = 200;
    let done = Arc::new(AtomicUsize::new(0));
    let both_hold_one = Arc::new(tokio::sync::Barrier::new(2));
    let finished = CancellationToken::new();
    let mut tasks = Vec::new();
    let first = Worker::start(fixture, 10).await;
    publish(&*first.transport, Lane::Live, "bean-", MESSAGES).await;
    for mut worker in [first, Worker::start(fixture, 10).await] {
        let (done, barrier, finished) = (done.clone(), both_hold_one.clone(), finished.clone());
        tasks.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            let mut held = Some(worker.next().await);
            barrier.wait().await;
            while let Some(delivery) = held.take() {
                seen.push(bean(&delivery));
                assert_eq!(delivery.settlement.ack().await.expect("settles"), Settled::Done);
                if done.fetch_add(1, Ordering::SeqCst) + 1 >= MESSAGES {
                    finished.cancel();
                }
                held = tokio::select! {
                    () = finished.cancelled() => None,
                    next = worker.next() => Some(next),
                };
            }
            worker.end().await;
            seen
        }));
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for task in tasks {
        let seen = within("the consumers", task).await.expect("no panic");
        assert!(!seen.is_empty(), "one consumer had nothing");
        for bean in seen {
            *counts.entry(bean).or_default() += 1;
        }
    }
    assert_eq!(counts.len(), MESSAGES);
    assert!(counts.values().all(|count| *count == 1), "something ran twice");
}

async fn messages_of_a_killed_worker_come_back(fixture: &dyn TransportFixture) {
    let transport = fixture.open(1).await;
    transport.prepare().await.expect("the queue is there");
    publish(&*transport, Lane::Live, "bean-", 5).await;
    fixture.kill_a_worker_holding(5).await;
    let mut worker = Worker::start(fixture, 5).await;
    let mut seen = BTreeSet::new();
    while seen.len() < 5 {
        let delivery = worker.next().await;
        assert_eq!(delivery.attempt, 1, "it never failed");
        assert!(delivery.crash_count >= 1, "its worker ended");
        seen.insert(bean(&delivery));
        delivery.settlement.ack().await.expect("settles");
    }
    worker.end().await;
}

async fn unsettled_deliveries_stay_within_the_prefetch(fixture: &dyn TransportFixture) {
    let mut worker = Worker::start(fixture, 6).await;
    publish(&*worker.transport, Lane::Live, "bean-", 30).await;
    let mut held = vec![worker.next().await];
    // Taken are those held here and those that wait in the source; the rest is ready.
    let start = Instant::now();
    loop {
        while let Some(next) = worker.source.next().now_or_never() {
            held.push(next.expect("the queue works").expect("not stopped"));
        }
        let ready = worker.transport.depth().await.expect("the queue answers").live;
        if ready + u64::try_from(held.len()).expect("small") == 30 {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{} held, {ready} ready", held.len());
        tokio::task::yield_now().await;
    }
    assert!(held.len() <= 6, "{} held", held.len());
    held.pop().expect("one").settlement.ack().await.expect("settles");
    held.push(worker.next().await);
    assert!(held.len() <= 6);
    for delivery in held {
        delivery.settlement.ack().await.expect("settles");
    }
    worker.end().await;
}

async fn stopped_source_ends_and_gives_back(fixture: &dyn TransportFixture) {
    let mut worker = Worker::start(fixture, 10).await;
    publish(&*worker.transport, Lane::Live, "bean-", 10).await;
    let held = worker.next().await;
    let mine = bean(&held);
    worker.stop.cancel();
    let end = within("the end of the stream", worker.source.next()).await;
    assert!(end.expect("the queue works").is_none());

    let mut other = Worker::start(fixture, 10).await;
    let mut seen = BTreeSet::new();
    while seen.len() < 9 {
        let delivery = other.next().await;
        assert_eq!(delivery.attempt, 1);
        seen.insert(bean(&delivery));
        delivery.settlement.ack().await.expect("settles");
    }
    assert!(!seen.contains(&mine), "what still ran was given to another");
    assert_eq!(held.settlement.ack().await.expect("settles"), Settled::Done);
    eventually("the queue is empty", PATIENCE, || is_empty(&*other.transport)).await;
    worker.end().await;
    other.end().await;
}

async fn live_goes_first_and_bulk_gets_a_tenth(fixture: &dyn TransportFixture) {
    let transport = fixture.open(1).await;
    transport.prepare().await.expect("the queue is there");
    publish(&*transport, Lane::Bulk, "bulk-", 100).await;
    publish(&*transport, Lane::Live, "live-", 100).await;
    let mut worker = Worker::start(fixture, 200).await;
    // Full load: all of both lanes is at the worker, which takes one message after the other.
    let mut delivery = worker.next().await;
    eventually("everything is sent ahead", PATIENCE, async || {
        let depth = transport.depth().await.expect("the queue answers");
        depth.live + depth.bulk == 0
    })
    .await;
    let mut bulk = 0;
    for _ in 0..100 {
        bulk += usize::from(delivery.lane == Lane::Bulk);
        delivery.settlement.ack().await.expect("settles");
        delivery = worker.next().await;
    }
    drop(delivery);
    assert!((9..=40).contains(&bulk), "{bulk} of 100 were bulk");
    worker.end().await;
}

async fn settling_what_was_lost_is_lost(fixture: &dyn TransportFixture) {
    let mut worker = Worker::start(fixture, 4).await;
    publish(&*worker.transport, Lane::Live, "bean-", 1).await;
    let delivery = worker.next().await;
    fixture.lose_claims().await;
    let again = worker.next().await;
    assert_eq!((bean(&again), again.attempt), ("bean-0".to_owned(), 1));
    assert_eq!(again.settlement.ack().await.expect("settles"), Settled::Done);
    assert_eq!(delivery.settlement.ack().await.expect("answers"), Settled::Lost);
    worker.end().await;
}

/// Each behaviour × each queue is a test of its own.
macro_rules! conformance {
    ($($behaviour:ident),* $(,)?) => {
        mod sqlite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $behaviour() {
                super::$behaviour(&SqliteFixture::create(visibility(stringify!($behaviour))).await)
                    .await;
            })*
        }
        mod postgres {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $behaviour() {
                super::$behaviour(
                    &PostgresFixture::create(visibility(stringify!($behaviour))).await,
                )
                .await;
            })*
        }
        mod rabbitmq {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $behaviour() {
                super::$behaviour(&RabbitFixture::create().await).await;
            })*
        }
    };
}

/// Claims run out fast only where a test waits for it, so that a slow machine loses none.
fn visibility(behaviour: &str) -> Duration {
    match behaviour {
        "messages_of_a_killed_worker_come_back" => SHORT_VISIBILITY,
        _ => Duration::from_secs(60),
    }
}

conformance!(
    everything_published_is_delivered,
    retries_come_after_their_delay_and_count,
    attempts_survive_a_restart,
    dead_letters_keep_body_and_reason,
    handed_back_messages_count_no_attempt,
    two_consumers_share_the_work,
    messages_of_a_killed_worker_come_back,
    unsettled_deliveries_stay_within_the_prefetch,
    stopped_source_ends_and_gives_back,
    live_goes_first_and_bulk_gets_a_tenth,
    settling_what_was_lost_is_lost,
);
