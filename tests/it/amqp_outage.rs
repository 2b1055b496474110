//! RabbitMQ: connections that break. A proxy of our own breaks them, so that no other test does.

use crate::support::amqp::{Broker, PATIENCE, ladder, next, outgoing, proxied};
use crate::support::eventually;
use crate::support::proxy::Proxy;
use cupping::transport::amqp::AmqpTransport;
use cupping::transport::settlement::Settled;
use cupping::transport::{Failure, Lane, Source, Transport, TransportError};
use lapin::options::QueueDeleteOptions;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

async fn source(transport: &AmqpTransport) -> (Box<dyn Source>, CancellationToken) {
    let stop = CancellationToken::new();
    (transport.source(stop.clone()).await.expect("consuming can start"), stop)
}

fn bean(delivery: &cupping::transport::Delivery) -> String {
    String::from_utf8_lossy(&delivery.envelope.body).into_owned()
}

fn failure() -> Failure {
    Failure {
        class: "deadlock".into(),
        sqlstate: None,
        message: "boom".into(),
        attempts: 1,
        first_failed_at: SystemTime::now(),
        last_failed_at: SystemTime::now(),
    }
}

#[tokio::test]
async fn nothing_is_lost_when_every_connection_is_cut_again_and_again() {
    let (_broker, proxy, transport) = proxied(20).await;
    let many: Vec<_> = (0..200).map(|n| outgoing(&n.to_string(), Lane::Live)).collect();
    transport.publisher().publish(&many).await.unwrap();
    let (mut source, _stop) = source(&transport).await;
    let mut done = BTreeSet::new();
    let mut handled = 0;
    while done.len() < many.len() {
        let delivery = next(&mut source).await;
        assert_eq!(delivery.attempt, 1, "an outage counts no attempt");
        handled += 1;
        if handled % 40 == 0 && handled <= 160 {
            proxy.cut();
        }
        let body = bean(&delivery);
        let settling = tokio::time::timeout(PATIENCE, delivery.settlement.ack()).await;
        if settling.expect("a settlement ends in time").unwrap() == Settled::Done {
            done.insert(body);
        }
    }
    eventually("both connections are back", PATIENCE, || async { transport.connected() }).await;
}

#[tokio::test]
async fn a_settlement_after_the_connection_was_lost_is_lost_and_the_message_comes_again() {
    let (broker, proxy, transport) = proxied(4).await;
    let four: Vec<_> = (0..4).map(|n| outgoing(&n.to_string(), Lane::Live)).collect();
    transport.publisher().publish(&four).await.unwrap();
    let (mut source, _stop) = source(&transport).await;
    let mut old = Vec::new();
    for _ in 0..4 {
        old.push(next(&mut source).await);
    }
    proxy.cut();
    eventually("the loss is noticed", PATIENCE, || async { !transport.connected() }).await;
    let mut old = old.into_iter().map(|delivery| delivery.settlement);
    let mut take = || old.next().unwrap();
    assert_eq!(take().ack().await.unwrap(), Settled::Lost);
    let delay = Duration::from_millis(200);
    assert_eq!(take().retry(1, delay, failure()).await.unwrap(), Settled::Lost);
    assert_eq!(take().dead_letter(failure()).await.unwrap(), Settled::Lost);
    assert_eq!(take().hand_back().await.unwrap(), Settled::Lost);

    let mut again = BTreeSet::new();
    for _ in 0..4 {
        let delivery = next(&mut source).await;
        assert_eq!((delivery.attempt, delivery.crash_count), (1, 1));
        again.insert(bean(&delivery));
        assert_eq!(delivery.settlement.ack().await.unwrap(), Settled::Done);
    }
    assert_eq!(again.len(), 4);
    assert_eq!(broker.ready(&broker.queue(".failed")).await, Some(0));
    assert_eq!(broker.ready(&broker.queue(".retry.200")).await, Some(0));
}

#[tokio::test]
async fn a_message_that_kills_its_workers_is_counted_and_republished_as_new() {
    let (_broker, proxy, transport) = proxied(2).await;
    transport.publisher().publish(&[outgoing("killer", Lane::Live)]).await.unwrap();
    let (mut source, _stop) = source(&transport).await;
    for crashes in 0..3 {
        let delivery = next(&mut source).await;
        assert_eq!((delivery.crash_count, delivery.attempt), (crashes, 1));
        proxy.cut();
        eventually("the loss is noticed", PATIENCE, || async { !transport.connected() }).await;
    }
    let delivery = next(&mut source).await;
    assert_eq!(delivery.crash_count, 3);
    assert_eq!(delivery.settlement.republish().await.unwrap(), Settled::Done);
    let anew = next(&mut source).await;
    assert_eq!((anew.crash_count, anew.attempt), (0, 1));
    anew.settlement.ack().await.unwrap();
}

#[tokio::test]
async fn an_outage_at_the_start_is_waited_out() {
    let (broker, proxy, transport) = proxied(4).await;
    proxy.refuse();
    let (mut source, _stop) = source(&transport).await;
    let waiting = tokio::time::timeout(Duration::from_millis(600), source.next()).await;
    assert!(waiting.is_err(), "an outage is no end: {waiting:?}");
    assert!(!transport.connected());
    proxy.open();
    let publisher = broker.transport(ladder(2, 200), 1).publisher();
    eventually("publishing works again", PATIENCE, || async {
        publisher.publish(&[outgoing("b", Lane::Live)]).await.is_ok()
    })
    .await;
    next(&mut source).await.settlement.ack().await.unwrap();
    assert!(transport.connected());
}

