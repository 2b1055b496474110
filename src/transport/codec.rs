//! Messages to bytes and back: plain JSON, Symfony Messenger's JSON, CloudEvents.
//!
//! Decides: which bytes are a message about a bean, and why others are not; what our own messages
//! look like. Never does: re-encode a body that arrived, settle, or touch a connection.

use super::{Envelope, HeaderValue, Headers, Outgoing};
use crate::domain::bean::BeanId;
use crate::domain::message::{BeanMessage, MessageKind};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::time::SystemTime;

pub mod error;
pub mod failure;
pub mod headers;
mod kind;
pub mod symfony;

pub use error::DecodeError;

/// Longest body read, in bytes. A request about a bean is some fifty bytes; this leaves room for
/// publishers who send the whole bean along, and keeps prefetched messages within memory.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// The names an id goes by in a body, in order of preference.
const ID_FIELDS: [&str; 3] = ["coffeeBeanId", "beanId", "bean_id"];

/// What [`decode`] accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecSettings {
    /// More names that mean [`MessageKind::CalculateSimilarity`].
    pub accepted_types: Vec<String>,
    /// Longest body, in bytes.
    pub max_body: usize,
}

impl Default for CodecSettings {
    fn default() -> Self {
        Self { accepted_types: Vec::new(), max_body: MAX_BODY_BYTES }
    }
}

/// Reads a message.
///
/// The kind is looked for in the AMQP `type` property, the `type` header, the CloudEvents type and
/// a `type` field of the body; without any it is [`MessageKind::CalculateSimilarity`]. A foreign
/// kind is reported before anything about the body, which may have a shape of its own.
///
/// # Errors
/// [`DecodeError`]: trying the same message again cannot help.
pub fn decode(envelope: &Envelope, settings: &CodecSettings) -> Result<BeanMessage, DecodeError> {
    let declared =
        kind::declared(envelope).map(|name| kind::resolve(name, settings)).transpose()?;
    let body = parse_body(envelope, settings, declared.is_some())?;
    let structured = kind::is_structured_cloud_event(envelope, &body);
    let kind = match (declared, body.get("type").and_then(Value::as_str)) {
        (Some(kind), _) => kind,
        (None, Some(name)) if !name.is_empty() => kind::resolve(name, settings)?,
        (None, _) => MessageKind::CalculateSimilarity,
    };
    let payload = if structured { cloud_event_data(&body)? } else { &body };
    Ok(BeanMessage { bean: bean_id(payload)?, kind, ripple: is_ripple(&envelope.headers) })
}

/// Our own message: the id as `{"coffeeBeanId": …}`, the kind as the `type` property, stamped
/// with the time now.
#[must_use]
pub fn encode(outgoing: &Outgoing) -> Envelope {
    let body = serde_json::json!({ ID_FIELDS[0]: outgoing.bean.as_str() }).to_string();
    let mut headers = Headers::new();
    if outgoing.ripple {
        headers.insert(headers::RIPPLE.to_owned(), HeaderValue::Bool(true));
    }
    Envelope {
        body: Bytes::from(body),
        headers,
        type_property: Some(outgoing.kind.name().to_owned()),
        content_type: Some("application/json".to_owned()),
        published_at: Some(SystemTime::now()),
    }
}

/// The body as a JSON object.
fn parse_body(
    envelope: &Envelope,
    settings: &CodecSettings,
    typed: bool,
) -> Result<Map<String, Value>, DecodeError> {
    let bytes = &envelope.body[..];
    if bytes.len() > settings.max_body {
        return Err(DecodeError::TooLarge { bytes: bytes.len(), limit: settings.max_body });
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(DecodeError::EmptyBody);
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(body)) => Ok(body),
        Ok(other) => Err(DecodeError::NotAnObject { found: json_type(&other) }),
        Err(_) if !typed && symfony::looks_php_serialized(bytes) => Err(DecodeError::PhpSerialized),
        Err(error) => Err(DecodeError::NotJson {
            reason: error.to_string(),
            start: headers::cut(&String::from_utf8_lossy(&bytes[..bytes.len().min(64)]), 40),
        }),
    }
}

/// The `data` of a structured CloudEvent.
fn cloud_event_data(body: &Map<String, Value>) -> Result<&Map<String, Value>, DecodeError> {
    body.get("data").and_then(Value::as_object).ok_or(DecodeError::NoCloudEventData)
}

/// The id, from the first of the known fields that is there.
fn bean_id(body: &Map<String, Value>) -> Result<BeanId, DecodeError> {
    let Some((field, value)) =
        ID_FIELDS.iter().find_map(|field| body.get(*field).map(|value| (*field, value)))
    else {
        return Err(DecodeError::NoId);
    };
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
        Value::Number(_) => return Err(DecodeError::IdType { field, found: "fraction" }),
        other => return Err(DecodeError::IdType { field, found: json_type(other) }),
    };
    BeanId::parse(&text).map_err(|source| DecodeError::BadId { field, source })
}

/// Whether our own mark says that another bean's change caused the message.
fn is_ripple(headers: &Headers) -> bool {
    match headers.get(headers::RIPPLE) {
        Some(HeaderValue::Bool(yes)) => *yes,
        Some(HeaderValue::Int(number)) => *number != 0,
        Some(HeaderValue::Text(text)) => text == "true" || text == "1",
        None => false,
    }
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests;
