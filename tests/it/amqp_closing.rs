//! RabbitMQ: what is settled is settled for good when the transport was closed, whatever becomes
//! of the connections at that moment.

use crate::support::amqp::{Broker, PATIENCE, ladder, next, outgoing, proxied};
use crate::support::eventually;
use crate::support::proxy::Proxy;
use cupping::transport::amqp::AmqpTransport;
use cupping::transport::settlement::Settled;
use cupping::transport::{Delivery, Lane, Source, Transport};
use futures_util::future::join_all;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const ROUNDS: usize = 8;
const MESSAGES: usize = 200;

/// A transport through a proxy, with time for a slow machine.
async fn patient() -> (Broker, Proxy, AmqpTransport) {
    let (mut broker, proxy, _) = proxied(1).await;
    broker.config.confirm_timeout = PATIENCE;
    let transport = broker.transport(ladder(2, 200), MESSAGES as u16);
    (broker, proxy, transport)
}

async fn take_all(transport: &AmqpTransport) -> (Vec<Delivery>, Box<dyn Source>) {
    let many: Vec<_> = (0..MESSAGES).map(|n| outgoing(&n.to_string(), Lane::Live)).collect();
    transport.publisher().publish(&many).await.expect("the broker confirms in time");
    let stop = CancellationToken::new();
    let mut source = transport.source(stop.clone()).await.expect("consuming can start");
    let mut taken = Vec::new();
    while taken.len() < MESSAGES {
        taken.push(next(&mut source).await);
    }
    stop.cancel();
    assert!(source.next().await.expect("stopping is no error").is_none());
    (taken, source)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acked_before_the_close_never_comes_again() {
    for round in 0..ROUNDS {
        let (broker, proxy, transport) = patient().await;
        let (taken, source) = take_all(&transport).await;
        drop(source);
        let acks = taken.into_iter().map(|delivery| delivery.settlement.ack());
        for settled in join_all(acks).await {
            assert_eq!(settled.unwrap(), Settled::Done);
        }
        transport.close(PATIENCE).await;
        // As the end of the process does.
        proxy.cut();

        proxy.open();
        let heir = broker.transport(ladder(2, 200), 10);
        let mut source = heir.source(CancellationToken::new()).await.unwrap();
        let again = tokio::time::timeout(Duration::from_millis(300), source.next()).await;
        assert!(again.is_err(), "round {round}: a message came again: {again:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_waits_for_settlements_under_way_and_for_those_that_were_dropped() {
    let (broker, proxy, transport) = patient().await;
    let (mut taken, source) = take_all(&transport).await;
    drop(source);
    let late = taken.split_off(MESSAGES / 2);
    let settling = async {
        drop(taken);
        for delivery in late {
            assert_eq!(delivery.settlement.ack().await.unwrap(), Settled::Done);
        }
        // The last one is settled: from here on nothing holds the transport up.
    };
    tokio::join!(settling, transport.close(PATIENCE));
    assert!(!transport.connected());
    // What comes back now was handed back on purpose, not by the loss of a connection.
    let returned = u32::try_from(MESSAGES / 2).unwrap();
    let queue = broker.queue("");
    eventually("what was dropped is ready for others", PATIENCE, || async {
        broker.ready(&queue).await == Some(returned)
    })
    .await;
    drop(proxy);
}

#[tokio::test]
async fn closing_waits_no_longer_than_the_grace() {
    let (_broker, _proxy, transport) = patient().await;
    let (taken, _source) = take_all(&transport).await;
    let grace = Duration::from_millis(200);
    let closing = tokio::time::timeout(PATIENCE, transport.close(grace)).await;
    assert!(closing.is_ok(), "messages that nobody settles do not hold the end up");
    drop(taken);
}
