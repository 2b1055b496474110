//! The end of a run, as a protocol:
//!
//! 1. the source is told to stop, and gives nothing more;
//! 2. *finishing* (a limit was reached): all that was taken is worked off, retries excepted;
//!    *draining* (told to stop): what waits is handed back, what runs may finish;
//! 3. the tasks end, the last settlements among them;
//! 4. what is not done when the grace is over is dropped: its deliveries go back to the queue.
//!
//! Decides: the order, and when the grace is over. Never does: close store or transport.

use super::shared::{Phase, Shared};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Time for dropped tasks to be dropped.
const LAST_BREATH: Duration = Duration::from_secs(2);

/// Why a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// As many messages as asked for were taken.
    Limit,
    /// Told to stop, out of time, or unable to go on.
    Stop,
}

/// Waits for a reason to end.
async fn cause(shared: &Shared, stop: &CancellationToken) -> Cause {
    let time = shared.settings.limits.time;
    let out_of_time = async {
        match time {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => Cause::Stop,
        () = shared.failed.cancelled() => Cause::Stop,
        () = out_of_time => Cause::Stop,
        // The receiver cancels it when it has taken its last message.
        () = shared.intake.cancelled() => Cause::Limit,
    }
}

/// Waits for the end of the run, and brings it about.
pub(crate) async fn run_to_the_end(shared: &Arc<Shared>, stop: &CancellationToken) {
    let cause = cause(shared, stop).await;
    shared.counters().draining.store(true, Relaxed);
    shared.intake.cancel();
    if cause == Cause::Limit {
        shared.enter(Phase::Finishing);
        tokio::select! {
            () = done(shared) => {}
            () = stop.cancelled() => {}
            () = shared.failed.cancelled() => {}
        }
    }
    shared.enter(Phase::Draining);
    let drained = async {
        done(shared).await;
        shared.quiet().await;
    };
    let grace = shared.settings.grace;
    if !within(grace, drained).await {
        tracing::warn!(
            grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
            in_flight = shared.handle.in_flight(),
            "shutdown grace is over; what still runs is handed back"
        );
    }
    shared.abandon.cancel();
    if !within(LAST_BREATH, shared.quiet()).await {
        tracing::warn!("some tasks did not end in time");
    }
}

async fn within(limit: Duration, work: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(limit, work).await.is_ok()
}

/// Nothing more comes, nothing waits, nothing runs.
async fn done(shared: &Shared) {
    shared.intake_ended.cancelled().await;
    let mut idle = shared.idle.subscribe();
    idle.wait_for(|idle| *idle).await.expect("shared holds the sender");
}
