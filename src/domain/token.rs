//! Tokens: what a bean's values are expanded to, and what two beans can share.
//!
//! Decides: when two tokens are the same, and how a token reads to people.
//! Never does: expand values (see [`super::expansion`]).

use super::dimension::{Milli, NodeMap};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One token of a dimension.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Token {
    /// A node of the taxonomy, by key.
    Node(Arc<str>),
    /// A whole free text, in normal form.
    Text(Arc<str>),
    /// A word of a note.
    Word(Arc<str>),
}

impl Token {
    /// Its text for people: a node's name (its key where the taxonomy does not know it), else
    /// `text "…"` or `word "…"`.
    #[must_use]
    pub fn label(&self, nodes: Option<&NodeMap>) -> String {
        match self {
            Self::Node(key) => match nodes.and_then(|nodes| nodes.get(key)) {
                Some(node) => node.name.to_string(),
                None => key.to_string(),
            },
            Self::Text(text) => format!("text \"{text}\""),
            Self::Word(word) => format!("word \"{word}\""),
        }
    }
}

/// The weighted tokens of a bean in one dimension; no weight is zero. Empty: the bean lacks it.
pub type TokenBag = BTreeMap<Token, Milli>;

/// The weighted tokens of a bean: one bag a dimension, in the order of the dimensions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenBags {
    /// `bags[d]` belongs to dimension `d`.
    pub bags: Vec<TokenBag>,
}

impl TokenBags {
    /// The bag of a dimension; empty for one it does not hold.
    #[must_use]
    pub fn bag(&self, dimension: usize) -> &TokenBag {
        static EMPTY: TokenBag = TokenBag::new();
        self.bags.get(dimension).unwrap_or(&EMPTY)
    }
}

/// Adds a token at a weight: the largest stands where it is reached twice, weight zero is nothing.
pub(crate) fn add(bag: &mut TokenBag, token: Token, weight: Milli) {
    if weight > 0 {
        let held = bag.entry(token).or_insert(weight);
        *held = (*held).max(weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_weight_stands_and_zero_is_nothing() {
        let mut bag = TokenBag::new();
        let token = Token::Word("jam".into());
        add(&mut bag, token.clone(), 500);
        add(&mut bag, token.clone(), 1000);
        add(&mut bag, token.clone(), 250);
        add(&mut bag, Token::Word("nil".into()), 0);
        assert_eq!(bag, TokenBag::from([(token, 1000)]));
    }
}
