//! Keeps the index level with the catalogue, by the change log or by reloading.
//!
//! Decides: when the index is loaded, that a snapshot and its mark always belong together, and that
//! a bean about to be computed is read anew where no log tells of its changes.
//! Never does: score, or write.

use crate::config::Refresh;
use crate::domain::bean::{Bean, BeanId};
use crate::index::{BeanChange, IndexSnapshot, SimilarityIndex};
use crate::store::{Catalogue, Loading, LogMark, ReloadReason, StoreError};
use crate::telemetry::events;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// A snapshot of the index, and the point of the change log it reflects.
pub type Fresh = (Arc<dyn IndexSnapshot>, LogMark);

struct State {
    mark: LogMark,
    snapshot: Arc<dyn IndexSnapshot>,
    loaded_at: Instant,
    /// The refresh that made it.
    turn: u64,
}

/// Refreshes the index. Refreshes asked for while one is under way share the next one.
pub struct Freshener {
    catalogue: Arc<dyn Catalogue>,
    index: Arc<dyn SimilarityIndex>,
    reload_interval: Option<Duration>,
    state: Mutex<Option<State>>,
    turns: AtomicU64,
    /// The index was found to be behind the catalogue.
    doubted: AtomicBool,
}

impl Freshener {
    /// A freshener by the change log; the first refresh loads everything.
    #[must_use]
    pub fn new(catalogue: Arc<dyn Catalogue>, index: Arc<dyn SimilarityIndex>) -> Self {
        Self {
            catalogue,
            index,
            reload_interval: None,
            state: Mutex::new(None),
            turns: AtomicU64::new(0),
            doubted: AtomicBool::new(false),
        }
    }

    /// The same, as configured: `catalogue.refresh`, `catalogue.reload_interval`.
    #[must_use]
    pub fn configured(mut self, refresh: Refresh, interval: Duration) -> Self {
        self.reload_interval = matches!(refresh, Refresh::Reload).then_some(interval);
        self
    }

    /// A snapshot that has everything visible in the catalogue when this was called (with
    /// reloading: at most as old as the interval), with its mark.
    ///
    /// # Errors
    /// [`StoreError`] when the catalogue cannot be read; the index is left as it was.
    ///
    /// # Panics
    /// When the index panics.
    pub async fn refresh(&self) -> Result<Fresh, StoreError> {
        let begun = self.turns.load(Ordering::SeqCst);
        let mut state = self.state.lock().await;
        if let Some(state) = state.as_ref().filter(|state| state.turn > begun) {
            // Somebody's refresh began after this call: it has seen all that we may rely on.
            return Ok((Arc::clone(&state.snapshot), state.mark.clone()));
        }
        let turn = self.turns.fetch_add(1, Ordering::SeqCst) + 1;
        let next = match state.as_ref() {
            None => self.load("start", turn).await?,
            Some(old) => self.advance(old, turn).await?,
        };
        let fresh = (Arc::clone(&next.snapshot), next.mark.clone());
        *state = Some(next);
        Ok(fresh)
    }

    /// [`Freshener::refresh`] for computing these beans: with reloading they are read anew, since a
    /// message about a bean that was created or changed after the last load must not be worked off
    /// with what the bean was before.
    ///
    /// # Errors
    /// As [`Freshener::refresh`].
    ///
    /// # Panics
    /// When the index panics.
    pub async fn refresh_for(&self, beans: &[BeanId]) -> Result<Fresh, StoreError> {
        let fresh = self.refresh().await?;
        if self.reload_interval.is_none() {
            return Ok(fresh);
        }
        // Read and applied in turn, so that no older reading overwrites a newer one.
        let mut state = self.state.lock().await;
        let found = self.catalogue.beans(beans).await?;
        let mut found: HashMap<BeanId, Bean> =
            found.into_iter().map(|bean| (bean.id.clone(), bean)).collect();
        let read = |id: &BeanId| BeanChange { id: id.clone(), bean: found.remove(id) };
        let changes: Vec<_> = beans.iter().map(read).collect();
        let index = Arc::clone(&self.index);
        off_thread(move || index.apply(changes)).await;
        let snapshot = self.index.snapshot();
        if let Some(state) = state.as_mut() {
            state.snapshot = Arc::clone(&snapshot);
        }
        Ok((snapshot, fresh.1))
    }

    /// The index was found to be behind the catalogue: with reloading, the next refresh reloads it
    /// whatever its age. (The log tells of every change by itself.)
    pub fn doubt(&self) {
        self.doubted.store(true, Ordering::SeqCst);
    }

    async fn advance(&self, old: &State, turn: u64) -> Result<State, StoreError> {
        if let Some(interval) = self.reload_interval {
            // Looked at before the load begins: a doubt that comes during it stays.
            let doubted = self.doubted.swap(false, Ordering::SeqCst);
            if doubted || old.loaded_at.elapsed() >= interval {
                let reason = if doubted { "outdated" } else { "interval" };
                let loaded = self.load(reason, turn).await;
                self.doubted.fetch_or(doubted && loaded.is_err(), Ordering::SeqCst);
                return loaded;
            }
            return Ok(self.state(old.mark.clone(), old.loaded_at, turn));
        }
        let changes = self.catalogue.changes(&old.mark).await?;
        if let Some(reason) = changes.reload {
            return self.load(reload_name(reason), turn).await;
        }
        let count = changes.beans.len();
        if count > 0 {
            let index = Arc::clone(&self.index);
            off_thread(move || index.apply(changes.beans)).await;
        }
        events::index_refreshed(self.index.size().beans, count);
        Ok(self.state(changes.mark, old.loaded_at, turn))
    }

    async fn load(&self, reason: &str, turn: u64) -> Result<State, StoreError> {
        let start = Instant::now();
        let mut builder = None;
        let mark = {
            let mut sink = |piece| match piece {
                Loading::Taxonomy(taxonomy) => builder = Some(self.index.builder(taxonomy)),
                Loading::Bean(bean) => {
                    if let Some(builder) = &mut builder {
                        builder.add(bean);
                    }
                }
            };
            self.catalogue.load(&mut sink).await?
        };
        let builder = builder.unwrap_or_else(|| self.index.builder(Default::default()));
        let index = Arc::clone(&self.index);
        off_thread(move || index.install(builder)).await;
        let size = self.index.size();
        events::index_loaded(size.beans, size.bytes, start.elapsed(), reason);
        Ok(self.state(mark, Instant::now(), turn))
    }

    fn state(&self, mark: LogMark, loaded_at: Instant, turn: u64) -> State {
        State { mark, snapshot: self.index.snapshot(), loaded_at, turn }
    }
}

fn reload_name(reason: ReloadReason) -> &'static str {
    match reason {
        ReloadReason::TaxonomyChanged => "taxonomy changed",
        ReloadReason::Pruned => "change log pruned",
        ReloadReason::NoLog => "no change log",
    }
}

/// Runs work that may take long off the async threads; its panic is ours.
async fn off_thread(work: impl FnOnce() + Send + 'static) {
    let done = tokio::task::spawn_blocking(work).await;
    if let Err(Ok(panic)) = done.map_err(tokio::task::JoinError::try_into_panic) {
        std::panic::resume_unwind(panic);
    }
}
