//! RabbitMQ: what becomes of a delivery.

use crate::support::amqp::{Broker, header, ladder, next, outgoing};
use crate::support::eventually;
use cupping::transport::codec::failure::MAX_HEADER_BYTES;
use cupping::transport::codec::headers;
use cupping::transport::settlement::Settled;
use cupping::transport::{Failure, Lane, Source, Transport};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use std::time::{Duration, Instant, SystemTime};
use tokio_util::sync::CancellationToken;

const BODY: &[u8] = br#"{ "coffeeBeanId" :  "caf\u00e9\/1", "unknown": 1.0 }"#;

fn failure(attempts: u32, message: &str) -> Failure {
    let now = SystemTime::now();
    Failure {
        class: "deadlock".into(),
        sqlstate: Some("40P01".into()),
        message: message.into(),
        attempts,
        first_failed_at: now,
        last_failed_at: now,
    }
}

fn properties() -> BasicProperties {
    let mut table = FieldTable::default();
    table
        .insert("traceparent".into(), AMQPValue::LongString("00-aa-bb-01".into()))
        .insert("shop".into(), AMQPValue::LongInt(7))
        .insert("tags".into(), AMQPValue::FieldArray(vec![AMQPValue::Boolean(true)].into()));
    BasicProperties::default()
        .with_headers(table)
        .with_type("BeanCreated".into())
        .with_correlation_id("c-1".into())
        .with_message_id("m-1".into())
}

async fn source(transport: &impl Transport) -> (Box<dyn Source>, CancellationToken) {
    let stop = CancellationToken::new();
    (transport.source(stop.clone()).await.expect("consuming can start"), stop)
}

#[tokio::test]
async fn a_retried_message_comes_back_unchanged_after_its_delay_with_its_attempt() {
    let ladder = ladder(2, 300);
    let broker = Broker::new(&ladder);
    let transport = broker.transport(ladder, 10);
    transport.prepare().await.unwrap();
    let (mut source, _stop) = source(&transport).await;
    for lane in ["", ".bulk"] {
        broker.publish(&broker.queue(lane), BODY, properties()).await;
        let mut delivery = next(&mut source).await;
        for (retry, step) in [(1, 300), (2, 600)] {
            let asked = Instant::now();
            let delay = Duration::from_millis(step);
            let settled =
                delivery.settlement.retry(retry, delay, failure(retry, "boom")).await.unwrap();
            assert_eq!(settled, Settled::Done);
            delivery = next(&mut source).await;
            let waited = asked.elapsed();
            assert!(waited >= delay, "{waited:?} is less than {delay:?}");
            assert!(waited < delay * 3, "{waited:?} is far more than {delay:?}");
            assert_eq!(delivery.attempt, retry + 1);
            assert_eq!(delivery.lane.name(), if lane.is_empty() { "live" } else { "bulk" });
            assert_eq!(&delivery.envelope.body[..], BODY);
            assert_eq!(delivery.envelope.type_property.as_deref(), Some("BeanCreated"));
            assert!(delivery.first_failed_at.is_some());
            assert_eq!(delivery.crash_count, 0);
        }
        delivery.settlement.hand_back().await.unwrap();
        let again = next(&mut source).await;
        assert_eq!(again.attempt, 3, "handing back counts no attempt");
        again.settlement.republish().await.unwrap();
        let anew = next(&mut source).await;
        assert_eq!((anew.attempt, anew.crash_count), (3, 0));
        assert!(anew.first_failed_at.is_some());
        anew.settlement.dead_letter(failure(3, "boom")).await.unwrap();
        let failed = broker.get(&broker.queue(".failed")).await;
        assert_eq!(failed.data, BODY);
        let properties = &failed.properties;
        assert_eq!(properties.correlation_id().as_ref().unwrap().as_str(), "c-1");
        assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "m-1");
        let table = properties.headers().clone().unwrap();
        assert_eq!(table.inner()["shop"], AMQPValue::LongInt(7));
        assert!(matches!(table.inner()["tags"], AMQPValue::FieldArray(_)));
        for gone in ["x-death", headers::ATTEMPT] {
            assert!(!table.contains_key(gone), "{gone} travelled on");
        }
        assert_eq!(header(&failed, "traceparent").unwrap(), "00-aa-bb-01");
    }
    let depth = transport.depth().await.unwrap();
    assert_eq!((depth.live, depth.bulk, depth.retrying, depth.failed), (0, 0, 0, 0));
}

