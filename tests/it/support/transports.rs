//! The three queues behind one face, for the conformance suite.
//!
//! Decides: what a test may do to a queue besides using it: open it as another worker would, kill
//! a worker, take its claims away, read the failed queue. Never does: share a queue between tests.

use super::amqp::{Broker, header};
use super::amqp_url;
use super::databases::PostgresDatabase;
use super::proxy::Proxy;
use async_trait::async_trait;
use cupping::config::QueueConfig;
use cupping::resilience::backoff::Ladder;
use cupping::store::postgres::PostgresStore;
use cupping::store::settings::StoreSettings;
use cupping::store::sqlite::SqliteStore;
use cupping::transport::amqp::{AmqpSettings, AmqpTransport};
use cupping::transport::codec::headers;
use cupping::transport::queue::{QueueSettings, QueueTransport};
use cupping::transport::{Delivery, Transport};
use sqlx::Row;
use sqlx::postgres::PgPool;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A message in the failed queue.
#[derive(Debug)]
pub struct FailedMessage {
    pub body: Vec<u8>,
    pub class: String,
    pub sqlstate: Option<String>,
    pub message: String,
    pub attempts: u32,
}

/// A queue of one test.
#[async_trait]
pub trait TransportFixture: Send + Sync {
    /// Opens it as a worker of its own would, holding at most `prefetch` messages.
    async fn open(&self, prefetch: usize) -> Arc<dyn Transport>;
    /// Lets a worker take `count` messages and be killed before it settles one.
    async fn kill_a_worker_holding(&self, count: usize);
    /// Takes every unsettled delivery away from its worker.
    async fn lose_claims(&self);
    /// What is in the failed queue.
    async fn failed(&self) -> Vec<FailedMessage>;
}

/// A short ladder: 100 and 200 ms, ±10 %.
pub fn short_ladder() -> Ladder {
    Ladder {
        max_retries: 2,
        delay: Duration::from_millis(100),
        multiplier: 2.0,
        max_delay: Duration::from_secs(1),
        jitter: 0.1,
    }
}

/// Settings of a table queue; a killed worker's claims run out after `visibility`.
pub fn queue_settings(prefetch: usize, visibility: Duration) -> QueueSettings {
    let queue = QueueConfig { visibility_timeout: visibility, ..QueueConfig::default() };
    QueueSettings { queue, prefetch }
}

/// Takes `count` deliveries in a runtime of its own, which then ends, and every task with it.
async fn die_holding<F, Fut>(count: usize, open: F)
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Arc<dyn Transport>>,
{
    let worker = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let transport = open().await;
            let stop = CancellationToken::new();
            let mut source = transport.source(stop).await.expect("a source");
            for _ in 0..count {
                let delivery: Delivery = source.next().await.expect("works").expect("a message");
                std::mem::forget(delivery);
            }
            std::mem::forget(source);
        });
        runtime.shutdown_background();
    };
    tokio::task::spawn_blocking(worker).await.expect("the worker dies as it should");
}

/// How long a claim holds in tests that wait for it to run out.
pub const SHORT_VISIBILITY: Duration = Duration::from_millis(600);

/// The queue in PostgreSQL.
pub struct PostgresFixture {
    database: PostgresDatabase,
    /// For looking at the tables behind the queue's back.
    pub pool: PgPool,
    visibility: Duration,
}

impl PostgresFixture {
    pub async fn create(visibility: Duration) -> Self {
        let database = PostgresDatabase::create().await;
        super::watch_lock_orders();
        let store = PostgresStore::connect(&database.url(), StoreSettings::default()).await;
        store.expect("the new database answers").migrate().await.expect("it is new");
        let pool = database.pool(4).await;
        Self { database, pool, visibility }
    }

    /// Opens it with settings of the test's own.
    pub async fn open_with(&self, settings: QueueSettings) -> QueueTransport {
        QueueTransport::postgres(self.database.pool(5).await, settings)
    }
}

#[async_trait]
impl TransportFixture for PostgresFixture {
    async fn open(&self, prefetch: usize) -> Arc<dyn Transport> {
        Arc::new(self.open_with(queue_settings(prefetch, self.visibility)).await)
    }

    async fn kill_a_worker_holding(&self, count: usize) {
        let options = self.database.options();
        let settings = queue_settings(count, self.visibility);
        die_holding(count, move || async move {
            let pool = PgPool::connect_lazy_with(options);
            Arc::new(QueueTransport::postgres(pool, settings)) as Arc<dyn Transport>
        })
        .await;
    }

    async fn lose_claims(&self) {
        let sql = "UPDATE cupping.queue_message SET claim = NULL, claimed_until = NULL";
        sqlx::query(sql).execute(&self.pool).await.expect("the table is there");
    }

    async fn failed(&self) -> Vec<FailedMessage> {
        let sql = "SELECT body, class, sqlstate, message, attempts FROM cupping.queue_failed";
        let rows = sqlx::query(sql).fetch_all(&self.pool).await.expect("the table is there");
        let failed = |row: &sqlx::postgres::PgRow| FailedMessage {
            body: row.get("body"),
            class: row.get("class"),
            sqlstate: row.get("sqlstate"),
            message: row.get("message"),
            attempts: row.get::<i32, _>("attempts").unsigned_abs(),
        };
        rows.iter().map(failed).collect()
    }
}

