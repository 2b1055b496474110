//! A store and an index that do what the real ones do, and first what a test tells them.
//!
//! Decides: where a test may look in or interfere: before a write, before scoring. Never does:
//! store or score itself.

use async_trait::async_trait;
use cupping::domain::bean::{Bean, BeanId};
use cupping::domain::dimension::{ScoreSettings, Taxonomy};
use cupping::domain::ranking::SimilarList;
use cupping::domain::similarity::Explanation;
use cupping::index::{
    BeanChange, Builder, CatalogueIndex, IndexSize, IndexSnapshot, SimilarityIndex,
};
use cupping::store::{
    Catalogue, Changes, Loading, LogMark, SimilarityStore, StateCheck, Store, StoreError,
    WriteBatch, WriteReport,
};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, RwLock};
use std::time::Duration;

type Answer = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;
type WriteHook = Arc<dyn Fn(Vec<BeanId>) -> Answer + Send + Sync>;
type ProbeHook = Arc<dyn Fn() -> Result<(), StoreError> + Send + Sync>;
type AfterHook = Arc<dyn Fn(usize) + Send + Sync>;
type ScoreHook = Arc<dyn Fn(&[BeanId]) + Send + Sync>;

/// The real store; hooks run first.
pub struct HookedStore {
    inner: Arc<dyn Store>,
    before_write: RwLock<WriteHook>,
    after_write: RwLock<AfterHook>,
    probe: RwLock<ProbeHook>,
}

impl HookedStore {
    pub fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            before_write: RwLock::new(Arc::new(|_| Box::pin(async { Ok(()) }))),
            after_write: RwLock::new(Arc::new(|_| {})),
            probe: RwLock::new(Arc::new(|| Ok(()))),
        })
    }

    /// The real store.
    pub fn real(&self) -> Arc<dyn Store> {
        Arc::clone(&self.inner)
    }

    /// Before each write, with its sources; an error is the write's.
    pub fn before_write<F>(&self, hook: impl Fn(Vec<BeanId>) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        *self.before_write.write().expect("unpoisoned") =
            Arc::new(move |beans| Box::pin(hook(beans)));
    }

    /// After each write, with the number of its sources.
    pub fn after_write(&self, hook: impl Fn(usize) + Send + Sync + 'static) {
        *self.after_write.write().expect("unpoisoned") = Arc::new(hook);
    }

    /// Before each probe and each refresh.
    pub fn on_probe(&self, hook: impl Fn() -> Result<(), StoreError> + Send + Sync + 'static) {
        *self.probe.write().expect("unpoisoned") = Arc::new(hook);
    }

    fn look(&self) -> Result<(), StoreError> {
        let probe = Arc::clone(&self.probe.read().expect("unpoisoned"));
        probe()
    }
}

#[async_trait]
impl Catalogue for HookedStore {
    async fn load(&self, sink: &mut (dyn FnMut(Loading) + Send)) -> Result<LogMark, StoreError> {
        self.inner.load(sink).await
    }
    async fn changes(&self, since: &LogMark) -> Result<Changes, StoreError> {
        self.look()?;
        self.inner.changes(since).await
    }
    async fn beans(&self, ids: &[BeanId]) -> Result<Vec<Bean>, StoreError> {
        self.inner.beans(ids).await
    }
    async fn ids(&self, after: Option<&BeanId>, limit: usize) -> Result<Vec<BeanId>, StoreError> {
        self.inner.ids(after, limit).await
    }
    async fn count(&self) -> Result<u64, StoreError> {
        self.inner.count().await
    }
    fn accepts(&self, id: &BeanId) -> Result<(), String> {
        self.inner.accepts(id)
    }
}

#[async_trait]
impl SimilarityStore for HookedStore {
    async fn write(&self, batch: WriteBatch) -> Result<WriteReport, StoreError> {
        let hook = Arc::clone(&self.before_write.read().expect("unpoisoned"));
        let sources: Vec<_> = batch.items.iter().map(|item| item.source.clone()).collect();
        let count = sources.len();
        hook(sources).await?;
        let after = Arc::clone(&self.after_write.read().expect("unpoisoned"));
        let report = self.inner.write(batch).await;
        after(count);
        report
    }
    async fn list(&self, source: &BeanId) -> Result<SimilarList, StoreError> {
        self.inner.list(source).await
    }
    async fn lists(
        &self,
        sink: &mut (dyn FnMut(BeanId, SimilarList) + Send),
    ) -> Result<(), StoreError> {
        self.inner.lists(sink).await
    }
    async fn open_state(&self, fingerprint: &str) -> Result<StateCheck, StoreError> {
        self.inner.open_state(fingerprint).await
    }
    async fn note(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.inner.note(name).await
    }
    async fn set_note(&self, name: &str, value: Option<&str>) -> Result<(), StoreError> {
        self.inner.set_note(name, value).await
    }
    async fn prune_log(&self, keep: Duration) -> Result<u64, StoreError> {
        self.inner.prune_log(keep).await
    }
    async fn probe(&self) -> Result<(), StoreError> {
        self.look()?;
        self.inner.probe().await
    }
    fn pool(&self) -> (u32, u32) {
        self.inner.pool()
    }
}

/// The real index; a hook runs before each scoring, on the scoring thread.
pub struct HookedIndex {
    inner: CatalogueIndex,
    before_scoring: Arc<RwLock<ScoreHook>>,
}

impl HookedIndex {
    pub fn new(settings: ScoreSettings) -> Arc<Self> {
        let nothing: ScoreHook = Arc::new(|_| {});
        Arc::new(Self {
            inner: CatalogueIndex::new(Arc::new(settings)),
            before_scoring: Arc::new(RwLock::new(nothing)),
        })
    }

    /// Before each scoring, with its beans.
    pub fn before_scoring(&self, hook: impl Fn(&[BeanId]) + Send + Sync + 'static) {
        *self.before_scoring.write().expect("unpoisoned") = Arc::new(hook);
    }
}

impl SimilarityIndex for HookedIndex {
    fn snapshot(&self) -> Arc<dyn IndexSnapshot> {
        Arc::new(HookedSnapshot(self.inner.snapshot(), Hook(self.before_scoring.clone())))
    }
    fn apply(&self, changes: Vec<BeanChange>) {
        self.inner.apply(changes);
    }
    fn builder(&self, taxonomy: Taxonomy) -> Builder {
        self.inner.builder(taxonomy)
    }
    fn install(&self, builder: Builder) {
        self.inner.install(builder);
    }
    fn size(&self) -> IndexSize {
        self.inner.size()
    }
}

struct Hook(Arc<RwLock<ScoreHook>>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

#[derive(Debug)]
struct HookedSnapshot(Arc<dyn IndexSnapshot>, Hook);

impl IndexSnapshot for HookedSnapshot {
    fn top_k(&self, beans: &[BeanId]) -> Vec<Option<SimilarList>> {
        let hook = Arc::clone(&self.1.0.read().expect("unpoisoned"));
        hook(beans);
        self.0.top_k(beans)
    }
    fn explain(&self, a: &BeanId, b: &BeanId) -> Option<Explanation> {
        self.0.explain(a, b)
    }
    fn name(&self, bean: &BeanId) -> Option<Arc<str>> {
        self.0.name(bean)
    }
    fn contains(&self, bean: &BeanId) -> bool {
        self.0.contains(bean)
    }
}
