//! The service: the actors, with signals and upkeep around them.
//!
//! Decides: the order of starting and stopping. Never does: the actors' work, or serve HTTP (its
//! caller does, with the handle it gives).

use super::{App, AppError, pipeline_parts, queue, signals, upkeep};
use crate::config::Config;
use crate::pipeline::{self, PipelineHandle, RunLimits, RunSummary};
use crate::store::StateCheck;
use crate::telemetry::metrics::MetricsHandle;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What a service is started with.
pub struct Options {
    /// When it drains and ends by itself.
    pub limits: RunLimits,
    /// Looks into it while it runs.
    pub handle: PipelineHandle,
    /// The numbers to keep up.
    pub numbers: MetricsHandle,
    /// Where the numbers are served, if they are.
    pub admin: Option<SocketAddr>,
}

/// Runs until a signal or a limit ends it; then drains. `hangup` is called at each SIGHUP.
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
    let numbers = tokio::spawn(options.numbers.upkeep(over.clone()));
    tracing::info!(
        mode = config.mode().name(),
        database = app.database.address(config),
        queue = queue::address(config),
        beans = app.store.count().await?,
        metrics = options.admin.map_or_else(|| "off".into(), |at| format!("http://{at}/metrics")),
        "service started"
    );
    let parts = pipeline_parts(config, &app, options.limits);
    let result = pipeline::run_with(parts, options.handle, stop).await;
    over.cancel();
    if upkeep.await.is_err() || numbers.await.is_err() {
        tracing::error!("an upkeep task ended in a panic");
    }
    app.transport.close(config.shutdown.grace).await;
    signals.abort();
    let summary = result?;
    tracing::info!(
        received = summary.received,
        processed = summary.processed,
        unchanged = summary.unchanged,
        coalesced = summary.coalesced,
        acked = summary.acked,
        retried = summary.retried,
        failed = summary.failed,
        returned = summary.returned,
        lost = summary.lost,
        p50_ms = summary.latency_p50.as_secs_f64() * 1000.0,
        p99_ms = summary.latency_p99.as_secs_f64() * 1000.0,
        seconds = summary.duration.as_secs_f64(),
        "service stopped"
    );
    Ok(summary)
}
