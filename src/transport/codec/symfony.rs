//! Symfony Messenger's stamps, as its JSON serializer writes them into headers.
//!
//! Decides: how a failed message must look so that `messenger:failed:*` can show and retry it.
//! Never does: write a stamp on a message that carries none, or one Symfony would refuse.
//!
//! A stamp header is named [`STAMP_PREFIX`] plus the class, and holds a JSON array of all stamps of
//! that class, oldest first; the last one counts.

use super::headers;
use crate::transport::{Failure, HeaderValue, Headers};
use serde_json::{Value, json};

/// What the name of a stamp's header starts with.
pub const STAMP_PREFIX: &str = "X-Message-Stamp-";

const NAMESPACE: &str = r"Symfony\Component\Messenger\Stamp\";
const REDELIVERY: &str = "RedeliveryStamp";
const DELAY: &str = "DelayStamp";
const SENT_TO_FAILURE: &str = "SentToFailureTransportStamp";
const ERROR_DETAILS: &str = "ErrorDetailsStamp";

/// Stamps of a class that are kept: the first and the latest, as Symfony does.
const HISTORY: usize = 10;

fn header(stamp: &str) -> String {
    format!("{STAMP_PREFIX}{NAMESPACE}{stamp}")
}

/// Whether Symfony sent the message.
#[must_use]
pub fn is_symfony(headers: &Headers) -> bool {
    headers.keys().any(|name| name.starts_with(STAMP_PREFIX))
}

/// Which attempt Symfony thinks this is: its count of retries plus one.
#[must_use]
pub fn attempt(headers: &Headers) -> Option<u32> {
    let last = stamps(headers, REDELIVERY).pop()?;
    let retries = u32::try_from(last.get("retryCount")?.as_u64()?).ok()?;
    Some(retries.saturating_add(1))
}

/// Whether a body was made by PHP's `serialize()`: an object, plain or in base64.
#[must_use]
pub fn looks_php_serialized(body: &[u8]) -> bool {
    let plain =
        body.strip_prefix(b"O:").is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit));
    plain || body.starts_with(b"Tzo")
}

/// The stamps a message needs in a failure transport: where it came from, no delay, a retry count
/// of zero, and the error with at most `room` bytes of text.
///
/// The name of the Symfony transport is not on the wire; unless the message already says it,
/// `origin` (the queue's name) stands in.
#[must_use]
pub fn failure_stamps(
    existing: &Headers,
    failure: &Failure,
    origin: &str,
    room: usize,
) -> Vec<(String, HeaderValue)> {
    let at = headers::time_text(failure.last_failed_at);
    let seconds = at.get(..19).unwrap_or("1970-01-01T00:00:00");
    let redelivered = json!({"retryCount": 0, "redeliveredAt": format!("{seconds}+00:00")});
    let sent = stamps(existing, SENT_TO_FAILURE)
        .pop()
        .unwrap_or_else(|| json!({"originalReceiverName": origin}));
    let code = failure.sqlstate.as_deref().map_or(json!(0), |code| json!(headers::cut(code, 16)));
    let details = json!({
        "exceptionClass": headers::cut(&failure.class, 64),
        "exceptionCode": code,
        "exceptionMessage": headers::cut(&failure.message, room),
        "flattenException": null,
    });
    vec![
        (header(SENT_TO_FAILURE), array(vec![sent])),
        (header(DELAY), appended(existing, DELAY, json!({"delay": 0}))),
        (header(REDELIVERY), appended(existing, REDELIVERY, redelivered)),
        // Earlier details carry stack traces of several kilobytes; the last one is what is shown.
        (header(ERROR_DETAILS), array(vec![details])),
    ]
}

