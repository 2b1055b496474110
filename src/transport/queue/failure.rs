//! Failures, both ways: what a database error means for the queue, and how a failed attempt is
//! noted on its message.
//!
//! Decides: which errors no waiting mends (tables or rights missing), and what a failed message
//! keeps in its headers. Never does: retry.

use super::table::{RawHeaders, portable, without_nul};
use crate::transport::codec::{failure, headers};
use crate::transport::{Failure, HeaderValue, Headers, TransportError};
use crate::txn::{Dialect, TxnError};
use serde_json::Value;
use sqlx::{Postgres, Sqlite};

/// An error of PostgreSQL.
pub(super) fn postgres(error: sqlx::Error) -> TransportError {
    from::<Postgres>(&error)
}

/// An error of SQLite.
pub(super) fn sqlite(error: sqlx::Error) -> TransportError {
    from::<Sqlite>(&error)
}

/// A failed transaction.
pub(super) fn transaction(error: &TxnError) -> TransportError {
    let misconfigured = error.code().as_deref().and_then(misconfiguration);
    misconfigured.map_or_else(
        || TransportError::Database {
            retryability: error.retryability(),
            message: error.to_string(),
        },
        |advice| TransportError::Misconfigured(format!("{error}; {advice}")),
    )
}

fn from<DB: Dialect>(error: &sqlx::Error) -> TransportError {
    let code = error.as_database_error().and_then(|error| error.code());
    match code.as_deref().and_then(misconfiguration) {
        Some(advice) => TransportError::Misconfigured(format!("{error}; {advice}")),
        None => TransportError::Database {
            retryability: DB::classify(error),
            message: error.to_string(),
        },
    }
}

/// What to do about a code that waiting does not mend. The statements are constant and correct,
/// so a name the database does not know means that the tables are not there.
fn misconfiguration(code: &str) -> Option<&'static str> {
    match code {
        "42P01" | "42703" | "3F000" | "1" => {
            Some("the queue's tables are missing or outdated: run `cupping migrate`")
        }
        "42501" | "8" => {
            Some("this user may not use the queue's tables: grant it the worker role's rights")
        }
        "26" => Some("the file is not a SQLite database: check database.url"),
        _ => None,
    }
}

/// What the failed table says of a message whose workers kept ending.
pub(super) fn delivery_limit_message(limit: u32) -> String {
    format!(
        "{limit} workers ended while holding this message (transport.queue.delivery_limit); it may \
         be what ends them"
    )
}

/// The headers of a message that is tried again, as the column stores them.
pub(super) fn retried(raw: &RawHeaders, attempt: u32, failed: &Failure) -> String {
    let existing = portable(raw);
    let failed = storable(failed);
    let set = failure::retried(&existing, opaque_bytes(raw, &existing), attempt, &failed);
    let mut all = raw.clone();
    for name in headers::FAILURE {
        all.remove(name);
    }
    all.extend(set.into_iter().map(|(name, value)| (name, stored(value))));
    Value::Object(all).to_string()
}

/// The headers of a message that failed for good (its publisher's: columns say the rest), and the
/// text of the error, cut so that all of it would fit the limit of headers.
pub(super) fn failed(raw: &RawHeaders, origin: &str, failed: &Failure) -> (String, String) {
    let existing = portable(raw);
    let failed = storable(failed);
    let set = failure::failed(&existing, opaque_bytes(raw, &existing), origin, &failed);
    let message = match set.get(headers::ERROR) {
        Some(HeaderValue::Text(text)) => text.clone(),
        _ => String::new(),
    };
    let mut kept = raw.clone();
    for name in headers::FAILURE.into_iter().chain([headers::ATTEMPT]) {
        kept.remove(name);
    }
    (Value::Object(kept).to_string(), message)
}

/// The failure with texts that can be stored; before it is cut, since a replacement is longer.
fn storable(failed: &Failure) -> Failure {
    let mut failed = failed.clone();
    failed.message = without_nul(&failed.message);
    failed.class = without_nul(&failed.class);
    failed.sqlstate = failed.sqlstate.as_deref().map(without_nul);
    failed
}

/// Bytes of the headers that the port does not carry.
fn opaque_bytes(raw: &RawHeaders, carried: &Headers) -> usize {
    raw.iter()
        .filter(|(name, _)| !carried.contains_key(*name))
        .map(|(name, value)| name.len() + value.to_string().len())
        .sum()
}

fn stored(value: HeaderValue) -> Value {
    match value {
        HeaderValue::Bool(flag) => Value::Bool(flag),
        HeaderValue::Int(number) => Value::from(number),
        HeaderValue::Text(text) => Value::String(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::queue::table::parse_headers;
    use std::time::{Duration, SystemTime};

    fn note(message: &str) -> Failure {
        let first = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        Failure {
            class: "deadlock".into(),
            sqlstate: Some("40P01".into()),
            message: message.into(),
            attempts: 2,
            first_failed_at: first,
            last_failed_at: first,
        }
    }

    #[test]
    fn retried_message_keeps_its_publishers_headers_and_stays_within_the_limit() {
        let raw = parse_headers(r#"{"traceparent":"00-ab","list":[1,2]}"#);
        let text = retried(&raw, 2, &note(&"x\0".repeat(9000)));
        assert!(text.len() <= failure::MAX_HEADER_BYTES + 200, "{} bytes", text.len());
        let back = parse_headers(&text);
        assert_eq!(back["traceparent"], "00-ab");
        assert_eq!(back["list"], serde_json::json!([1, 2]));
        assert_eq!(back[headers::ERROR_CLASS], "deadlock");
        assert!(!text.contains("\\u0000"));
    }

    #[test]
    fn failed_message_is_stored_as_its_publisher_sent_it() {
        let raw = parse_headers(r#"{"traceparent":"00-ab"}"#);
        let again = parse_headers(&retried(&raw, 2, &note("first")));
        let (text, message) = failed(&again, "live", &note(&"long ".repeat(2000)));
        assert_eq!(parse_headers(&text), raw);
        assert!(message.starts_with("long") && message.len() < failure::MAX_HEADER_BYTES);
    }
}
