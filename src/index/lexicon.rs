//! Tokens as numbers: every distinct token of a dimension has one.
//!
//! Decides: the numbering: a frozen part shared by snapshots, and a small fresh part for tokens
//! that arrived since. Never does: renumber; a compaction makes a new lexicon instead.

use crate::domain::dimension::Milli;
use crate::domain::token::{Token, TokenBag};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// A bag with numbered tokens, ascending by token.
pub(super) type CompactBag = [(u32, Milli)];

/// The numbers of one dimension's tokens. A clone costs as much as the fresh part.
#[derive(Debug, Clone, Default)]
pub(super) struct Lexicon {
    frozen: Arc<Numbering>,
    fresh: Numbering,
}

#[derive(Debug, Clone, Default)]
struct Numbering {
    tokens: Vec<Token>,
    numbers: FxHashMap<Token, u32>,
}

impl Lexicon {
    /// The number of a token; a new one where it has none yet.
    pub(super) fn intern(&mut self, token: &Token) -> u32 {
        if let Some(number) =
            self.frozen.numbers.get(token).or_else(|| self.fresh.numbers.get(token))
        {
            return *number;
        }
        let number = u32::try_from(self.len()).expect("memory ends before four thousand million");
        self.fresh.tokens.push(token.clone());
        self.fresh.numbers.insert(token.clone(), number);
        number
    }

    /// A bag with its tokens numbered.
    pub(super) fn compact(&mut self, bag: &TokenBag) -> Box<CompactBag> {
        let mut entries: Box<CompactBag> =
            bag.iter().map(|(token, weight)| (self.intern(token), *weight)).collect();
        entries.sort_unstable();
        entries
    }

    /// The token of a number this lexicon gave.
    pub(super) fn token(&self, number: u32) -> &Token {
        let number = number as usize;
        let frozen = self.frozen.tokens.len();
        if number < frozen {
            &self.frozen.tokens[number]
        } else {
            &self.fresh.tokens[number - frozen]
        }
    }

    /// A compact bag back in full.
    pub(super) fn bag(&self, compact: &CompactBag) -> TokenBag {
        compact.iter().map(|(number, weight)| (self.token(*number).clone(), *weight)).collect()
    }

    /// Makes the fresh part the frozen one; only while nothing is frozen yet.
    pub(super) fn freeze(&mut self) {
        debug_assert!(self.frozen.tokens.is_empty(), "a lexicon is frozen once");
        self.frozen = Arc::new(std::mem::take(&mut self.fresh));
    }

    /// How many tokens it holds.
    pub(super) fn len(&self) -> usize {
        self.frozen.tokens.len() + self.fresh.tokens.len()
    }

    /// Approximate heap bytes.
    pub(super) fn bytes(&self) -> usize {
        let numberings = [self.frozen.as_ref(), &self.fresh];
        let texts = numberings.iter().flat_map(|part| &part.tokens).map(|token| match token {
            Token::Node(text) | Token::Text(text) | Token::Word(text) => text.len() + 16,
        });
        texts.sum::<usize>() + self.len() * (2 * size_of::<Token>() + size_of::<u32>())
    }
}
