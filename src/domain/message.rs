//! What arrives: a request about one bean.
//!
//! Decides: the kinds of messages and their names. Never does: parse bytes (see
//! `transport::codec`).

use super::bean::BeanId;
use std::fmt;

/// What happened to the bean, or what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MessageKind {
    /// Compute the bean's list; the default.
    CalculateSimilarity,
    /// The bean is new.
    BeanCreated,
    /// The bean changed.
    BeanUpdated,
    /// The bean is gone.
    BeanDeleted,
}

impl MessageKind {
    /// Every kind, in order of declaration.
    pub const ALL: [Self; 4] =
        [Self::CalculateSimilarity, Self::BeanCreated, Self::BeanUpdated, Self::BeanDeleted];

    /// The name on the wire, in logs and in metric labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CalculateSimilarity => "CalculateSimilarity",
            Self::BeanCreated => "BeanCreated",
            Self::BeanUpdated => "BeanUpdated",
            Self::BeanDeleted => "BeanDeleted",
        }
    }

    /// The kind with this name on the wire.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A decoded message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeanMessage {
    /// The bean it is about.
    pub bean: BeanId,
    /// What happened.
    pub kind: MessageKind,
    /// Sent by a worker because another bean changed; such a message causes no further ripples.
    pub ripple: bool,
}
