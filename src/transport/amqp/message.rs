//! AMQP messages to envelopes and back.
//!
//! Decides: which properties and headers survive being published again. Never does: change a body.

use super::topology::short;
use crate::transport::codec::headers;
use crate::transport::{Envelope, HeaderValue, Headers};
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use std::time::{Duration, SystemTime};

/// Written to disk before it is confirmed.
const PERSISTENT: u8 = 2;

/// Headers the broker writes, or routes by; they belong to one journey and not to the next.
const BROKERS_OWN: [&str; 10] = [
    "CC",
    "BCC",
    "x-death",
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    "x-last-death-exchange",
    "x-last-death-queue",
    "x-last-death-reason",
    DELIVERY_COUNT,
];

/// How often a quorum queue delivered the message before, absent for the first time.
const DELIVERY_COUNT: &str = "x-delivery-count";

/// A message ready to be published.
pub(super) struct Parcel {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) body: Bytes,
    pub(super) properties: BasicProperties,
}

/// What arrived, as it is needed to publish it again.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
}

impl Received {
    /// The envelope, for reading.
    pub(super) fn envelope(&self) -> Envelope {
        let text = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string);
        Envelope {
            body: self.body.clone(),
            headers: readable(self.properties.headers().as_ref()),
            type_property: text(self.properties.kind()),
            content_type: text(self.properties.content_type()),
            published_at: self.properties.timestamp().and_then(time_of),
        }
    }

    /// The headers that are kept on republishing, as far as they can be read, and the bytes of
    /// the others.
    pub(super) fn kept_headers(&self) -> (Headers, usize) {
        let table = kept(self.properties.headers().as_ref());
        let read = readable(Some(&table));
        let opaque = (&table)
            .into_iter()
            .filter(|(name, _)| !read.contains_key(name.as_str()))
            .map(|(name, value)| name.as_str().len() + opaque_bytes(value))
            .sum();
        (read, opaque)
    }

    /// The same message for another queue, through the default exchange: body and headers
    /// unchanged but for the broker's own, and what we told of earlier failures; `set` is added.
    pub(super) fn again(&self, queue: &str, expires: Option<Duration>, set: &Headers) -> Parcel {
        let mut table = kept(self.properties.headers().as_ref());
        for (name, value) in set {
            if let Ok(name) = ShortString::try_new(name.as_str()) {
                table.insert(name, amqp_value(value));
            }
        }
        Parcel {
            exchange: ShortString::default(),
            routing_key: short(queue),
            body: self.body.clone(),
            properties: self.properties_again(table, expires),
        }
    }

    /// Without `user_id`, which the broker refuses from another user, and the old `expiration`.
    fn properties_again(&self, table: FieldTable, expires: Option<Duration>) -> BasicProperties {
        let old = &self.properties;
        let mut new = BasicProperties::default().with_headers(table).with_delivery_mode(PERSISTENT);
        macro_rules! copy {
            ($($get:ident => $with:ident),+) => {
                $(if let Some(value) = old.$get() { new = new.$with(value.clone()); })+
            };
        }
        copy!(
            content_type => with_content_type, content_encoding => with_content_encoding,
            priority => with_priority, correlation_id => with_correlation_id,
            reply_to => with_reply_to, message_id => with_message_id,
            timestamp => with_timestamp, kind => with_type, app_id => with_app_id,
            cluster_id => with_cluster_id
        );
        match expires {
            Some(delay) => new.with_expiration(short(&delay.as_millis().to_string())),
            None => new,
        }
    }
}

/// A message of our own.
pub(super) fn parcel(envelope: &Envelope, exchange: &str, queue: &str) -> Parcel {
    let mut table = FieldTable::default();
    for (name, value) in &envelope.headers {
        table.insert(short(name), amqp_value(value));
    }
    let seconds = envelope
        .published_at
        .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
        .map(|since| since.as_secs());
    let mut properties =
        BasicProperties::default().with_headers(table).with_delivery_mode(PERSISTENT);
    if let Some(kind) = &envelope.type_property {
        properties = properties.with_type(short(kind));
    }
    if let Some(content_type) = &envelope.content_type {
        properties = properties.with_content_type(short(content_type));
    }
    if let Some(seconds) = seconds {
        properties = properties.with_timestamp(seconds);
    }
    Parcel {
        exchange: short(exchange),
        routing_key: short(queue),
        body: envelope.body.clone(),
        properties,
    }
}

/// How often a worker that held the message ended without settling it.
pub(super) fn crash_count(headers: &Headers) -> u32 {
    headers::read_count(headers, DELIVERY_COUNT).unwrap_or(0)
}

