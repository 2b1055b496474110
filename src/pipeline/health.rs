//! Looks at the database once a second, so that readiness tells the truth while nothing is
//! written, and a pause begins before a message meets the outage.
//!
//! Decides: how often. Never does: decide what a failure of a message comes to.

use super::shared::Shared;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

const EVERY: Duration = Duration::from_secs(1);

/// Looks until the run is draining.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.intake.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if !shared.gate.is_open() {
            continue;
        }
        tokio::select! {
            () = shared.intake.cancelled() => return,
            answer = shared.store.probe() => match answer {
                Ok(()) => shared.counters().store_reachable.store(true, Relaxed),
                Err(error) => shared.pause(&error.to_string()),
            },
        }
    }
}
