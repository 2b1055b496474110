//! What changed since the base was built: a bounded set of beans, scored exactly one by one.
//!
//! Decides: which beans of the base no longer count. Never does: grow without bound; its owner
//! merges it into a new base (see [`super::compaction`]).

use super::column::weight_of;
use super::lexicon::CompactBag;
use crate::domain::bean::BeanId;
use rustc_hash::FxHashSet;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A bean newer than the base.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DeltaBean {
    pub(super) name: Option<Arc<str>>,
    bags: Box<[Box<CompactBag>]>,
    totals: Box<[u64]>,
}

impl DeltaBean {
    pub(super) fn new(name: Option<Arc<str>>, bags: Box<[Box<CompactBag>]>) -> Self {
        let totals = bags.iter().map(|bag| weight_of(bag)).collect();
        Self { name, bags, totals }
    }

    /// Its bags, in the order of the dimensions.
    pub(super) fn bags(&self) -> Vec<&CompactBag> {
        self.bags.iter().map(AsRef::as_ref).collect()
    }

    /// Its bag in a dimension, with the weight of the whole.
    pub(super) fn bag(&self, dimension: usize) -> (&CompactBag, u64) {
        (&self.bags[dimension], self.totals[dimension])
    }
}

/// The changes since the base.
#[derive(Debug, Clone, Default)]
pub(super) struct Delta {
    /// New and changed beans.
    pub(super) beans: BTreeMap<BeanId, Arc<DeltaBean>>,
    /// Positions in the base of beans that changed or are gone.
    pub(super) dead: FxHashSet<u32>,
}

impl Delta {
    /// How much there is to carry: what a merge would get rid of.
    pub(super) fn len(&self) -> usize {
        self.beans.len() + self.dead.len()
    }
}