/// The queue in SQLite.
pub struct SqliteFixture {
    file: PathBuf,
    /// For looking at the tables behind the queue's back.
    pub pool: SqlitePool,
    visibility: Duration,
    _dir: tempfile::TempDir,
}

fn sqlite_options(file: &std::path::Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
}

fn sqlite_pool(file: &std::path::Path, connections: u32) -> SqlitePool {
    SqlitePoolOptions::new().max_connections(connections).connect_lazy_with(sqlite_options(file))
}

impl SqliteFixture {
    pub async fn create(visibility: Duration) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("queue.sqlite");
        let store = SqliteStore::open(&file, StoreSettings::default()).await;
        store.expect("the directory is ours").migrate().await.expect("it is new");
        let pool = sqlite_pool(&file, 1);
        Self { file, pool, visibility, _dir: dir }
    }

    /// Opens it with settings of the test's own.
    pub fn open_with(&self, settings: QueueSettings) -> QueueTransport {
        let (write, read) = (sqlite_pool(&self.file, 1), sqlite_pool(&self.file, 2));
        QueueTransport::sqlite(write, read, settings)
    }
}

#[async_trait]
impl TransportFixture for SqliteFixture {
    async fn open(&self, prefetch: usize) -> Arc<dyn Transport> {
        Arc::new(self.open_with(queue_settings(prefetch, self.visibility)))
    }

    async fn kill_a_worker_holding(&self, count: usize) {
        let (file, settings) = (self.file.clone(), queue_settings(count, self.visibility));
        die_holding(count, move || async move {
            let (write, read) = (sqlite_pool(&file, 1), sqlite_pool(&file, 2));
            Arc::new(QueueTransport::sqlite(write, read, settings)) as Arc<dyn Transport>
        })
        .await;
    }

    async fn lose_claims(&self) {
        let sql = "UPDATE cupping_queue_message SET claim = NULL, claimed_until = NULL";
        sqlx::query(sql).execute(&self.pool).await.expect("the table is there");
    }

    async fn failed(&self) -> Vec<FailedMessage> {
        let sql = "SELECT body, class, sqlstate, message, attempts FROM cupping_queue_failed";
        let rows = sqlx::query(sql).fetch_all(&self.pool).await.expect("the table is there");
        let failed = |row: &sqlx::sqlite::SqliteRow| FailedMessage {
            body: row.get("body"),
            class: row.get("class"),
            sqlstate: row.get("sqlstate"),
            message: row.get("message"),
            attempts: row.get("attempts"),
        };
        rows.iter().map(failed).collect()
    }
}

/// The queues in RabbitMQ, reached through a proxy so that a test can cut its own connections.
pub struct RabbitFixture {
    broker: Broker,
    proxy: Proxy,
}

/// The broker's URL by way of a proxy, and the proxy.
async fn detour() -> (Proxy, String) {
    let mut url = url::Url::parse(&amqp_url()).expect("a URL");
    let host = url.host_str().expect("a host").to_owned();
    let proxy = Proxy::start(&format!("{host}:{}", url.port().unwrap_or(5672))).await;
    url.set_host(Some(&proxy.address.ip().to_string())).expect("an address is a host");
    url.set_port(Some(proxy.address.port())).expect("AMQP URLs have ports");
    (proxy, url.to_string())
}

impl RabbitFixture {
    pub async fn create() -> Self {
        let mut broker = Broker::new(&short_ladder());
        let (proxy, url) = detour().await;
        broker.url = url;
        Self { broker, proxy }
    }

    fn settings(&self, prefetch: usize) -> AmqpSettings {
        self.broker.settings(short_ladder(), u16::try_from(prefetch).expect("a small prefetch"))
    }
}

#[async_trait]
impl TransportFixture for RabbitFixture {
    async fn open(&self, prefetch: usize) -> Arc<dyn Transport> {
        Arc::new(AmqpTransport::new(self.settings(prefetch)).expect("possible settings"))
    }

    async fn kill_a_worker_holding(&self, count: usize) {
        let (proxy, url) = detour().await;
        let mut settings = self.settings(count);
        settings.url = url.into();
        die_holding(count, move || async move {
            let transport = AmqpTransport::new(settings).expect("possible settings");
            Arc::new(transport) as Arc<dyn Transport>
        })
        .await;
        // The broker sees a killed process by its closed connection.
        drop(proxy);
    }

    async fn lose_claims(&self) {
        self.proxy.cut();
    }

    async fn failed(&self) -> Vec<FailedMessage> {
        let message = self.broker.get(&self.broker.queue(".failed")).await;
        let attempts = header(&message, headers::ATTEMPTS).expect("the attempts are told");
        vec![FailedMessage {
            class: header(&message, headers::ERROR_CLASS).expect("the class is told"),
            sqlstate: header(&message, headers::SQLSTATE),
            message: header(&message, headers::ERROR).expect("the error is told"),
            attempts: attempts.parse().expect("a number"),
            body: message.delivery.data,
        }]
    }
}