#[tokio::test]
async fn publishing_without_an_answer_is_unconfirmed_and_works_again_later() {
    let (_broker, proxy, transport) = proxied(4).await;
    let publisher = transport.publisher();
    publisher.publish(&[outgoing("1", Lane::Live)]).await.unwrap();
    proxy.freeze();
    let error = publisher.publish(&[outgoing("2", Lane::Live)]).await.unwrap_err();
    assert!(matches!(error, TransportError::Unconfirmed(_)), "{error:?}");
    assert!(error.to_string().contains("did not confirm"), "{error}");
    proxy.cut();
    proxy.open();
    eventually("publishing works again", PATIENCE, || async {
        publisher.publish(&[outgoing("2", Lane::Live)]).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_queue_deleted_under_its_consumer_is_declared_again() {
    let (broker, proxy, transport) = proxied(4).await;
    let (mut source, _stop) = source(&transport).await;
    transport.publisher().publish(&[outgoing("1", Lane::Live)]).await.unwrap();
    next(&mut source).await.settlement.ack().await.unwrap();
    let channel = broker.channel().await;
    let queue = broker.queue("");
    channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    let before = proxy.accepted();
    let publishing = async {
        eventually("the queue is back and bound", PATIENCE, || async {
            transport.publisher().publish(&[outgoing("2", Lane::Live)]).await.is_ok()
        })
        .await;
    };
    let (delivery, ()) = tokio::join!(next(&mut source), publishing);
    delivery.settlement.ack().await.unwrap();
    assert!(proxy.accepted() > before, "the connection was rebuilt");
}

#[tokio::test]
async fn the_publishing_connection_heals_without_traffic_and_stays_closed_once_closed() {
    let (_broker, proxy, transport) = proxied(4).await;
    let publisher = transport.publisher();
    publisher.publish(&[outgoing("1", Lane::Live)]).await.unwrap();
    proxy.cut();
    eventually("the publisher's link heals by itself", PATIENCE, || async {
        transport.depth().await.is_ok()
    })
    .await;
    let (mut source, stop) = source(&transport).await;
    next(&mut source).await.settlement.ack().await.unwrap();
    stop.cancel();
    assert!(source.next().await.unwrap().is_none());
    transport.close(PATIENCE).await;
    let error = publisher.publish(&[outgoing("2", Lane::Live)]).await.unwrap_err();
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error:?}");
}

/// A frame of the protocol: `connection.blocked` (10, 60) with its reason, or `unblocked` (10, 61).
fn frame(method: u16, reason: Option<&str>) -> Vec<u8> {
    let mut payload = Vec::from([0, 10]);
    payload.extend(method.to_be_bytes());
    if let Some(reason) = reason {
        payload.push(u8::try_from(reason.len()).expect("a short reason"));
        payload.extend(reason.bytes());
    }
    let size = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&[1, 0, 0][..], &size, &payload, &[0xCE]].concat()
}

/// A broker short of memory blocks the connections that publish, and only those.
#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_broker_fails_publishing_in_time_and_keeps_what_could_not_be_retried() {
    let (_broker, proxy, transport) = short_of_time().await;
    let publisher = transport.publisher();
    eventually("the connection stands", PATIENCE, || async { transport.depth().await.is_ok() })
        .await;
    publisher.publish(&[outgoing("1", Lane::Live)]).await.unwrap();
    let publishing = proxy.accepted();
    let (mut source, stop) = source(&transport).await;
    let delivery = next(&mut source).await;
    assert!(transport.connected());

    proxy.say(publishing, frame(60, Some("low on memory")));
    eventually("readiness tells of it", PATIENCE, || async { !transport.connected() }).await;
    let second = [outgoing("2", Lane::Live)];
    let blocked = publisher.publish(&second);
    let error = tokio::time::timeout(PATIENCE, blocked).await.expect("no hanging").unwrap_err();
    assert!(error.to_string().contains("low on memory"), "{error}");
    let retry = delivery.settlement.retry(1, Duration::from_millis(200), failure());
    let error = tokio::time::timeout(PATIENCE, retry).await.expect("no hanging").unwrap_err();
    assert!(error.to_string().contains("low on memory"), "{error}");
    let paused = tokio::time::timeout(Duration::from_millis(300), source.next()).await;
    assert!(paused.is_err(), "nothing is taken that could not be retried: {paused:?}");

    proxy.say(publishing, frame(61, None));
    let again = next(&mut source).await;
    assert_eq!((bean(&again), again.attempt), (r#"{"coffeeBeanId":"1"}"#.to_owned(), 1));
    let delay = Duration::from_millis(200);
    assert_eq!(again.settlement.retry(1, delay, failure()).await.unwrap(), Settled::Done);
    publisher.publish(&[outgoing("2", Lane::Live)]).await.unwrap();
    next(&mut source).await.settlement.ack().await.unwrap();

    proxy.say(publishing, frame(60, Some("low on disk")));
    eventually("readiness tells of it", PATIENCE, || async { !transport.connected() }).await;
    stop.cancel();
    assert!(source.next().await.unwrap().is_none());
    drop(source);
    let closing = tokio::time::timeout(PATIENCE / 2, transport.close(PATIENCE)).await;
    assert!(closing.is_ok(), "a blocked connection does not hold the end up");
}

/// As [`proxied`], with a short patience for connections.
async fn short_of_time() -> (Broker, Proxy, AmqpTransport) {
    let (mut broker, proxy, _) = proxied(4).await;
    broker.config.connect_timeout = Duration::from_secs(3);
    broker.config.confirm_timeout = PATIENCE;
    let transport = broker.transport(ladder(2, 200), 4);
    (broker, proxy, transport)
}