#[tokio::test]
async fn a_failed_message_tells_why_within_four_kibibytes_of_headers() {
    let ladder = ladder(1, 200);
    let broker = Broker::new(&ladder);
    let transport = broker.transport(ladder, 10);
    transport.publisher().publish(&[outgoing("b", Lane::Live)]).await.unwrap();
    let (mut source, _stop) = source(&transport).await;
    let delivery = next(&mut source).await;
    let settled = delivery.settlement.dead_letter(failure(6, &"ä\"\n".repeat(5000))).await;
    assert_eq!(settled.unwrap(), Settled::Done);
    let failed = broker.get(&broker.queue(".failed")).await;
    assert_eq!(header(&failed, headers::ERROR_CLASS).unwrap(), "deadlock");
    assert_eq!(header(&failed, headers::SQLSTATE).unwrap(), "40P01");
    assert_eq!(header(&failed, headers::ATTEMPTS).unwrap(), "6");
    assert_eq!(header(&failed, headers::ORIGIN).unwrap(), broker.queue(""));
    assert!(header(&failed, headers::FIRST_FAILED_AT).unwrap().starts_with("20"));
    assert!(header(&failed, headers::LAST_FAILED_AT).unwrap().starts_with("20"));
    let table = failed.properties.headers().clone().unwrap();
    let bytes: usize = table
        .inner()
        .iter()
        .map(|(name, value)| match value {
            AMQPValue::LongString(text) => name.as_str().len() + 6 + text.len(),
            _ => name.as_str().len() + 10,
        })
        .sum();
    assert!((3800..=MAX_HEADER_BYTES).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn a_failed_symfony_message_carries_the_stamps_its_tools_read() {
    let ladder = ladder(1, 200);
    let broker = Broker::new(&ladder);
    let transport = broker.transport(ladder, 10);
    transport.prepare().await.unwrap();
    let stamp = |name: &str| format!(r"X-Message-Stamp-Symfony\Component\Messenger\Stamp\{name}");
    let mut table = FieldTable::default();
    let class = r"App\Message\CalculateSimilarityForBean";
    table.insert("type".into(), AMQPValue::LongString(class.into()));
    let bus = r#"[{"busName":"messenger.bus.default"}]"#;
    table.insert(stamp("BusNameStamp").into(), AMQPValue::LongString(bus.into()));
    let redelivered = r#"[{"retryCount":2,"redeliveredAt":"2026-11-22T07:00:00+00:00"}]"#;
    table.insert(stamp("RedeliveryStamp").into(), AMQPValue::LongString(redelivered.into()));
    let properties = BasicProperties::default().with_headers(table);
    broker.publish(&broker.queue(""), BODY, properties).await;
    let (mut source, _stop) = source(&transport).await;
    let delivery = next(&mut source).await;
    assert_eq!(delivery.attempt, 3, "Symfony's count is honoured");
    delivery.settlement.dead_letter(failure(3, "boom")).await.unwrap();
    let failed = broker.get(&broker.queue(".failed")).await;
    assert_eq!(failed.data, BODY);
    assert_eq!(header(&failed, "type").unwrap(), class);
    assert_eq!(header(&failed, &stamp("BusNameStamp")).unwrap(), bus);
    let sent = header(&failed, &stamp("SentToFailureTransportStamp")).unwrap();
    assert!(sent.contains("originalReceiverName"), "{sent}");
    assert_eq!(header(&failed, &stamp("DelayStamp")).unwrap(), r#"[{"delay":0}]"#);
    let redelivered = header(&failed, &stamp("RedeliveryStamp")).unwrap();
    let history: serde_json::Value = serde_json::from_str(&redelivered).unwrap();
    assert_eq!((&history[0]["retryCount"], &history[1]["retryCount"]), (&2.into(), &0.into()));
    let details = header(&failed, &stamp("ErrorDetailsStamp")).unwrap();
    assert!(details.contains(r#""flattenException":null"#), "{details}");
}

#[tokio::test]
async fn a_dropped_delivery_comes_back_and_counts_no_attempt() {
    let ladder = ladder(1, 200);
    let broker = Broker::new(&ladder);
    let transport = broker.transport(ladder, 1);
    transport.publisher().publish(&[outgoing("b", Lane::Live)]).await.unwrap();
    let (mut source, _stop) = source(&transport).await;
    drop(next(&mut source).await);
    let again = next(&mut source).await;
    assert_eq!(again.attempt, 1);
    assert_eq!(again.settlement.ack().await.unwrap(), Settled::Done);
}

#[tokio::test]
async fn never_more_than_the_prefetch_are_out() {
    let ladder = ladder(1, 200);
    let broker = Broker::new(&ladder);
    let transport = broker.transport(ladder, 3);
    let many: Vec<_> = (0..8)
        .map(|n| outgoing(&n.to_string(), if n % 2 == 0 { Lane::Live } else { Lane::Bulk }))
        .collect();
    transport.publisher().publish(&many).await.unwrap();
    let (mut source, _stop) = source(&transport).await;
    let mut out = Vec::new();
    for _ in 0..3 {
        out.push(next(&mut source).await);
    }
    let fourth = tokio::time::timeout(Duration::from_millis(200), source.next()).await;
    assert!(fourth.is_err(), "a fourth came: {fourth:?}");
    out.pop().unwrap().settlement.ack().await.unwrap();
    out.push(next(&mut source).await);
}

#[tokio::test]
async fn bulk_gets_a_tenth_under_load_and_the_rest_when_live_is_empty() {
    let ladder = ladder(1, 200);
    let broker = Broker::new(&ladder);
    let transport = broker.transport(ladder, 100);
    let publisher = transport.publisher();
    for lane in [Lane::Live, Lane::Bulk] {
        let many: Vec<_> = (0..90).map(|n| outgoing(&n.to_string(), lane)).collect();
        publisher.publish(&many).await.unwrap();
    }
    let (mut source, _stop) = source(&transport).await;
    // Whatever order the first few arrive in: once both lanes are buffered, the shares hold.
    let first = next(&mut source).await;
    first.settlement.ack().await.unwrap();
    let mut lanes = Vec::new();
    for _ in 1..180 {
        let delivery = next(&mut source).await;
        lanes.push(delivery.lane);
        delivery.settlement.ack().await.unwrap();
    }
    let bulk = |part: &[Lane]| part.iter().filter(|lane| **lane == Lane::Bulk).count();
    assert!((4..=40).contains(&bulk(&lanes[..60])), "{lanes:?}");
    assert_eq!(bulk(&lanes[lanes.len() - 50..]), 50, "{lanes:?}");
}

#[tokio::test]
async fn stopping_hands_back_what_was_sent_ahead_and_lets_the_rest_be_settled() {
    let ladder = ladder(1, 200);
    let broker = Broker::new(&ladder);
    let transport = broker.transport(ladder, 50);
    let many: Vec<_> = (0..20).map(|n| outgoing(&n.to_string(), Lane::Live)).collect();
    transport.publisher().publish(&many).await.unwrap();
    let (mut source, stop) = source(&transport).await;
    let held = next(&mut source).await;
    stop.cancel();
    assert!(source.next().await.unwrap().is_none());
    assert!(source.next().await.unwrap().is_none());
    let queue = broker.queue("");
    eventually("the others are ready again", Duration::from_secs(10), || async {
        broker.ready(&queue).await == Some(19)
    })
    .await;
    drop(source);
    assert_eq!(held.settlement.ack().await.unwrap(), Settled::Done);
    eventually("the last one is not redelivered", Duration::from_secs(10), || async {
        broker.ready(&queue).await == Some(19)
    })
    .await;
}

#[tokio::test]
async fn messages_in_step_queues_of_earlier_settings_still_come_back() {
    let (old, new) = (ladder(2, 700), ladder(1, 200));
    let mut broker = Broker::new(&old);
    broker.will_use(&new);
    let before = broker.transport(old, 10);
    before.publisher().publish(&[outgoing("b", Lane::Live)]).await.unwrap();
    let (mut first, stop) = source(&before).await;
    let delivery = next(&mut first).await;
    delivery.settlement.retry(1, Duration::from_millis(700), failure(1, "x")).await.unwrap();
    stop.cancel();
    assert!(first.next().await.unwrap().is_none());
    before.close(Duration::from_secs(5)).await;

    let after = broker.transport(new, 10);
    let (mut second, _stop) = source(&after).await;
    let delivery = next(&mut second).await;
    assert_eq!(delivery.attempt, 2, "the attempt is kept across the change of settings");
    delivery.settlement.ack().await.unwrap();
}
