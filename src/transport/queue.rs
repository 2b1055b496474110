//! A queue in a table, in the database that holds the lists: PostgreSQL or SQLite.
//!
//! Decides: the life of a row. Never does: create its tables (the migrations do), or decode.
//!
//! ```text
//!           publish             claim (pump)                   ack, ticket
//!   ──────────────▶ waiting ──────────────────▶ claimed ──────────────────▶ gone
//!                    ▲  ▲  ▲                      │ │ │
//!                    │  │  └─ hand back, republish ┘ │ └─ dead letter ─▶ failed table
//!                    │  └──── retry: attempt + 1, due later                  ▲
//!                    └─────── claim expired: crash count + 1 ── at the limit ┘
//! ```
//!
//! The row is authoritative: a claim is a token and a time in it, and every settlement names the
//! token, so that one which comes too late changes nothing. A claim counts neither as an attempt
//! nor as a crash; an attempt is counted by a retry, a crash by a claim that runs out because its
//! worker stopped renewing it.

use self::keeper::ClaimToken;
use self::ledger::Ledger;
use self::link::Link;
use self::postgres::PostgresTable;
use self::publisher::QueuePublisher;
use self::source::{Buffer, QueueSource, SourceParts};
use self::sqlite::SqliteTable;
use self::table::QueueTable;
use crate::config::QueueConfig;
use crate::resilience::backoff::EqualJitter;
use crate::transport::{Publisher, QueueDepth, Source, Transport, TransportError};
use async_trait::async_trait;
use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod failure;
mod keeper;
mod lanes;
mod ledger;
mod link;
mod postgres;
mod publisher;
mod pump;
mod settlement;
mod source;
mod sqlite;
mod table;

/// What the queue needs to know.
#[derive(Debug, Clone)]
pub struct QueueSettings {
    /// `[transport.queue]`.
    pub queue: QueueConfig,
    /// Messages claimed and not settled, at most, for each source; at least 1.
    pub prefetch: usize,
}

/// The queue in a table.
#[derive(Clone)]
pub struct QueueTransport {
    shared: Arc<Shared>,
}

/// What sources, settlements and publishers share.
struct Shared {
    table: Arc<dyn QueueTable>,
    settings: QueueSettings,
    /// The statement of a ticket, made once.
    ticket: Arc<str>,
    /// Changed when there may be something to claim.
    news: watch::Sender<()>,
    link: Link,
    tasks: TaskTracker,
    /// Ends what still runs when the transport is closed.
    closing: CancellationToken,
    /// Where a settlement that is dropped on any thread hands its row back.
    runtime: Handle,
}

impl Shared {
    fn wake(&self) {
        self.news.send_replace(());
    }
}

impl QueueTransport {
    /// A queue in PostgreSQL. Call it inside the tokio runtime that will outlive the transport.
    ///
    /// Each source listens for other processes' publishes on a connection of the pool that it
    /// keeps, if the pool has more than one.
    ///
    /// # Panics
    /// When called outside of a tokio runtime.
    #[must_use]
    pub fn postgres(pool: PgPool, settings: QueueSettings) -> Self {
        Self::new(Arc::new(PostgresTable::new(pool)), settings)
    }

    /// A queue in SQLite: `write` is the one connection that writes. Call it inside the tokio
    /// runtime that will outlive the transport.
    ///
    /// # Panics
    /// When called outside of a tokio runtime.
    #[must_use]
    pub fn sqlite(write: SqlitePool, read: SqlitePool, settings: QueueSettings) -> Self {
        Self::new(Arc::new(SqliteTable::new(write, read)), settings)
    }

    fn new(table: Arc<dyn QueueTable>, mut settings: QueueSettings) -> Self {
        settings.prefetch = settings.prefetch.max(1);
        Self {
            shared: Arc::new(Shared {
                ticket: table.ticket_statement().into(),
                table,
                settings,
                news: watch::channel(()).0,
                link: Link::default(),
                tasks: TaskTracker::new(),
                closing: CancellationToken::new(),
                runtime: Handle::current(),
            }),
        }
    }
}

#[async_trait]
impl Transport for QueueTransport {
    async fn prepare(&self) -> Result<(), TransportError> {
        let answer = self.shared.table.verify().await;
        self.shared.link.observe(&answer);
        answer
    }

    async fn source(&self, stop: CancellationToken) -> Result<Box<dyn Source>, TransportError> {
        let stop = stop.child_token();
        let parts = Arc::new(SourceParts {
            shared: self.shared.clone(),
            ledger: Arc::new(Ledger::default()),
            buffer: Arc::new(Buffer::default()),
            token: ClaimToken::new(self.shared.settings.queue.visibility_timeout),
            stop: stop.clone(),
        });
        let tasks = &self.shared.tasks;
        tasks.spawn(keeper::keep(parts.clone()));
        tasks.spawn(listen(parts.clone()));
        let pump = tasks.spawn(pump::pump(parts.clone()));
        Ok(Box::new(QueueSource {
            shared: self.shared.clone(),
            buffer: parts.buffer.clone(),
            stop: stop.clone(),
            pump: Some(pump),
            _guard: stop.drop_guard(),
        }))
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::new(QueuePublisher { shared: self.shared.clone() })
    }

    async fn depth(&self) -> Result<QueueDepth, TransportError> {
        let depth = self.shared.table.depth().await;
        self.shared.link.observe(&depth);
        depth
    }

    fn connected(&self) -> bool {
        self.shared.link.is_up()
    }

    /// Waits for the sources' tasks, which end once they were stopped and their deliveries are
    /// settled; after `grace` what is left expires. The pools are their owner's to close.
    async fn close(&self, grace: Duration) {
        self.shared.tasks.close();
        if tokio::time::timeout(grace, self.shared.tasks.wait()).await.is_err() {
            self.shared.closing.cancel();
        }
    }
}

/// Listens for publishes of other processes; a failure leaves the polling.
async fn listen(parts: Arc<SourceParts>) {
    const PAUSE: EqualJitter =
        EqualJitter { base: Duration::from_secs(1), multiplier: 2.0, cap: Duration::from_secs(30) };
    let shared = &parts.shared;
    let news = || shared.wake();
    for failures in 1.. {
        tokio::select! {
            () = parts.stop.cancelled() => return,
            ended = shared.table.listen(&news) => {
                tracing::debug!(?ended, "listening for publishes ended; polling goes on");
            }
        }
        tokio::select! {
            () = parts.stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE.delay(failures, fastrand::f64())) => {}
        }
    }
}