/// The stamps of a class; none where the header is missing or is not what Symfony writes.
fn stamps(headers: &Headers, stamp: &str) -> Vec<Value> {
    match headers.get(&header(stamp)) {
        Some(HeaderValue::Text(text)) => serde_json::from_str(text).unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn appended(existing: &Headers, stamp: &str, new: Value) -> HeaderValue {
    let mut history = stamps(existing, stamp);
    history.push(new);
    if history.len() > HISTORY {
        history.drain(1..=history.len() - HISTORY);
    }
    array(history)
}

fn array(stamps: Vec<Value>) -> HeaderValue {
    HeaderValue::Text(Value::Array(stamps).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn failure() -> Failure {
        Failure {
            class: "deadlock".into(),
            sqlstate: Some("40P01".into()),
            message: "deadlock detected".into(),
            attempts: 6,
            first_failed_at: SystemTime::UNIX_EPOCH,
            last_failed_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_000_000_250),
        }
    }

    fn sent_by_symfony(retries: Option<&str>) -> Headers {
        let mut headers = Headers::from([(
            header("BusNameStamp"),
            HeaderValue::Text(r#"[{"busName":"messenger.bus.default"}]"#.into()),
        )]);
        if let Some(retries) = retries {
            headers.insert(header(REDELIVERY), HeaderValue::Text(retries.into()));
        }
        headers
    }

    #[test]
    fn the_last_redelivery_stamp_gives_the_attempt() {
        let two = r#"[{"retryCount":1,"redeliveredAt":"2026-11-22T07:00:00+00:00"},
            {"retryCount":2,"redeliveredAt":"2026-11-22T07:00:01+00:00"}]"#;
        assert_eq!(attempt(&sent_by_symfony(Some(two))), Some(3));
        assert_eq!(attempt(&sent_by_symfony(None)), None);
        assert_eq!(attempt(&sent_by_symfony(Some("{}"))), None);
        assert_eq!(attempt(&sent_by_symfony(Some("[1]"))), None);
    }

    #[test]
    fn a_failed_message_has_the_stamps_that_failed_show_reads() {
        let one = r#"[{"retryCount":5,"redeliveredAt":"2026-11-22T07:00:00+00:00"}]"#;
        let stamps: Headers =
            failure_stamps(&sent_by_symfony(Some(one)), &failure(), "similarity_calculation", 1000)
                .into_iter()
                .collect();
        let json = |stamp: &str| match &stamps[&header(stamp)] {
            HeaderValue::Text(text) => serde_json::from_str::<Value>(text).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            json(SENT_TO_FAILURE),
            json!([{"originalReceiverName": "similarity_calculation"}])
        );
        assert_eq!(json(DELAY), json!([{"delay": 0}]));
        assert_eq!(json(REDELIVERY)[0]["retryCount"], 5);
        assert_eq!(
            json(REDELIVERY)[1],
            json!({"retryCount": 0, "redeliveredAt": "2026-11-18T11:06:40+00:00"})
        );
        let details = &json(ERROR_DETAILS)[0];
        assert_eq!(details["exceptionCode"], "40P01");
        assert_eq!(details["flattenException"], Value::Null);
    }

    #[test]
    fn history_keeps_the_first_and_the_last_nine() {
        let many: Vec<Value> = (0..14).map(|n| json!({"retryCount": n})).collect();
        let text = Value::Array(many).to_string();
        let HeaderValue::Text(kept) =
            appended(&sent_by_symfony(Some(&text)), REDELIVERY, json!({"retryCount": 99}))
        else {
            panic!("an array is text")
        };
        let kept: Vec<Value> = serde_json::from_str(&kept).unwrap();
        assert_eq!(kept.len(), HISTORY);
        assert_eq!(kept[0]["retryCount"], 0);
        assert_eq!(kept[1]["retryCount"], 6);
        assert_eq!(kept[9]["retryCount"], 99);
    }

    #[test]
    fn php_serialization_is_recognised() {
        assert!(looks_php_serialized(br#"O:36:\"Symfony\\Component\\Messenger\\Envelope\":2:{"#));
        assert!(looks_php_serialized(b"TzozNjoiU3ltZm9ueVxD"));
        assert!(!looks_php_serialized(b"{\"coffeeBeanId\":1}"));
        assert!(!looks_php_serialized(b"O"));
    }
}
