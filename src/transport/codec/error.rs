//! Why bytes are not a message about a bean.
//!
//! Decides: the reasons, in words an operator can act on. Never does: quote a whole body.

use crate::domain::bean::BeanIdError;

/// Why a message cannot be read. None of these mends itself: the message belongs in the failed
/// queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// There is no body.
    #[error("the body is empty; send JSON such as {{\"coffeeBeanId\": \"018f…\"}}")]
    EmptyBody,
    /// The body is longer than is read.
    #[error(
        "the body has {bytes} bytes; at most {limit} are read: send the bean's id, not its files"
    )]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The body was made by PHP's `serialize()`.
    #[error(
        "the body is PHP-serialized and has no type header; give the Symfony transport \
         `serializer: messenger.transport.symfony_serializer`, which sends JSON"
    )]
    PhpSerialized,
    /// The body is not JSON.
    #[error(
        "the body is not JSON ({reason}); it starts with {start:?}, and should be an object such \
         as {{\"coffeeBeanId\": \"018f…\"}}"
    )]
    NotJson {
        /// What the parser said.
        reason: String,
        /// The first few characters.
        start: String,
    },
    /// The body is JSON, but no object.
    #[error(
        "the body is a JSON {found}; an object such as {{\"coffeeBeanId\": \"018f…\"}} is read"
    )]
    NotAnObject {
        /// What it is.
        found: &'static str,
    },
    /// A structured CloudEvent without an object as its data.
    #[error(
        "the CloudEvent has no JSON object in `data`; put {{\"coffeeBeanId\": \"018f…\"}} there"
    )]
    NoCloudEventData,
    /// None of the fields that may hold the id is there.
    #[error("the body names no bean; it needs coffeeBeanId (or beanId, or bean_id)")]
    NoId,
    /// The id has a type that no id has.
    #[error("{field} is a JSON {found}; a string or a whole number is allowed")]
    IdType {
        /// Where it was found.
        field: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// The id is a text that no id is.
    #[error("{field}: {source}")]
    BadId {
        /// Where it was found.
        field: &'static str,
        /// Why not.
        source: BeanIdError,
    },
    /// The message is of a kind that is not ours. What to do then is `transport.unknown_type`.
    #[error(
        "the message type {kind:?} is not known; CalculateSimilarity, BeanCreated, BeanUpdated, \
         BeanDeleted and the names in transport.accepted_types are"
    )]
    UnknownKind {
        /// Its name, cut to a readable length.
        kind: String,
    },
}

impl DecodeError {
    /// A bounded name for headers and metrics.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::EmptyBody => "empty_body",
            Self::TooLarge { .. } => "body_too_large",
            Self::PhpSerialized => "php_serialized",
            Self::NotJson { .. } | Self::NotAnObject { .. } | Self::NoCloudEventData => {
                "undecodable"
            }
            Self::NoId => "no_id",
            Self::IdType { .. } | Self::BadId { .. } => "bad_id",
            Self::UnknownKind { .. } => "unknown_type",
        }
    }
}
