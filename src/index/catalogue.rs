//! The index: one present snapshot, replaced by writers, never waited for by readers.
//!
//! Decides: when the delta is merged into a new base. Never does: decide which beans changed.

use super::builder::Builder;
use super::compaction::compacted;
use super::delta::DeltaBean;
use super::snapshot::Snapshot;
use super::{BeanChange, IndexSize, IndexSnapshot, SimilarityIndex};
use crate::domain::dimension::{ScoreSettings, Taxonomy};
use crate::domain::expansion::Expander;
use arc_swap::ArcSwap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bounds of the delta: a sixteenth of the base keeps merging cheap on average; below the floor a
/// merge would come too often, above the ceiling scoring the delta would cost more than the base.
const DELTA_FLOOR: usize = 256;
const DELTA_CEILING: usize = 4096;
const DELTA_SHARE: usize = 16;

/// The catalogue in memory.
///
/// [`SimilarityIndex::apply`] and [`SimilarityIndex::install`] may take as long as laying out the
/// whole catalogue; call them off the async threads. Snapshots are handed out without a lock.
pub struct CatalogueIndex {
    settings: Arc<ScoreSettings>,
    current: ArcSwap<Snapshot>,
    /// Writers take turns; theirs is the expander of the present taxonomies.
    writer: Mutex<Expander>,
}

impl CatalogueIndex {
    /// An empty index: no beans, no taxonomies.
    #[must_use]
    pub fn new(settings: Arc<ScoreSettings>) -> Self {
        let expander = Expander::new(settings.clone(), Arc::new(Taxonomy::default()));
        let (expander, snapshot) = Builder::new(expander).finish();
        let current = ArcSwap::from_pointee(snapshot);
        Self { settings, current, writer: Mutex::new(expander) }
    }

    /// Merges the delta now, whatever its size.
    #[cfg(test)]
    pub(super) fn merge(&self) {
        let _writer = self.writer();
        let merged = compacted(&self.current.load());
        self.current.store(Arc::new(merged));
    }

    /// How much the delta holds.
    #[cfg(test)]
    pub(super) fn delta_len(&self) -> usize {
        self.current.load().delta.len()
    }

    fn writer(&self) -> MutexGuard<'_, Expander> {
        // The guarded value is replaced whole, so a writer that panicked left a sound one.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimilarityIndex for CatalogueIndex {
    fn snapshot(&self) -> Arc<dyn IndexSnapshot> {
        self.current.load_full()
    }

    fn apply(&self, changes: Vec<BeanChange>) {
        if changes.is_empty() {
            return;
        }
        let expander = self.writer();
        let next = changed(&self.current.load(), &expander, changes);
        let bound = (next.base.len() / DELTA_SHARE).clamp(DELTA_FLOOR, DELTA_CEILING);
        let next = if next.delta.len() > bound { compacted(&next) } else { next };
        self.current.store(Arc::new(next));
    }

    fn builder(&self, taxonomy: Taxonomy) -> Builder {
        Builder::new(Expander::new(self.settings.clone(), Arc::new(taxonomy)))
    }

    fn install(&self, builder: Builder) {
        let (expander, snapshot) = builder.finish();
        let mut writer = self.writer();
        *writer = expander;
        self.current.store(Arc::new(snapshot));
    }

    fn size(&self) -> IndexSize {
        self.current.load().size()
    }
}

impl fmt::Debug for CatalogueIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatalogueIndex").field("current", &self.current.load()).finish()
    }
}

/// A snapshot with changes in its delta.
fn changed(old: &Snapshot, expander: &Expander, changes: Vec<BeanChange>) -> Snapshot {
    let mut lexicons = old.lexicons.clone();
    let mut delta = old.delta.clone();
    for change in changes {
        if let Some(position) = old.base.position(&change.id) {
            delta.dead.insert(position);
        }
        match change.bean {
            None => {
                delta.beans.remove(&change.id);
            }
            Some(bean) => {
                let bags = expander.expand(&bean.features);
                let compact = lexicons.iter_mut().enumerate();
                let compact = compact.map(|(d, lexicon)| lexicon.compact(bags.bag(d))).collect();
                let bean = DeltaBean::new(bean.name.map(Arc::from), compact);
                delta.beans.insert(change.id, Arc::new(bean));
            }
        }
    }
    Snapshot {
        settings: old.settings.clone(),
        taxonomy: old.taxonomy.clone(),
        lexicons,
        base: old.base.clone(),
        delta,
    }
}
