//! The headers that tell of a failure, on a message that is tried again or has failed for good.
//!
//! Decides: which headers, and how much of the error's text fits. Never does: touch a header that
//! is neither ours nor one of Symfony's stamps about failures.

use super::{headers, symfony};
use crate::transport::{Failure, HeaderValue, Headers};

/// Most bytes of headers a message leaves us with, those of its publisher included. Headers must
/// fit one frame, and a broker keeps them in memory; a publisher's own are never dropped, so that
/// only the text of the error gives way.
pub const MAX_HEADER_BYTES: usize = 4096;

/// Kept free of those for what the broker adds on delivery (`x-delivery-count`).
const BROKERS_SHARE: usize = 96;

/// Headers to set on a message that is tried again as attempt number `attempt`.
///
/// `existing`: the headers it came with; `opaque`: the bytes of those that are not in `existing`
/// (tables, arrays).
#[must_use]
pub fn retried(existing: &Headers, opaque: usize, attempt: u32, failure: &Failure) -> Headers {
    fitting(existing, opaque, |room| {
        let mut set = told(failure, room);
        set.insert(headers::ATTEMPT.to_owned(), HeaderValue::Int(i64::from(attempt)));
        set
    })
}

/// Headers to set on a message that moves to the failed queue; `origin` is the queue it came
/// from. The caller drops [`headers::ATTEMPT`], so that a message put back starts anew.
#[must_use]
pub fn failed(existing: &Headers, opaque: usize, origin: &str, failure: &Failure) -> Headers {
    fitting(existing, opaque, |room| {
        let mut set = told(failure, room);
        let attempts = HeaderValue::Int(i64::from(failure.attempts));
        set.insert(headers::ATTEMPTS.to_owned(), attempts);
        set.insert(headers::ORIGIN.to_owned(), HeaderValue::Text(headers::cut(origin, 255)));
        if symfony::is_symfony(existing) {
            set.extend(symfony::failure_stamps(existing, failure, origin, room));
        }
        set
    })
}

/// What both have: class, SQLSTATE, text and times.
fn told(failure: &Failure, room: usize) -> Headers {
    let text = |text: String| HeaderValue::Text(text);
    let mut set = Headers::from([
        (headers::ERROR_CLASS.to_owned(), text(headers::cut(&failure.class, 64))),
        (headers::ERROR.to_owned(), text(headers::cut(&failure.message, room))),
        (headers::FIRST_FAILED_AT.to_owned(), text(headers::time_text(failure.first_failed_at))),
        (headers::LAST_FAILED_AT.to_owned(), text(headers::time_text(failure.last_failed_at))),
    ]);
    if let Some(sqlstate) = &failure.sqlstate {
        set.insert(headers::SQLSTATE.to_owned(), text(headers::cut(sqlstate, 16)));
    }
    set
}

/// The headers with the longest error text that fits: tried at falling lengths, since escaping
/// in a stamp makes the size no simple function of the length.
fn fitting(existing: &Headers, opaque: usize, build: impl Fn(usize) -> Headers) -> Headers {
    const LIMIT: usize = MAX_HEADER_BYTES - BROKERS_SHARE;
    let mut room = LIMIT;
    loop {
        let set = build(room);
        let kept: usize = existing
            .iter()
            .filter(|(name, _)| !set.contains_key(*name))
            .map(|(name, value)| headers::wire_size(name, value))
            .sum();
        let ours: usize = set.iter().map(|(name, value)| headers::wire_size(name, value)).sum();
        let total = kept + ours + opaque;
        if total <= LIMIT || room == 0 {
            return set;
        }
        room = room.saturating_sub((total - LIMIT).clamp(1, room.div_ceil(4)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, SystemTime};

    fn failure(message: &str) -> Failure {
        let first = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        Failure {
            class: "deadlock".into(),
            sqlstate: Some("40P01".into()),
            message: message.into(),
            attempts: 6,
            first_failed_at: first,
            last_failed_at: first + Duration::from_secs(16),
        }
    }

    fn total(existing: &Headers, set: &Headers) -> usize {
        let mut all = existing.clone();
        all.extend(set.clone());
        all.iter().map(|(name, value)| headers::wire_size(name, value)).sum()
    }

    #[test]
    fn a_failed_message_tells_class_sqlstate_text_attempts_times_and_origin() {
        let set = failed(&Headers::new(), 0, "work", &failure("deadlock detected"));
        let text = |name: &str| match set.get(name) {
            Some(HeaderValue::Text(text)) => text.clone(),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(text(headers::ERROR_CLASS), "deadlock");
        assert_eq!(text(headers::SQLSTATE), "40P01");
        assert_eq!(text(headers::ERROR), "deadlock detected");
        assert_eq!(text(headers::ORIGIN), "work");
        assert_eq!(set[headers::ATTEMPTS], HeaderValue::Int(6));
        assert!(text(headers::FIRST_FAILED_AT) < text(headers::LAST_FAILED_AT));
        assert!(!set.keys().any(|name| name.starts_with(symfony::STAMP_PREFIX)));
    }

    #[test]
    fn publishers_headers_stay_even_where_they_alone_are_too_many() {
        let existing = Headers::from([("big".to_owned(), HeaderValue::Text("x".repeat(8000)))]);
        let set = retried(&existing, 0, 2, &failure("m"));
        assert!(!set.contains_key("big"));
        assert_eq!(set[headers::ERROR], HeaderValue::Text(String::new()));
        assert_eq!(set[headers::ATTEMPT], HeaderValue::Int(2));
    }

    proptest! {
        #[test]
        fn headers_stay_within_the_limit_whatever_the_error_says(
            message in ".{0,9000}", extra in 0_usize..2500, stamped: bool,
        ) {
            let mut existing =
                Headers::from([("x-other".to_owned(), HeaderValue::Text("y".repeat(extra)))]);
            if stamped {
                let name = format!(r"{}Symfony\Component\Messenger\Stamp\BusNameStamp",
                    symfony::STAMP_PREFIX);
                let value = r#"[{"busName":"messenger.bus.default"}]"#;
                existing.insert(name, HeaderValue::Text(value.into()));
            }
            let set = failed(&existing, 100, "similarity_calculation", &failure(&message));
            prop_assert!(total(&existing, &set) + 100 <= MAX_HEADER_BYTES);
        }
    }
}
