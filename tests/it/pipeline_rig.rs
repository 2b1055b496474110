//! A pipeline on a real database and queue, with hooks that force what the tests are about.
//!
//! Decides: how a test drives a pipeline. Never does: replace the database or the queue; the
//! doubles wrap the real ones.

use super::pipeline_doubles::{HookedIndex, HookedStore};
use super::support::amqp::Broker;
use super::support::databases::PostgresDatabase;
use cupping::config::{Config, PipelineConfig, QueueConfig};
use cupping::domain::bean::BeanId;
use cupping::domain::message::MessageKind;
use cupping::pipeline::{
    self, PipelineHandle, PipelineParts, PipelineSettings, RunLimits, RunSummary,
};
use cupping::resilience::backoff::Ladder;
use cupping::store::Store;
use cupping::store::import::{CatalogueWriter, ImportRecord};
use cupping::store::postgres::PostgresStore;
use cupping::store::settings::StoreSettings;
use cupping::store::sqlite::SqliteStore;
use cupping::transport::queue::{QueueSettings, QueueTransport};
use cupping::transport::{Lane, Outgoing, Transport};
use sqlx::{PgPool, Row, SqlitePool};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Longest that a test may wait for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Which database and queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Embedded,
    OneDatabase,
    Broker,
}

/// Keeps the database of a test.
enum Home {
    Sqlite { pool: SqlitePool, write: SqlitePool, _dir: tempfile::TempDir },
    // The pool closes before the database is dropped.
    Postgres { pool: PgPool, broker: Option<Box<Broker>>, _database: PostgresDatabase },
}

/// A database with a catalogue, a queue, and hooks.
pub struct Rig {
    pub store: Arc<HookedStore>,
    pub index: Arc<HookedIndex>,
    pub writer: Arc<dyn CatalogueWriter>,
    pub settings: PipelineSettings,
    home: Arc<Home>,
}

/// The id of a bean, fit for every mode.
pub fn bean(n: usize) -> BeanId {
    BeanId::parse(&format!("00000000-0000-4000-8000-{n:012}")).expect("a valid id")
}

/// A bean; `shade` varies what it is like.
pub fn record(n: usize, shade: usize) -> ImportRecord {
    let regions = ["Ethiopia/Guji", "Kenya/Nyeri", "Brazil/Cerrado", "Colombia/Huila"];
    let notes = ["blueberry", "plum jam", "dark chocolate", "cherry cola", "jasmine tea"];
    let line = serde_json::json!({
        "id": bean(n).as_str(),
        "name": format!("Bean {n}"),
        "regions": [regions[(n + shade) % regions.len()]],
        "processing": [if (n + shade).is_multiple_of(3) { "Natural" } else { "Washed" }],
        "notes": [notes[(n * 7 + shade) % notes.len()], notes[(n / 5 + shade) % notes.len()]],
    });
    serde_json::from_value(line).expect("a record")
}

fn settings() -> PipelineSettings {
    let config = Config::default();
    PipelineSettings {
        pipeline: config.pipeline.clone(),
        ladder: Ladder {
            max_retries: 2,
            delay: Duration::from_millis(50),
            multiplier: 2.0,
            max_delay: Duration::from_secs(1),
            jitter: 0.1,
        },
        codec: cupping::transport::codec::CodecSettings::default(),
        unknown_type: config.transport.unknown_type,
        grace: Duration::from_secs(20),
        max_rows: 10_000,
        refresh: config.catalogue.refresh,
        reload_interval: config.catalogue.reload_interval,
        limits: RunLimits::default(),
    }
}

/// `pipeline.*`: concurrency, batch, workers.
pub fn limits(concurrency: usize, batch: usize, workers: usize) -> PipelineConfig {
    let some = |n: usize| n.try_into().expect("not zero");
    let (concurrency, batch, workers) = (some(concurrency), some(batch), some(workers));
    PipelineConfig { concurrency, batch, workers, scoring_threads: 2 }
}

