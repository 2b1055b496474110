//! The kind of a message, wherever its publisher wrote it.
//!
//! Decides: where a kind is looked for, in which order, and which names mean which kind.
//! Never does: read the rest of the body.

use super::{CodecSettings, DecodeError, headers};
use crate::domain::message::MessageKind;
use crate::transport::{Envelope, HeaderValue};
use serde_json::{Map, Value};

/// The class a Symfony application sends, by default.
const SYMFONY_CLASS: &str = r"App\Message\CalculateSimilarityForBean";

/// Headers that carry a kind, in order: Symfony's (and everybody's) own, then the bindings of
/// CloudEvents to AMQP (two spellings) and HTTP.
const TYPE_HEADERS: [&str; 4] = ["type", "cloudEvents:type", "cloudEvents_type", "ce-type"];

/// Content type of a CloudEvent that is a JSON document of its own.
const STRUCTURED: &str = "application/cloudevents+json";

/// The kind's name outside of the body, if the publisher gave one.
pub(super) fn declared(envelope: &Envelope) -> Option<&str> {
    let property = envelope.type_property.as_deref();
    let from_headers = || {
        TYPE_HEADERS.iter().find_map(|name| match envelope.headers.get(*name) {
            Some(HeaderValue::Text(text)) if !text.is_empty() => Some(text.as_str()),
            _ => None,
        })
    };
    property.filter(|name| !name.is_empty()).or_else(from_headers)
}

/// The kind a name means. A leading backslash, which PHP accepts too, is ignored.
pub(super) fn resolve(name: &str, settings: &CodecSettings) -> Result<MessageKind, DecodeError> {
    if let Some(kind) = MessageKind::from_name(name) {
        return Ok(kind);
    }
    let bare = name.strip_prefix('\\').unwrap_or(name);
    let accepted = |accepted: &String| accepted.strip_prefix('\\').unwrap_or(accepted) == bare;
    if bare == SYMFONY_CLASS || settings.accepted_types.iter().any(accepted) {
        return Ok(MessageKind::CalculateSimilarity);
    }
    Err(DecodeError::UnknownKind { kind: headers::cut(name, 120) })
}

/// Whether the body is a CloudEvent with its payload in `data`.
pub(super) fn is_structured_cloud_event(envelope: &Envelope, body: &Map<String, Value>) -> bool {
    let by_content_type =
        envelope.content_type.as_deref().is_some_and(|value| value.starts_with(STRUCTURED));
    by_content_type || (body.contains_key("specversion") && body.contains_key("data"))
}
