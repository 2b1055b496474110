//! RabbitMQ: declaring queues, and publishing with confirmation.

use crate::support::amqp::{Broker, PATIENCE, ladder, next, outgoing};
use cupping::config::Topology;
use cupping::domain::message::MessageKind;
use cupping::transport::codec::{self, CodecSettings};
use cupping::transport::{Lane, Transport, TransportError};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Declares a queue again with the arguments given; the broker refuses any difference.
async fn redeclare(broker: &Broker, queue: &str, arguments: &[(&str, AMQPValue)]) {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert((*name).into(), value.clone());
    }
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    let channel = broker.channel().await;
    let declared = channel.queue_declare(queue.into(), options, table).await;
    declared.unwrap_or_else(|error| panic!("{queue}: {error}"));
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

#[tokio::test]
async fn queues_are_declared_as_documented() {
    let ladder = ladder(2, 500);
    let mut broker = Broker::new(&ladder);
    broker.config.single_active_consumer = true;
    let transport = broker.transport(ladder, 10);
    transport.prepare().await.unwrap();
    transport.prepare().await.expect("declaring again changes nothing");

    let dead_letters = |target: &str| {
        vec![
            ("x-queue-type", text("quorum")),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text(target)),
            ("x-dead-letter-strategy", text("at-least-once")),
            ("x-overflow", text("reject-publish")),
        ]
    };
    let mut work = dead_letters(&broker.queue(".failed"));
    work.push(("x-delivery-limit", AMQPValue::LongLongInt(20)));
    redeclare(&broker, &broker.queue(".bulk"), &work).await;
    work.push(("x-single-active-consumer", AMQPValue::Boolean(true)));
    redeclare(&broker, &broker.queue(""), &work).await;
    redeclare(&broker, &broker.queue(".failed"), &[("x-queue-type", text("quorum"))]).await;
    for lane in ["", ".bulk"] {
        for (step, ttl) in [(500, 550), (1000, 1100)] {
            let mut arguments = dead_letters(&broker.queue(lane));
            arguments.push(("x-message-ttl", AMQPValue::LongLongInt(ttl)));
            redeclare(&broker, &broker.queue(&format!("{lane}.retry.{step}")), &arguments).await;
        }
    }
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_refused_by_name_with_what_to_do() {
    let ladder = ladder(1, 500);
    let broker = Broker::new(&ladder);
    redeclare(&broker, &broker.queue(""), &[("x-queue-type", text("classic"))]).await;
    let transport = broker.transport(ladder, 10);
    let error = transport.prepare().await.unwrap_err();
    assert!(matches!(error, TransportError::Misconfigured(_)), "{error:?}");
    let said = error.to_string();
    for part in [broker.queue("").as_str(), "inequivalent arg", "passive", "Delete"] {
        assert!(said.contains(part), "{part} is missing in: {said}");
    }
    let mut source = transport.source(CancellationToken::new()).await.unwrap();
    let error = source.next().await.unwrap_err();
    assert!(matches!(error, TransportError::Misconfigured(_)), "{error:?}");
    let error = transport.publisher().publish(&[outgoing("b", Lane::Live)]).await.unwrap_err();
    assert!(matches!(error, TransportError::Misconfigured(_)), "{error:?}");
}

#[tokio::test]
async fn passive_topology_verifies_and_declares_nothing() {
    let ladder = ladder(1, 500);
    let mut broker = Broker::new(&ladder);
    broker.config.topology = Topology::Passive;
    broker.config.exchange = String::new();
    let passive = broker.transport(ladder.clone(), 10);
    let said = passive.prepare().await.unwrap_err().to_string();
    assert!(said.contains("does not exist") && said.contains("declare"), "{said}");
    assert_eq!(broker.ready(&broker.queue("")).await, None);

    broker.config.topology = Topology::Declare;
    broker.transport(ladder, 10).prepare().await.unwrap();
    passive.prepare().await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_a_misconfiguration_and_a_closed_port_an_outage() {
    let ladder = ladder(1, 500);
    let mut broker = Broker::new(&ladder);
    broker.url = broker.url.replace("guest:guest@", "guest:wrong@");
    let error = broker.transport(ladder.clone(), 1).prepare().await.unwrap_err();
    assert!(matches!(error, TransportError::Misconfigured(_)), "{error:?}");
    assert!(error.to_string().contains("password") && !error.to_string().contains("wrong"));

    broker.url = "amqp://guest:guest@127.0.0.1:1/%2f".into();
    let transport = broker.transport(ladder, 1);
    let error = transport.prepare().await.unwrap_err();
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error:?}");
    assert!(!transport.connected());
}

