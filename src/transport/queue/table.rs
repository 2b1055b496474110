//! The port between the queue and its two databases: what a table of messages can do.
//!
//! Decides: the operations, each one statement or one transaction, and what they answer.
//! Never does: decide when to call them (see `pump`, `keeper`, `settlement`).

use super::lanes::PerLane;
use crate::transport::{Envelope, HeaderValue, Headers, Lane, QueueDepth, TransportError};
use async_trait::async_trait;
use bytes::Bytes;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The headers of a row as they are stored: values the port cannot carry are kept here too.
pub(super) type RawHeaders = serde_json::Map<String, serde_json::Value>;

/// Expired claims looked at in one statement, at most.
pub(super) const EXPIRY_BATCH: i64 = 500;

/// A claimed row.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) body: Vec<u8>,
    pub(super) headers: RawHeaders,
    pub(super) type_property: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) published_at: Option<SystemTime>,
    pub(super) attempt: u32,
    pub(super) crash_count: u32,
    pub(super) first_failed_at: Option<SystemTime>,
}

impl Row {
    /// The message, for the pipeline.
    pub(super) fn envelope(&self) -> Envelope {
        Envelope {
            body: Bytes::from(self.body.clone()),
            headers: portable(&self.headers),
            type_property: self.type_property.clone(),
            content_type: self.content_type.clone(),
            published_at: self.published_at,
        }
    }
}

/// A message to be inserted.
#[derive(Debug, Clone)]
pub(super) struct NewRow {
    pub(super) lane: Lane,
    pub(super) envelope: Envelope,
}

/// What a retry writes.
#[derive(Debug, Clone)]
pub(super) struct RetryRow {
    pub(super) delay: Duration,
    pub(super) headers: String,
    pub(super) first_failed_at: SystemTime,
}

/// What a dead letter writes besides the message itself.
#[derive(Debug, Clone)]
pub(super) struct FailedRow {
    pub(super) headers: String,
    pub(super) attempts: u32,
    pub(super) class: String,
    pub(super) sqlstate: Option<String>,
    pub(super) message: String,
    pub(super) first_failed_at: SystemTime,
    pub(super) failed_at: SystemTime,
}

/// What became of expired claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Expired {
    /// Given back, their crash count raised.
    pub(super) released: u64,
    /// Moved to the failed table: their workers ended too often.
    pub(super) failed: u64,
}

/// How long until a lane has something to claim; `None` when nothing waits on it.
pub(super) type NextDue = PerLane<Option<Duration>>;

/// A queue in a table. Every claim is named by a token; a statement under a token that no longer
/// holds a row changes nothing and answers `false`.
#[async_trait]
pub(super) trait QueueTable: Send + Sync {
    /// Whether the tables are there and ours to use.
    async fn verify(&self) -> Result<(), TransportError>;
    /// Claims up to `limit` messages that are due, oldest due first.
    async fn claim(
        &self,
        lane: Lane,
        limit: usize,
        claim: &str,
        visibility: Duration,
    ) -> Result<Vec<Row>, TransportError>;
    /// When the next unclaimed message of each lane is due.
    async fn next_due(&self) -> Result<NextDue, TransportError>;
    /// Extends the claims on these rows.
    async fn renew(
        &self,
        ids: &[i64],
        claims: &[String],
        visibility: Duration,
    ) -> Result<(), TransportError>;
    /// Gives back claims that ran out, at most [`EXPIRY_BATCH`] at once.
    async fn expire(&self, delivery_limit: u32) -> Result<Expired, TransportError>;
    /// Removes a message that is done.
    async fn ack(&self, id: i64, claim: &str) -> Result<bool, TransportError>;
    /// Schedules the next attempt.
    async fn retry(&self, id: i64, claim: &str, retry: RetryRow) -> Result<bool, TransportError>;
    /// Moves a message to the failed table.
    async fn dead_letter(
        &self,
        id: i64,
        claim: &str,
        failed: FailedRow,
    ) -> Result<bool, TransportError>;
    /// Gives rows back unstarted; answers how many were still ours.
    async fn hand_back(&self, ids: &[i64], claim: &str) -> Result<u64, TransportError>;
    /// Gives a row back as new, its crash count cleared.
    async fn republish(&self, id: i64, claim: &str) -> Result<bool, TransportError>;
    /// Gives back every row under the token but these: claims whose answer never reached us.
    async fn release_others(&self, claim: &str, keep: &[i64]) -> Result<u64, TransportError>;
    /// Inserts all in one statement.
    async fn insert(&self, rows: &[NewRow]) -> Result<(), TransportError>;
    /// Counts.
    async fn depth(&self) -> Result<QueueDepth, TransportError>;
    /// The statement of a [`Ticket`](crate::txn::ticket::Ticket).
    fn ticket_statement(&self) -> &'static str;
    /// Waits for news of other processes' publishes, for ever; returns when listening failed. A
    /// table that cannot tell never returns.
    async fn listen(&self, news: &(dyn Fn() + Send + Sync)) -> Result<(), TransportError>;
}

