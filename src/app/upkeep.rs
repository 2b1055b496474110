//! What has to happen now and then: gauges of the pool, pruning of the change log.
//!
//! Decides: how often. Never does: fail the process; it says what went wrong and tries again.

use crate::store::Store;
use crate::telemetry::events;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often the pool is looked at.
const GAUGE_EVERY: Duration = Duration::from_secs(5);
/// How often the change log is pruned.
const PRUNE_EVERY: Duration = Duration::from_secs(60 * 60);

/// Starts the task; it ends when `stop` is cancelled.
pub(super) fn start(
    store: Arc<dyn Store>,
    keep: Duration,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut gauge = interval(GAUGE_EVERY);
        let mut prune = interval(PRUNE_EVERY);
        gauge.set_missed_tick_behavior(MissedTickBehavior::Skip);
        prune.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = gauge.tick() => {
                    let (in_use, idle) = store.pool();
                    events::pool(in_use, idle);
                }
                _ = prune.tick() => prune_log(store.as_ref(), keep).await,
            }
        }
    })
}

async fn prune_log(store: &dyn Store, keep: Duration) {
    match store.prune_log(keep).await {
        Ok(0) => {}
        Ok(rows) => tracing::debug!(rows, "change log pruned"),
        Err(error) => tracing::warn!(%error, "change log not pruned; trying again in an hour"),
    }
}
