//! How much may be under way at once: read by the dispatcher each time it looks, and changeable
//! while it runs.
//!
//! Decides: that a change is seen at once. Never does: end work that runs already; a lowered limit
//! holds as soon as enough of it is done.

use super::stage::Bell;
use crate::config::PipelineConfig;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// The limits of a pipeline that may change while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipelineLimits {
    /// Beans started and not yet settled, at most. What the source fetches ahead stays as it was
    /// at the start, and bounds it too.
    pub concurrency: NonZeroUsize,
    /// Beans of one batch, at most.
    pub batch: NonZeroUsize,
    /// Batches under way, at most.
    pub workers: NonZeroUsize,
}

impl From<&PipelineConfig> for PipelineLimits {
    fn from(config: &PipelineConfig) -> Self {
        let PipelineConfig { concurrency, batch, workers, .. } = *config;
        Self { concurrency, batch, workers }
    }
}

/// The limits in force; those of the settings until somebody changes them.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    changed: Mutex<Option<PipelineLimits>>,
    bell: OnceLock<Bell>,
}

impl Limits {
    /// From now on changes ring this bell.
    pub(crate) fn wake(&self, bell: Bell) {
        self.bell.get_or_init(|| bell);
    }

    /// Changes them, also before the start.
    pub(crate) fn change(&self, limits: PipelineLimits) {
        *self.changed() = Some(limits);
        if let Some(bell) = self.bell.get() {
            bell.ring();
        }
    }

    /// Those in force; `configured` when nobody changed them.
    pub(crate) fn now(&self, configured: &PipelineConfig) -> PipelineLimits {
        self.changed().unwrap_or_else(|| configured.into())
    }

    fn changed(&self) -> MutexGuard<'_, Option<PipelineLimits>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
