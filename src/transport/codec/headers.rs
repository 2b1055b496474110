//! The names of our own headers, their size on the wire, and times and texts in them.
//!
//! Decides: names and formats. Never does: decide which headers a message gets (see
//! [`super::failure`]).

use crate::transport::{HeaderValue, Headers};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Which attempt this delivery is, from 1; absent for the first.
pub const ATTEMPT: &str = "x-cupping-attempt";
/// Set on a message that was sent because another bean changed.
pub const RIPPLE: &str = "x-cupping-ripple";
/// The class of the last failure.
pub const ERROR_CLASS: &str = "x-cupping-error-class";
/// The SQLSTATE of the last failure, where there was one.
pub const SQLSTATE: &str = "x-cupping-sqlstate";
/// The text of the last failure, cut.
pub const ERROR: &str = "x-cupping-error";
/// Attempts made before the message failed for good.
pub const ATTEMPTS: &str = "x-cupping-attempts";
/// When an attempt first failed, RFC 3339.
pub const FIRST_FAILED_AT: &str = "x-cupping-first-failed-at";
/// When an attempt last failed, RFC 3339.
pub const LAST_FAILED_AT: &str = "x-cupping-last-failed-at";
/// The queue a failed message came from, for putting it back.
pub const ORIGIN: &str = "x-cupping-origin";

/// Every header of ours that speaks of a failure.
pub const FAILURE: [&str; 7] =
    [ERROR_CLASS, SQLSTATE, ERROR, ATTEMPTS, FIRST_FAILED_AT, LAST_FAILED_AT, ORIGIN];

/// The text up to `limit` bytes, at a character's border, with an ellipsis where it was cut.
#[must_use]
pub fn cut(text: &str, limit: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit.saturating_sub(ELLIPSIS.len()));
    if end == 0 { String::new() } else { format!("{}{ELLIPSIS}", &text[..end]) }
}

/// What a header takes in an AMQP table: name with length, type tag, value.
#[must_use]
pub fn wire_size(name: &str, value: &HeaderValue) -> usize {
    let value = match value {
        HeaderValue::Bool(_) => 1,
        HeaderValue::Int(_) => 8,
        HeaderValue::Text(text) => 4 + text.len(),
    };
    1 + name.len() + 1 + value
}

/// A time as it stands in a header: RFC 3339 in UTC, milliseconds.
#[must_use]
pub fn time_text(time: SystemTime) -> String {
    let millis = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let whole =
        SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    OffsetDateTime::from(whole).format(&Rfc3339).unwrap_or_default()
}

/// Reads a time from a header.
#[must_use]
pub fn read_time(headers: &Headers, name: &str) -> Option<SystemTime> {
    let HeaderValue::Text(text) = headers.get(name)? else { return None };
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}

/// Reads a count from a header; also where a client wrote it as text.
#[must_use]
pub fn read_count(headers: &Headers, name: &str) -> Option<u32> {
    match headers.get(name)? {
        HeaderValue::Int(number) => u32::try_from(*number).ok(),
        HeaderValue::Text(text) => text.parse().ok(),
        HeaderValue::Bool(_) => None,
    }
}

/// Which attempt a delivery with these headers is, from 1: our own header, else Symfony's count.
#[must_use]
pub fn attempt(headers: &Headers) -> u32 {
    read_count(headers, ATTEMPT)
        .or_else(|| super::symfony::attempt(headers))
        .map_or(1, |attempt| attempt.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_a_characters_border() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("ääää", 7), "ää…");
        assert_eq!(cut("äää", 3), "");
        assert!(cut(&"x".repeat(100), 10).len() <= 10);
    }

    #[test]
    fn times_survive_the_header_to_the_millisecond() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_000_000_123);
        let headers =
            Headers::from([(FIRST_FAILED_AT.to_owned(), HeaderValue::Text(time_text(time)))]);
        assert_eq!(read_time(&headers, FIRST_FAILED_AT), Some(time));
        assert_eq!(read_time(&headers, LAST_FAILED_AT), None);
    }

    #[test]
    fn attempt_starts_at_one_and_reads_text_too() {
        assert_eq!(attempt(&Headers::new()), 1);
        let with = |value| Headers::from([(ATTEMPT.to_owned(), value)]);
        assert_eq!(attempt(&with(HeaderValue::Int(3))), 3);
        assert_eq!(attempt(&with(HeaderValue::Text("4".into()))), 4);
        assert_eq!(attempt(&with(HeaderValue::Int(0))), 1);
        assert_eq!(attempt(&with(HeaderValue::Int(-1))), 1);
    }
}
