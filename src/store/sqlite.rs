//! TEMP
use crate::store::*; use crate::store::settings::StoreSettings; use crate::store::import::*; use crate::domain::seed::SeedTaxonomy;
/// T
pub struct SqliteStore;
impl SqliteStore { /// T
 pub async fn open(_: &std::path::Path, _: StoreSettings) -> Result<Self, StoreError> { Ok(Self) }
 /// T
 pub async fn migrate(&self) -> Result<Vec<String>, StoreError> { Ok(vec![]) }
 /// T
 pub async fn check(&self) -> Result<Vec<Finding>, StoreError> { Ok(vec![]) }
 /// T
 pub fn write_pool(&self) -> sqlx::SqlitePool { unreachable!() }
 /// T
 pub fn read_pool(&self) -> sqlx::SqlitePool { unreachable!() }
}
#[async_trait]
impl Catalogue for SqliteStore {
    async fn load(&self, _: &mut (dyn FnMut(Loading) + Send)) -> Result<LogMark, StoreError> { unreachable!() }
    async fn changes(&self, _: &LogMark) -> Result<Changes, StoreError> { unreachable!() }
    async fn beans(&self, _: &[BeanId]) -> Result<Vec<Bean>, StoreError> { unreachable!() }
    async fn ids(&self, _: Option<&BeanId>, _: usize) -> Result<Vec<BeanId>, StoreError> { unreachable!() }
    async fn count(&self) -> Result<u64, StoreError> { unreachable!() }
    fn accepts(&self, _: &BeanId) -> Result<(), String> { unreachable!() }
}
#[async_trait]
impl SimilarityStore for SqliteStore {
    async fn write(&self, _: WriteBatch) -> Result<WriteReport, StoreError> { unreachable!() }
    async fn list(&self, _: &BeanId) -> Result<SimilarList, StoreError> { unreachable!() }
    async fn lists( &self, _: &mut (dyn FnMut(BeanId, SimilarList) + Send)) -> Result<(), StoreError> { unreachable!() }
    async fn open_state(&self, _: &str) -> Result<StateCheck, StoreError> { unreachable!() }
    async fn note(&self, _: &str) -> Result<Option<String>, StoreError> { unreachable!() }
    async fn set_note(&self, _: &str, _: Option<&str>) -> Result<(), StoreError> { unreachable!() }
    async fn prune_log(&self, _: Duration) -> Result<u64, StoreError> { unreachable!() }
    async fn probe(&self) -> Result<(), StoreError> { unreachable!() }
    fn pool(&self) -> (u32, u32) { unreachable!() }
}
#[async_trait]
impl CatalogueWriter for SqliteStore {
    async fn import(&self, _: &[ImportRecord]) -> Result<ImportReport, StoreError> { unreachable!() }
    async fn seed(&self, _: &SeedTaxonomy) -> Result<u64, StoreError> { unreachable!() }
    async fn delete(&self, _: &[BeanId]) -> Result<u64, StoreError> { unreachable!() }
}
#[async_trait]
impl CatalogueWriter for crate::store::postgres::PostgresStore {
    async fn import(&self, _: &[ImportRecord]) -> Result<ImportReport, StoreError> { unreachable!() }
    async fn seed(&self, _: &SeedTaxonomy) -> Result<u64, StoreError> { unreachable!() }
    async fn delete(&self, _: &[BeanId]) -> Result<u64, StoreError> { unreachable!() }
}
