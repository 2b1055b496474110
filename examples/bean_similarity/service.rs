//! The service in this process: its own pipeline, over a queue in a table of the same database.
//!
//! Decides: when a bean counts as done. Never does: reimplement a stage.

use super::arena::{Arena, Failure};
use cupping::app::{App, Database, pipeline_parts};
use cupping::config::{Config, Sources};
use cupping::domain::bean::BeanId;
use cupping::domain::message::MessageKind;
use cupping::pipeline::{self, PipelineError, PipelineHandle, RunLimits, RunSummary};
use cupping::transport::{Lane, Outgoing, Transport};
use sqlx::{ConnectOptions, PgPool};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often a publisher looks whether its bean's list is there.
const LOOK_EVERY: Duration = Duration::from_millis(4);

/// A running pipeline.
pub struct Service {
    app: App,
    stop: CancellationToken,
    run: JoinHandle<Result<RunSummary, PipelineError>>,
}

impl Service {
    /// Starts it, and waits until it is ready.
    pub async fn start(arena: &Arena, workers: usize) -> Result<Self, Failure> {
        let url = arena.options().to_url_lossy();
        let sets = [format!("database.url={url}"), format!("pipeline.workers={workers}")];
        let config = Config::load(&Sources { sets: sets.into(), ..Sources::default() })?.config;
        let app = App::assemble(&config).await?;
        app.database.open_state(&config).await?;
        let (handle, stop) = (PipelineHandle::new(), CancellationToken::new());
        let parts = pipeline_parts(&config, &app, RunLimits::default());
        // Actors live on the thread of their system, which runs this future too.
        let run = tokio::task::spawn_local(pipeline::run_with(parts, handle.clone(), stop.clone()));
        while !handle.ready() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(Self { app, stop, run })
    }

    /// Publishes that a bean was updated, and waits until its list is committed.
    pub async fn recompute(&self, pool: &PgPool, bean: Uuid) -> Result<(), Failure> {
        let message = Outgoing {
            bean: BeanId::parse(&bean.to_string())?,
            kind: MessageKind::BeanUpdated,
            lane: Lane::Live,
            ripple: false,
        };
        self.app.transport.publisher().publish(&[message]).await?;
        let stored = "SELECT EXISTS (SELECT FROM coffee_bean_similarity WHERE source_bean_id = $1)";
        while !sqlx::query_scalar(stored).bind(bean).fetch_one(pool).await? {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Drains it.
    pub async fn stop(self) -> Result<RunSummary, Failure> {
        let transport: &Arc<dyn Transport> = &self.app.transport;
        cupping::app::wait_until_empty(&**transport, &self.stop, |_| {}).await?;
        self.stop.cancel();
        let summary = self.run.await??;
        transport.close(Duration::from_secs(5)).await;
        if let Database::Postgres(store) = &self.app.database {
            store.close().await;
        }
        Ok(summary)
    }
}
