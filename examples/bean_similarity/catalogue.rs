//! Beans that share regions, in the service's default schema.
//!
//! Decides: which bean has which regions, from a seed. Never does: compare beans.

use super::Arguments;
use super::arena::{Arena, Failure};
use cupping::store::StoreSettings;
use cupping::store::import::{CatalogueWriter, ImportRecord};
use cupping::store::postgres::PostgresStore;
use sqlx::postgres::PgPoolOptions;
use sqlx::{ConnectOptions, Executor, PgPool};
use std::sync::Arc;
use uuid::Uuid;

/// Regions of a bean, at most.
const REGIONS: usize = 5;

/// The ids of the beans, and how many workers share them.
#[derive(Clone)]
pub struct Beans {
    ids: Arc<Vec<Uuid>>,
    workers: usize,
}

impl Beans {
    /// Migrates the database and imports the beans, by the service's own store.
    pub async fn create(arena: &Arena, arguments: &Arguments) -> Result<Self, Failure> {
        let url = arena.options().to_url_lossy();
        let store = PostgresStore::connect(url.as_str(), StoreSettings::default()).await?;
        store.migrate().await?;
        let count = arguments.workers * arguments.beans;
        let ids: Vec<Uuid> = (0..count).map(|n| Uuid::from_u128(n as u128 + 1)).collect();
        let mut random = fastrand::Rng::with_seed(arguments.seed);
        let records: Result<Vec<ImportRecord>, _> =
            ids.iter().map(|id| record(*id, arguments.regions, &mut random)).collect();
        store.import(&records?).await?;
        store.close().await;
        Ok(Self { ids: Arc::new(ids), workers: arguments.workers })
    }

    /// A worker's next bean. Neighbouring workers have neighbouring beans.
    pub fn of(&self, worker: usize, number: usize) -> Uuid {
        self.ids[number * self.workers + worker]
    }

    /// The first few.
    pub fn first(&self, count: usize) -> &[Uuid] {
        &self.ids[..count.min(self.ids.len())]
    }

    /// A connection for each worker. Deadlocks are found after a fifth of what PostgreSQL waits
    /// unless it is told otherwise: in production the old handler's waits are longer.
    pub async fn pool(&self, arena: &Arena) -> Result<PgPool, Failure> {
        let options = arena.options().options([("deadlock_timeout", "200ms")]);
        let pool = PgPoolOptions::new().max_connections(u32::try_from(self.workers)?);
        Ok(pool.connect_with(options).await?)
    }
}

fn record(
    id: Uuid,
    regions: usize,
    random: &mut fastrand::Rng,
) -> Result<ImportRecord, serde_json::Error> {
    let mut all: Vec<usize> = (0..regions).collect();
    random.shuffle(&mut all);
    let own = &all[..regions.min(random.usize(2..=REGIONS))];
    serde_json::from_value(serde_json::json!({
        "id": id.to_string(),
        "regions": own.iter().map(|n| format!("Country/Region {n}")).collect::<Vec<_>>(),
        "processing": [if random.bool() { "Washed" } else { "Natural" }],
    }))
}

/// The database as it was before the service: without its triggers, and with the column that the
/// old handler keeps up to date on every region.
pub async fn without_the_service(arena: &Arena) -> Result<(), Failure> {
    let pool = arena.pool(1).await?;
    pool.execute("DROP SCHEMA cupping CASCADE").await?;
    pool.execute("ALTER TABLE region ADD COLUMN similarities_at timestamptz").await?;
    pool.close().await;
    Ok(())
}
