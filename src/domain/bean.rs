//! A bean: its identity and the raw values it has in each dimension.
//!
//! Decides: which texts are ids, and their canonical form and order.
//! Never does: look a bean up, or expand its values (see [`super::expansion`]).

use std::fmt;
use std::sync::Arc;

/// Longest id accepted, in bytes of its text form.
pub const MAX_ID_BYTES: usize = 255;

/// The identity of a bean, in text form.
///
/// A text that parses as a UUID is held lower-case and hyphenated, so that two spellings are one
/// bean. Ordered by the bytes of the text, never by a database's collation.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BeanId(Arc<str>);

/// Why a text is not a bean id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BeanIdError {
    /// The text is empty.
    #[error("a bean id is empty; give the id the catalogue uses")]
    Empty,
    /// The text is longer than [`MAX_ID_BYTES`].
    #[error("a bean id is {0} bytes long; at most {MAX_ID_BYTES} are allowed")]
    TooLong(usize),
    /// The text holds a control character, which no catalogue id has (PostgreSQL refuses NUL).
    #[error("a bean id holds the control character {0:?}; ids are printable text")]
    Control(char),
}

impl BeanId {
    /// Reads an id from text: canonical when it is a UUID, else as it is.
    ///
    /// # Errors
    /// [`BeanIdError`] when the text is empty, too long or holds a control character.
    pub fn parse(text: &str) -> Result<Self, BeanIdError> {
        if text.is_empty() {
            return Err(BeanIdError::Empty);
        }
        if text.len() > MAX_ID_BYTES {
            return Err(BeanIdError::TooLong(text.len()));
        }
        if let Some(bad) = text.chars().find(|c| c.is_control()) {
            return Err(BeanIdError::Control(bad));
        }
        let canonical = match uuid::Uuid::try_parse(text) {
            Ok(uuid) => uuid.hyphenated().to_string().into(),
            Err(_) => text.into(),
        };
        Ok(Self(canonical))
    }

    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BeanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BeanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BeanId({})", self.0)
    }
}

/// One raw value of a bean in one dimension, as the catalogue stores it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// A node of the dimension's taxonomy, by the key it has there.
    Node(Arc<str>),
    /// Free text, as typed.
    Text(Arc<str>),
}

/// The raw values of one bean: one bag a dimension, in the order of the configured dimensions.
///
/// An empty bag means that the bean lacks the dimension.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Features {
    /// `bags[d]` holds the values of dimension `d`.
    pub bags: Vec<Vec<Value>>,
}

/// A bean as the catalogue knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bean {
    /// Its identity.
    pub id: BeanId,
    /// Its name, for people; never compared.
    pub name: Option<String>,
    /// What is compared.
    pub features: Features,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_spellings_are_one_bean() {
        let canonical = BeanId::parse("018f2b1e-7b52-7cc0-a1b2-0123456789ab");
        assert!(canonical.is_ok());
        assert_eq!(canonical, BeanId::parse("018F2B1E7B527CC0A1B20123456789AB"));
        assert_eq!(canonical, BeanId::parse("{018F2B1E-7B52-7CC0-A1B2-0123456789AB}"));
    }

    #[test]
    fn impossible_ids_are_refused_with_the_reason() {
        assert_eq!(BeanId::parse(""), Err(BeanIdError::Empty));
        assert_eq!(BeanId::parse(&"x".repeat(256)), Err(BeanIdError::TooLong(256)));
        assert_eq!(BeanId::parse("a\0b"), Err(BeanIdError::Control('\0')));
        assert!(BeanId::parse("o'brien").is_ok());
    }
}