impl Rig {
    /// A fresh database with this many beans.
    pub async fn new(mode: Mode, beans: usize) -> Self {
        Self::with(mode, beans, StoreSettings::default()).await
    }

    /// The same, whose store is set up differently.
    pub async fn with(mode: Mode, beans: usize, store_settings: StoreSettings) -> Self {
        let (refresh, reload_interval) =
            (store_settings.catalogue.refresh, store_settings.catalogue.reload_interval);
        let (store, writer, home): (Arc<dyn Store>, Arc<dyn CatalogueWriter>, Home) = match mode {
            Mode::Embedded => {
                let dir = tempfile::tempdir().expect("a directory");
                let file = dir.path().join("cupping.sqlite");
                let store = SqliteStore::open(&file, store_settings).await.expect("opens");
                store.migrate().await.expect("migrates");
                let (pool, write) = (store.read_pool().clone(), store.write_pool().clone());
                let store = Arc::new(store);
                (store.clone(), store, Home::Sqlite { pool, write, _dir: dir })
            }
            Mode::OneDatabase | Mode::Broker => {
                let database = PostgresDatabase::create().await;
                crate::support::watch_lock_orders();
                let store = PostgresStore::connect(&database.url(), store_settings).await;
                let store = store.expect("connects");
                store.migrate().await.expect("migrates");
                let pool = store.pool_handle().clone();
                let store = Arc::new(store);
                let broker =
                    (mode == Mode::Broker).then(|| Box::new(Broker::new(&settings().ladder)));
                let home = Home::Postgres { pool, broker, _database: database };
                (store.clone(), store, home)
            }
        };
        let records: Vec<_> = (0..beans).map(|n| record(n, 0)).collect();
        writer.import(&records).await.expect("imports");
        let config = Config::default();
        store.open_state(&config.fingerprint()).await.expect("state");
        Self {
            store: HookedStore::new(store),
            index: HookedIndex::new(config.score_settings()),
            writer,
            settings: PipelineSettings { refresh, reload_interval, ..settings() },
            home: Arc::new(home),
        }
    }

    /// A second worker over the same database and queue, with hooks of its own.
    pub fn beside(&self) -> Self {
        Self {
            store: HookedStore::new(self.store.real()),
            index: HookedIndex::new(Config::default().score_settings()),
            writer: Arc::clone(&self.writer),
            settings: self.settings.clone(),
            home: Arc::clone(&self.home),
        }
    }

    /// The queue, as a worker of its own opens it.
    pub fn queue(&self) -> Arc<dyn Transport> {
        let settings = QueueSettings { queue: QueueConfig::default(), prefetch: 512 };
        match &*self.home {
            Home::Sqlite { pool, write, .. } => {
                Arc::new(QueueTransport::sqlite(write.clone(), pool.clone(), settings))
            }
            Home::Postgres { broker: Some(broker), .. } => {
                Arc::new(broker.transport(self.settings.ladder.clone(), 256))
            }
            Home::Postgres { pool, .. } => {
                Arc::new(QueueTransport::postgres(pool.clone(), settings))
            }
        }
    }

    /// Publishes an update of each bean.
    pub async fn publish(&self, beans: impl IntoIterator<Item = usize>) {
        let message = |n| Outgoing {
            bean: bean(n),
            kind: MessageKind::BeanUpdated,
            lane: Lane::Live,
            ripple: false,
        };
        let messages: Vec<_> = beans.into_iter().map(message).collect();
        self.queue().publisher().publish(&messages).await.expect("published");
    }

    /// What a pipeline over this database is made of.
    pub fn parts(&self) -> PipelineParts {
        PipelineParts {
            store: self.store.clone(),
            transport: self.queue(),
            index: self.index.clone(),
            settings: self.settings.clone(),
        }
    }

