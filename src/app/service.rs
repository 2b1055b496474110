//! The service: the actors, with their admin server, signals and upkeep around them.
//!
//! Decides: the order of starting and stopping. Never does: the actors' work.

use super::{App, AppError, pipeline_parts, readiness::AppReadiness, signals, upkeep};
use crate::admin;
use crate::config::Config;
use crate::pipeline::{self, PipelineHandle, RunLimits, RunSummary};
use crate::store::StateCheck;
use crate::telemetry::metrics::MetricsHandle;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What a service is started with.
pub struct Options {
    /// When it drains and ends by itself.
    pub limits: RunLimits,
    /// What `/metrics` shows.
    pub numbers: MetricsHandle,
}

/// Runs until a signal or a limit ends it; then drains.
///
/// # Errors
/// [`AppError`] when a part cannot be opened, or fails for good.
pub async fn run(
    config: &Config,
    options: Options,
    hangup: impl FnMut() + Send + 'static,
) -> Result<RunSummary, AppError> {
    let stop = CancellationToken::new();
    let signals = signals::listen(stop.clone(), hangup)?;
    let app = App::assemble(config).await?;
    if let StateCheck::Reset(why) = app.database.open_state(config).await? {
        tracing::warn!(why, "stored lists are out of date; run `cupping recompute --all`");
    }
    let over = CancellationToken::new();
    let keep = config.database.log_retention;
    let upkeep = upkeep::start(Arc::clone(&app.store), keep, over.clone());
    let numbers = tokio::spawn(options.numbers.clone().upkeep(over.clone()));
    let result = work(config, &app, options, &stop).await;
    over.cancel();
    if upkeep.await.is_err() || numbers.await.is_err() {
        tracing::error!("an upkeep task ended in a panic");
    }
    app.transport.close(config.shutdown.grace).await;
    signals.abort();
    result
}

/// The actors, with the admin server beside them.
async fn work(
    config: &Config,
    app: &App,
    options: Options,
    stop: &CancellationToken,
) -> Result<RunSummary, AppError> {
    let handle = PipelineHandle::new();
    let readiness = Arc::new(AppReadiness::new(handle.clone()));
    let server = if config.admin.enabled {
        let server = admin::bind(config.admin.listen, options.numbers, readiness)?;
        tracing::info!(address = %server.address, "admin server listening");
        let handle = server.handle();
        Some((handle, tokio::spawn(server.server)))
    } else {
        None
    };
    let parts = pipeline_parts(config, app, options.limits);
    tracing::info!(mode = config.mode().name(), "service started");
    let result = pipeline::run_with(parts, handle, stop.clone()).await;
    if let Some((handle, served)) = server {
        handle.stop(true).await;
        if !matches!(served.await, Ok(Ok(()))) {
            tracing::error!("the admin server ended in an error");
        }
    }
    let summary = result?;
    tracing::info!(
        processed = summary.processed,
        retried = summary.retried,
        failed = summary.failed,
        "service stopped"
    );
    Ok(summary)
}