fn time_of(seconds: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Without what must not travel on: the broker's own headers, and ours about earlier failures.
fn kept(table: Option<&FieldTable>) -> FieldTable {
    let mut kept = FieldTable::default();
    for (name, value) in table.into_iter().flatten() {
        let dropped = BROKERS_OWN.contains(&name.as_str())
            || headers::FAILURE.contains(&name.as_str())
            || name.as_str() == headers::ATTEMPT;
        if !dropped {
            kept.insert(name.clone(), value.clone());
        }
    }
    kept
}

/// The headers that are text, numbers or booleans.
fn readable(table: Option<&FieldTable>) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in table.into_iter().flatten() {
        let value = match value {
            AMQPValue::Boolean(value) => HeaderValue::Bool(*value),
            AMQPValue::ShortShortInt(value) => HeaderValue::Int(i64::from(*value)),
            AMQPValue::ShortShortUInt(value) => HeaderValue::Int(i64::from(*value)),
            AMQPValue::ShortInt(value) => HeaderValue::Int(i64::from(*value)),
            AMQPValue::ShortUInt(value) => HeaderValue::Int(i64::from(*value)),
            AMQPValue::LongInt(value) => HeaderValue::Int(i64::from(*value)),
            AMQPValue::LongUInt(value) => HeaderValue::Int(i64::from(*value)),
            AMQPValue::LongLongInt(value) => HeaderValue::Int(*value),
            AMQPValue::ShortString(value) => HeaderValue::Text(value.to_string()),
            AMQPValue::LongString(value) => match std::str::from_utf8(value.as_bytes()) {
                Ok(text) => HeaderValue::Text(text.to_owned()),
                Err(_) => continue,
            },
            _ => continue,
        };
        headers.insert(name.to_string(), value);
    }
    headers
}

fn amqp_value(value: &HeaderValue) -> AMQPValue {
    match value {
        HeaderValue::Bool(value) => AMQPValue::Boolean(*value),
        HeaderValue::Int(value) => AMQPValue::LongLongInt(*value),
        HeaderValue::Text(value) => AMQPValue::LongString(value.as_str().into()),
    }
}

/// About what a value takes on the wire, with its type tag and its name's length.
fn opaque_bytes(value: &AMQPValue) -> usize {
    2 + match value {
        AMQPValue::LongString(value) => 4 + value.len(),
        AMQPValue::ByteArray(value) => 4 + value.len(),
        AMQPValue::FieldArray(values) => {
            4 + values.as_slice().iter().map(opaque_bytes).sum::<usize>()
        }
        AMQPValue::FieldTable(table) => {
            4 + table
                .into_iter()
                .map(|(name, value)| name.as_str().len() + opaque_bytes(value))
                .sum::<usize>()
        }
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received() -> Received {
        let mut table = FieldTable::default();
        table
            .insert("traceparent".into(), AMQPValue::LongString("00-1-2-01".into()))
            .insert("shop".into(), AMQPValue::LongInt(7))
            .insert("tags".into(), AMQPValue::FieldArray(vec![AMQPValue::Boolean(true)].into()))
            .insert("CC".into(), AMQPValue::FieldArray(Vec::new().into()))
            .insert("x-death".into(), AMQPValue::FieldArray(Vec::new().into()))
            .insert(DELIVERY_COUNT.into(), AMQPValue::LongInt(4))
            .insert(headers::ATTEMPT.into(), AMQPValue::LongLongInt(3))
            .insert(headers::SQLSTATE.into(), AMQPValue::LongString("40001".into()));
        let properties = BasicProperties::default()
            .with_headers(table)
            .with_type("BeanCreated".into())
            .with_user_id("shop".into())
            .with_expiration("60000".into())
            .with_correlation_id("c-1".into())
            .with_timestamp(1_795_000_000);
        Received { properties, body: Bytes::from_static(b"{\"coffeeBeanId\":  42}") }
    }

    #[test]
    fn an_envelope_shows_what_can_be_read() {
        let envelope = received().envelope();
        assert_eq!(envelope.type_property.as_deref(), Some("BeanCreated"));
        assert_eq!(envelope.headers["shop"], HeaderValue::Int(7));
        assert!(!envelope.headers.contains_key("tags"));
        assert_eq!(crash_count(&envelope.headers), 4);
        assert_eq!(headers::attempt(&envelope.headers), 3);
        let published = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        assert_eq!(envelope.published_at, Some(published));
    }

    #[test]
    fn published_again_it_keeps_all_but_what_belongs_to_the_last_journey() {
        let set = Headers::from([(headers::ATTEMPT.to_owned(), HeaderValue::Int(4))]);
        let parcel = received().again("work.retry.500", Some(Duration::from_millis(512)), &set);
        assert_eq!(parcel.body, received().body);
        assert_eq!(parcel.exchange.as_str(), "");
        assert_eq!(parcel.routing_key.as_str(), "work.retry.500");
        let properties = &parcel.properties;
        assert_eq!(properties.expiration().as_ref().map(ShortString::as_str), Some("512"));
        assert_eq!(properties.correlation_id().as_ref().map(ShortString::as_str), Some("c-1"));
        assert_eq!(properties.user_id(), &None);
        assert_eq!(properties.delivery_mode(), &Some(PERSISTENT));
        let table = properties.headers().clone().unwrap();
        let names: Vec<&str> = table.inner().keys().map(ShortString::as_str).collect();
        assert_eq!(names, ["shop", "tags", "traceparent", headers::ATTEMPT]);
        assert_eq!(table.inner()["shop"], AMQPValue::LongInt(7));
    }
}
