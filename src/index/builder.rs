//! Collects a whole catalogue, expanding beans as they come and keeping only the compact form.
//!
//! Decides: that of a bean added twice the last state stands. Never does: touch what readers see
//! (see [`super::SimilarityIndex::install`]).

use super::base::BaseBuilder;
use super::delta::Delta;
use super::lexicon::Lexicon;
use super::snapshot::Snapshot;
use crate::domain::bean::Bean;
use crate::domain::expansion::Expander;
use std::sync::Arc;

/// Collects a whole catalogue.
#[derive(Debug)]
pub struct Builder {
    expander: Expander,
    lexicons: Vec<Lexicon>,
    base: BaseBuilder,
    /// The row of the bean being added; kept for its capacity.
    row: Vec<u32>,
}

impl Builder {
    pub(super) fn new(expander: Expander) -> Self {
        let dimensions = expander.settings().dimensions.len();
        let lexicons = vec![Lexicon::default(); dimensions];
        Self { expander, lexicons, base: BaseBuilder::new(dimensions), row: Vec::new() }
    }

    /// Adds a bean; a bean added twice keeps its last state.
    pub fn add(&mut self, bean: Bean) {
        let bags = self.expander.expand(&bean.features);
        self.row.clear();
        for (d, lexicon) in self.lexicons.iter_mut().enumerate() {
            let compact = lexicon.compact(bags.bag(d));
            self.row.push(self.base.intern(d, compact));
        }
        self.base.push(bean.id, bean.name.map(Arc::from), &self.row);
    }

    /// How many beans were added, those added twice counted twice.
    #[must_use]
    pub fn len(&self) -> usize {
        self.base.len()
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The expander, and a snapshot of what was added.
    pub(super) fn finish(mut self) -> (Expander, Snapshot) {
        self.lexicons.iter_mut().for_each(Lexicon::freeze);
        let tokens: Vec<usize> = self.lexicons.iter().map(Lexicon::len).collect();
        let snapshot = Snapshot {
            settings: self.expander.settings().clone(),
            taxonomy: self.expander.taxonomy().clone(),
            lexicons: self.lexicons,
            base: Arc::new(self.base.finish(&tokens)),
            delta: Delta::default(),
        };
        (self.expander, snapshot)
    }
}