#[tokio::test]
async fn what_is_published_is_confirmed_and_arrives_as_it_was_encoded() {
    let ladder = ladder(1, 500);
    let broker = Broker::new(&ladder);
    let transport = broker.transport(ladder, 10);
    let mut ripple = outgoing("o'brien", Lane::Bulk);
    ripple.ripple = true;
    transport.publisher().publish(&[outgoing("b-1", Lane::Live), ripple]).await.unwrap();
    let depth = transport.depth().await.unwrap();
    assert_eq!((depth.live, depth.bulk, depth.retrying, depth.failed), (1, 1, 0, 0));

    let stop = CancellationToken::new();
    let mut source = transport.source(stop.clone()).await.unwrap();
    let live = next(&mut source).await;
    assert!(transport.connected());
    assert_eq!((live.lane, live.attempt, live.crash_count), (Lane::Live, 1, 0));
    let message = codec::decode(&live.envelope, &CodecSettings::default()).unwrap();
    assert_eq!((message.bean.as_str(), message.kind), ("b-1", MessageKind::BeanUpdated));
    assert_eq!(live.envelope.content_type.as_deref(), Some("application/json"));
    assert_eq!(live.envelope.type_property.as_deref(), Some("BeanUpdated"));
    let age = live.envelope.published_at.unwrap().elapsed().unwrap();
    assert!(age < Duration::from_secs(60));
    let bulk = next(&mut source).await;
    let message = codec::decode(&bulk.envelope, &CodecSettings::default()).unwrap();
    assert_eq!((bulk.lane, message.bean.as_str()), (Lane::Bulk, "o'brien"));
    assert!(message.ripple);
    live.settlement.ack().await.unwrap();
    bulk.settlement.ack().await.unwrap();
    stop.cancel();
    assert!(source.next().await.unwrap().is_none());
    assert!(!transport.connected());
    transport.close(PATIENCE).await;
}

#[tokio::test]
async fn a_message_without_a_queue_is_an_error_and_later_ones_go_through() {
    let ladder = ladder(1, 500);
    let broker = Broker::new(&ladder);
    let transport = broker.transport(ladder, 10);
    transport.prepare().await.unwrap();
    let publisher = transport.publisher();
    publisher.publish(&[outgoing("before", Lane::Live)]).await.unwrap();
    let channel = broker.channel().await;
    channel
        .queue_delete(broker.queue(".bulk").into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    let error = publisher.publish(&[outgoing("b", Lane::Bulk)]).await.unwrap_err();
    assert!(matches!(error, TransportError::Unconfirmed(_)), "{error:?}");
    assert!(error.to_string().contains(&broker.queue(".bulk")), "{error}");
    publisher.publish(&[outgoing("after", Lane::Live)]).await.unwrap();
    let purged =
        channel.queue_purge(broker.queue("").into(), QueuePurgeOptions::default()).await.unwrap();
    assert_eq!(purged, 2);
}

#[tokio::test]
async fn thousands_are_confirmed_in_one_call() {
    let ladder = ladder(1, 500);
    let broker = Broker::new(&ladder);
    let transport = broker.transport(ladder, 10);
    let many: Vec<_> = (0..2500).map(|n| outgoing(&n.to_string(), Lane::Bulk)).collect();
    transport.publisher().publish(&many).await.unwrap();
    assert_eq!(transport.depth().await.unwrap().bulk, 2500);
}