/// Milliseconds since 1970, as both databases exchange times with us.
pub(super) fn unix_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The time of so many milliseconds since 1970; 1970 itself for a negative number.
pub(super) fn from_unix_ms(ms: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// Whole milliseconds, rounded up so that nothing is early.
pub(super) fn duration_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(i64::MAX)
}

/// Reads a headers column; text that is no JSON object counts as no headers.
pub(super) fn parse_headers(text: &str) -> RawHeaders {
    serde_json::from_str(text).unwrap_or_default()
}

/// Headers as the column stores them. (NUL, which `jsonb` refuses, becomes a replacement sign.)
pub(super) fn headers_text(headers: &Headers) -> String {
    let clean: Headers = headers
        .iter()
        .map(|(name, value)| {
            let value = match value {
                HeaderValue::Text(text) => HeaderValue::Text(without_nul(text)),
                other => other.clone(),
            };
            (without_nul(name), value)
        })
        .collect();
    serde_json::to_string(&clean).expect("texts, numbers and booleans always serialise")
}

/// Text that PostgreSQL stores: NUL becomes a replacement sign.
pub(super) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The headers that the port carries: booleans, whole numbers and text.
pub(super) fn portable(raw: &RawHeaders) -> Headers {
    raw.iter()
        .filter_map(|(name, value)| {
            let value = match value {
                serde_json::Value::Bool(flag) => HeaderValue::Bool(*flag),
                serde_json::Value::Number(number) => HeaderValue::Int(number.as_i64()?),
                serde_json::Value::String(text) => HeaderValue::Text(text.clone()),
                _ => return None,
            };
            Some((name.clone(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_the_column() {
        let headers: Headers = [
            ("a".to_owned(), HeaderValue::Bool(true)),
            ("b".to_owned(), HeaderValue::Int(-7)),
            ("c".to_owned(), HeaderValue::Text("naïve\0".to_owned())),
        ]
        .into();
        let back = portable(&parse_headers(&headers_text(&headers)));
        assert_eq!(back["a"], HeaderValue::Bool(true));
        assert_eq!(back["b"], HeaderValue::Int(-7));
        assert_eq!(back["c"], HeaderValue::Text("naïve\u{fffd}".to_owned()));
    }

    #[test]
    fn headers_the_port_cannot_carry_are_left_out_of_it_only() {
        let raw = parse_headers(r#"{"list":[1,2],"text":"t"}"#);
        assert_eq!(portable(&raw).len(), 1);
        assert_eq!(raw.len(), 2);
        assert!(parse_headers("nonsense").is_empty());
    }

    #[test]
    fn delays_are_rounded_up_to_milliseconds() {
        assert_eq!(duration_ms(Duration::from_micros(1500)), 2);
        assert_eq!(
            from_unix_ms(unix_ms(from_unix_ms(1_700_000_000_123))),
            from_unix_ms(1_700_000_000_123)
        );
    }
}