    /// Runs a pipeline beside `script`, which tells it when to stop.
    pub async fn run<F>(
        &self,
        script: impl FnOnce(PipelineHandle, CancellationToken) -> F,
    ) -> RunSummary
    where
        F: Future<Output = ()>,
    {
        let (handle, stop) = (PipelineHandle::new(), CancellationToken::new());
        let run = pipeline::run_with(self.parts(), handle.clone(), stop.clone());
        let both = async { tokio::join!(run, script(handle, stop)).0 };
        let summary = tokio::time::timeout(PATIENCE * 2, both).await.expect("ends in time");
        summary.expect("no failure")
    }

    /// Runs a pipeline until the queue is empty.
    pub async fn run_dry(&self) -> RunSummary {
        let queue = self.queue();
        self.run(|_, stop| async move {
            emptied(&*queue).await;
            stop.cancel();
        })
        .await
    }

    /// Class and attempts of each message in the failed queue.
    pub async fn failed(&self) -> Vec<(String, i64)> {
        let sql = "SELECT class, CAST(attempts AS bigint) FROM";
        match &*self.home {
            Home::Sqlite { pool, .. } => {
                let sql = format!("{sql} cupping_queue_failed ORDER BY id");
                let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(pool).await;
                rows.expect("reads").iter().map(|row| (row.get(0), row.get(1))).collect()
            }
            Home::Postgres { pool, .. } => {
                let sql = format!("{sql} cupping.queue_failed ORDER BY id");
                let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(pool).await;
                rows.expect("reads").iter().map(|row| (row.get(0), row.get(1))).collect()
            }
        }
    }

    /// Highest attempt of the messages that wait.
    pub async fn highest_attempt(&self) -> i64 {
        let sql = "SELECT CAST(coalesce(max(attempt), 0) AS bigint) FROM";
        match &*self.home {
            Home::Sqlite { pool, .. } => {
                let sql = format!("{sql} cupping_queue_message");
                sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(pool).await.expect("reads")
            }
            Home::Postgres { pool, .. } => {
                let sql = format!("{sql} cupping.queue_message");
                sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(pool).await.expect("reads")
            }
        }
    }

    /// Executes SQL of the test's own.
    pub async fn execute(&self, sql: &'static str) {
        let done = match &*self.home {
            Home::Sqlite { write, .. } => sqlx::raw_sql(sql).execute(write).await.map(drop),
            Home::Postgres { pool, .. } => sqlx::raw_sql(sql).execute(pool).await.map(drop),
        };
        done.expect("executes");
    }

    /// Another worker takes every claim, as it may once they have run out.
    pub async fn lose_claims(&self) {
        self.execute(match &*self.home {
            Home::Sqlite { .. } => "UPDATE cupping_queue_message SET claim = 'another'",
            Home::Postgres { .. } => "UPDATE cupping.queue_message SET claim = 'another'",
        })
        .await;
    }

    /// How many messages wait, are claimed, or are due later.
    pub async fn left(&self) -> u64 {
        left(&*self.queue()).await
    }
}

/// How many messages wait, are claimed, or are due later.
pub async fn left(queue: &dyn Transport) -> u64 {
    let depth = queue.depth().await.expect("the queue answers");
    depth.live + depth.bulk + depth.retrying + depth.claimed.unwrap_or(0)
}

/// Waits until no message is left.
pub async fn emptied(queue: &dyn Transport) {
    super::support::eventually("the queue is empty", PATIENCE, || async { left(queue).await == 0 })
        .await;
}

/// Drives a test inside an actor system over a multi-threaded runtime, as the service is.
pub fn drive<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    pipeline::runtime::block_on(Arc::new(runtime), test);
}

/// Makes a test of each behaviour in each mode: `name: function` becomes `name::embedded` and
/// `name::one_database`.
macro_rules! in_both_modes {
    ($($name:ident: $behaviour:ident,)*) => {$(
        mod $name {
            #[test]
            fn embedded() {
                super::drive(super::$behaviour(super::Mode::Embedded));
            }
            #[test]
            fn one_database() {
                super::drive(super::$behaviour(super::Mode::OneDatabase));
            }
        }
    )*};
}
pub(crate) use in_both_modes;
