//! The catalogue in memory, laid out for scoring: immutable snapshots, incremental change.
//!
//! Decides: the exact top-K of any bean, equal to the oracle in `domain::similarity`.
//! Never does: read a database, or know when it is out of date (its owner does).

use crate::domain::bean::{Bean, BeanId};
use crate::domain::dimension::Taxonomy;
use crate::domain::ranking::SimilarList;
use crate::domain::similarity::Explanation;
use std::sync::Arc;

mod base;
mod builder;
mod catalogue;
mod column;
mod compaction;
mod delta;
mod lexicon;
mod query;
mod snapshot;
#[cfg(test)]
mod tests;

pub use builder::Builder;
pub use catalogue::CatalogueIndex;

/// A change of one bean: its new state, or `None` when it is gone.
#[derive(Debug, Clone)]
pub struct BeanChange {
    /// Which bean.
    pub id: BeanId,
    /// Its state now; `None` when the catalogue no longer has it.
    pub bean: Option<Bean>,
}

/// How large the index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexSize {
    /// Beans held.
    pub beans: usize,
    /// Distinct tokens over all dimensions.
    pub tokens: usize,
    /// Approximate heap bytes.
    pub bytes: usize,
}

/// One immutable state of the catalogue. Cheap to hold; never changes.
pub trait IndexSnapshot: Send + Sync + std::fmt::Debug {
    /// The exact top-K list of each bean, in the order asked; `None` for a bean it does not have.
    fn top_k(&self, beans: &[BeanId]) -> Vec<Option<SimilarList>>;

    /// Why two beans are as similar as they are; `None` when it lacks one of them.
    fn explain(&self, a: &BeanId, b: &BeanId) -> Option<Explanation>;

    /// The name of a bean, for people.
    fn name(&self, bean: &BeanId) -> Option<Arc<str>>;

    /// Whether the catalogue has the bean.
    fn contains(&self, bean: &BeanId) -> bool;
}

/// The index: hands out snapshots, takes changes. Readers never wait for writers.
pub trait SimilarityIndex: Send + Sync {
    /// The present state.
    fn snapshot(&self) -> Arc<dyn IndexSnapshot>;

    /// Applies changes; a snapshot taken afterwards has all of them.
    fn apply(&self, changes: Vec<BeanChange>);

    /// Starts a fresh load, off to the side of what readers see: fill the builder, then
    /// [`SimilarityIndex::install`] it.
    fn builder(&self, taxonomy: Taxonomy) -> Builder;

    /// Replaces the whole content by what the builder holds.
    fn install(&self, builder: Builder);

    /// How large it is.
    fn size(&self) -> IndexSize;
}
