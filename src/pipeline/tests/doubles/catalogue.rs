//! A store and an index in memory, which panic or refuse as told.

use super::id;
use crate::domain::bean::{Bean, BeanId, Features};
use crate::domain::dimension::Taxonomy;
use crate::domain::ranking::SimilarList;
use crate::domain::similarity::Explanation;
use crate::index::{
    BeanChange, Builder, CatalogueIndex, IndexSize, IndexSnapshot, SimilarityIndex,
};
use crate::store::*;
use async_trait::async_trait;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A store of so many beans without features.
#[derive(Default)]
pub(in crate::pipeline::tests) struct TestStore {
    beans: usize,
    lists: Mutex<BTreeMap<BeanId, SimilarList>>,
    panics: Mutex<HashSet<BeanId>>,
    refused: Mutex<HashSet<BeanId>>,
}

impl TestStore {
    pub(in crate::pipeline::tests) fn new(beans: usize) -> Self {
        Self { beans, ..Self::default() }
    }
    pub(in crate::pipeline::tests) fn panics_for(&self, n: usize) {
        self.panics.lock().expect("fresh").insert(id(n));
    }
    pub(in crate::pipeline::tests) fn refuses(&self, n: usize) {
        self.refused.lock().expect("fresh").insert(id(n));
    }
    pub(in crate::pipeline::tests) fn sources(&self) -> usize {
        self.lists.lock().expect("no panic inside").len()
    }
}

#[async_trait]
impl Catalogue for TestStore {
    async fn load(&self, sink: &mut (dyn FnMut(Loading) + Send)) -> Result<LogMark, StoreError> {
        sink(Loading::Taxonomy(Taxonomy::default()));
        for n in 0..self.beans {
            sink(Loading::Bean(Bean { id: id(n), name: None, features: Features::default() }));
        }
        Ok(LogMark::default())
    }
    async fn changes(&self, since: &LogMark) -> Result<Changes, StoreError> {
        Ok(Changes { mark: since.clone(), beans: Vec::new(), reload: None })
    }
    async fn beans(&self, _: &[BeanId]) -> Result<Vec<Bean>, StoreError> {
        Ok(Vec::new())
    }
    async fn ids(&self, _: Option<&BeanId>, _: usize) -> Result<Vec<BeanId>, StoreError> {
        Ok(Vec::new())
    }
    async fn count(&self) -> Result<u64, StoreError> {
        Ok(self.beans as u64)
    }
    fn accepts(&self, id: &BeanId) -> Result<(), String> {
        if id.as_str() == "impossible" { Err("ids begin with bean-".into()) } else { Ok(()) }
    }
}

#[async_trait]
impl SimilarityStore for TestStore {
    async fn write(&self, batch: WriteBatch) -> Result<WriteReport, StoreError> {
        let hit = |set: &Mutex<HashSet<BeanId>>| {
            let set = set.lock().expect("no panic inside").clone();
            batch.items.iter().any(|item| set.contains(&item.source))
        };
        assert!(!hit(&self.panics), "a write panics, as told");
        if hit(&self.refused) {
            let (what, message) = ("a bad row".into(), "as told".into());
            return Err(StoreError::Data { what, message });
        }
        let mut lists = self.lists.lock().expect("no panic inside");
        let outcomes = vec![WriteOutcome::Unchanged; batch.items.len()];
        lists.extend(batch.items.into_iter().map(|item| (item.source, item.list)));
        Ok(WriteReport { outcomes, void: Vec::new() })
    }
    async fn list(&self, _: &BeanId) -> Result<SimilarList, StoreError> {
        Ok(Vec::new())
    }
    async fn lists(
        &self,
        _: &mut (dyn FnMut(BeanId, SimilarList) + Send),
    ) -> Result<(), StoreError> {
        Ok(())
    }
    async fn open_state(&self, _: &str) -> Result<StateCheck, StoreError> {
        Ok(StateCheck::Same)
    }
    async fn note(&self, _: &str) -> Result<Option<String>, StoreError> {
        Ok(None)
    }
    async fn set_note(&self, _: &str, _: Option<&str>) -> Result<(), StoreError> {
        Ok(())
    }
    async fn prune_log(&self, _: Duration) -> Result<u64, StoreError> {
        Ok(0)
    }
    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }
    fn pool(&self) -> (u32, u32) {
        (0, 0)
    }
}

/// The real index, which panics for some beans.
pub(in crate::pipeline::tests) struct TestIndex {
    inner: CatalogueIndex,
    panics: Arc<Mutex<HashSet<BeanId>>>,
    /// The beans of each call.
    calls: Calls,
}

type Calls = Arc<Mutex<Vec<Vec<BeanId>>>>;

impl TestIndex {
    pub(in crate::pipeline::tests) fn new() -> Self {
        let settings = crate::config::Config::default().score_settings();
        Self {
            inner: CatalogueIndex::new(Arc::new(settings)),
            panics: Arc::default(),
            calls: Arc::default(),
        }
    }
    pub(in crate::pipeline::tests) fn panics_for(&self, n: usize) {
        self.panics.lock().expect("fresh").insert(id(n));
    }
}

impl TestIndex {
    /// The beans that were scored together, call by call.
    pub(in crate::pipeline::tests) fn calls(&self) -> Vec<Vec<BeanId>> {
        self.calls.lock().expect("no panic inside").clone()
    }
}

impl SimilarityIndex for TestIndex {
    fn snapshot(&self) -> Arc<dyn IndexSnapshot> {
        let (panics, calls) = (Arc::clone(&self.panics), Arc::clone(&self.calls));
        Arc::new(TestSnapshot(self.inner.snapshot(), panics, calls))
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

#[derive(Debug)]
struct TestSnapshot(Arc<dyn IndexSnapshot>, Arc<Mutex<HashSet<BeanId>>>, Calls);

impl IndexSnapshot for TestSnapshot {
    fn top_k(&self, beans: &[BeanId]) -> Vec<Option<SimilarList>> {
        self.2.lock().expect("no panic inside").push(beans.to_vec());
        let panics = self.1.lock().expect("no panic inside").clone();
        assert!(!beans.iter().any(|bean| panics.contains(bean)), "scoring panics, as told");
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
