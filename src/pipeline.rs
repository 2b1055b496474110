//! The pipeline: actors that turn deliveries into committed lists. `wire` is the architecture.
//!
//! ```text
//! Source ─▶ Receiver ─Arrived─▶ Dispatcher ─ScoringTask─▶ Scorer ─ScoredBatch─▶ Writer
//!              │ unreadable          │ handed back            │ missing,           │ committed,
//!              ▼                     ▼                        ▼ panicked           ▼ failed
//!              └─────────────────────┴────────Decided─────────┴────────────────────┴─▶ Settler
//! ```
//!
//! Decides: which stage feeds which. Never does: any stage's work. Ripples will stand between the
//! writer's commit and the settler: the writer's `Decided` then goes through that stage.

use crate::config::{PipelineConfig, Refresh, UnknownType};
use crate::index::SimilarityIndex;
use crate::resilience::backoff::{EqualJitter, Ladder};
use crate::store::{Store, StoreError};
use crate::telemetry::events;
use crate::transport::codec::CodecSettings;
use crate::transport::{Transport, TransportError};
use actix::Actor;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

mod desk;
mod dispatcher;
mod disposition;
mod drain;
mod fates;
pub mod freshness;
mod gate;
mod health;
mod lanes;
mod latency;
mod limits;
mod messages;
mod progress;
mod receiver;
pub mod runtime;
mod schedule;
mod scorer;
mod scoring;
mod settler;
mod shared;
mod stage;
mod supervisor;
mod writer;

pub use freshness::Freshener;
pub use limits::PipelineLimits;
pub use progress::{PipelineHandle, PipelineReadiness, RunSummary};

use dispatcher::Dispatcher;
use receiver::Receiver;
use scorer::Scorer;
use settler::Settler;
use shared::Shared;
use stage::{Bell, Stage};
use supervisor::Supervisor;
use writer::Writer;

/// When a run ends by itself. Without a limit it runs until told to stop.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunLimits {
    /// Take this many messages, work them off, end.
    pub messages: Option<u64>,
    /// End after this time: finish what runs, hand the rest back.
    pub time: Option<Duration>,
}

/// How the pipeline works.
#[derive(Debug, Clone)]
pub struct PipelineSettings {
    /// Concurrency, batch size, workers, scoring threads.
    pub pipeline: PipelineConfig,
    /// The retry ladder.
    pub ladder: Ladder,
    /// How messages are read.
    pub codec: CodecSettings,
    /// What becomes of a kind of message that is not known.
    pub unknown_type: UnknownType,
    /// How long what runs may take to finish at the end.
    pub grace: Duration,
    /// Rows of one transaction, at most.
    pub max_rows: usize,
    /// How the index is kept fresh.
    pub refresh: Refresh,
    /// How often it is reloaded, where it is kept fresh by reloading.
    pub reload_interval: Duration,
    /// When to end.
    pub limits: RunLimits,
}

/// What the pipeline is made of.
pub struct PipelineParts {
    /// Catalogue and lists.
    pub store: Arc<dyn Store>,
    /// The queue.
    pub transport: Arc<dyn Transport>,
    /// The index; filled by the pipeline.
    pub index: Arc<dyn SimilarityIndex>,
    /// How to work.
    pub settings: PipelineSettings,
}

/// Why a pipeline could not start, or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The catalogue cannot be read, and waiting does not mend it.
    #[error("the catalogue cannot be loaded: {0}")]
    Catalogue(#[source] StoreError),
    /// The queue cannot be consumed as configured.
    #[error("messages cannot be taken: {0}")]
    Transport(#[source] TransportError),
    /// The scoring threads could not be started.
    #[error("the scoring threads cannot be started: {0}; lower pipeline.scoring_threads")]
    Threads(String),
    /// Stages died again and again: a defect. Unsettled messages are back in the queue.
    #[error("stages of the pipeline died {deaths} times within seconds; see the panics in the log")]
    StagesDie {
        /// How often.
        deaths: usize,
    },
}

/// Runs a pipeline until `stop` is cancelled or a limit is reached; then drains it. Store and
/// transport stay open: they are the caller's.
///
/// To be awaited inside an actor system over a multi-threaded runtime, see [`runtime::block_on`].
///
/// # Errors
/// [`PipelineError`] when it cannot start or go on; it has drained even then.
pub async fn run(
    parts: PipelineParts,
    stop: CancellationToken,
) -> Result<RunSummary, PipelineError> {
    run_with(parts, PipelineHandle::new(), stop).await
}

/// [`run`], observed through `handle`.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    parts: PipelineParts,
    handle: PipelineHandle,
    stop: CancellationToken,
) -> Result<RunSummary, PipelineError> {
    operate(&Shared::new(parts, handle)?, &stop).await
}

async fn operate(
    shared: &Arc<Shared>,
    stop: &CancellationToken,
) -> Result<RunSummary, PipelineError> {
    let counters = shared.counters();
    counters.started.get_or_init(Instant::now);
    counters.transport.get_or_init(|| Arc::clone(&shared.transport));
    tokio::select! {
        loaded = load(shared) => loaded?,
        () = stop.cancelled() => return Ok(shared.handle.summary()),
    }
    let bell = Bell::default();
    let supervisor = wire(shared, bell.clone()).start();
    shared.spawn(health::watch(Arc::clone(shared)));
    drain::run_to_the_end(shared, stop).await;
    shared.over.cancel();
    bell.ring();
    shared.bell.ring();
    drop(supervisor);
    match shared.failure() {
        Some(error) => Err(error),
        None => Ok(shared.handle.summary()),
    }
}

/// The architecture: the stages, sink first, each knowing the slots of those it feeds.
fn wire(shared: &Arc<Shared>, bell: Bell) -> Supervisor {
    let s = || Arc::clone(shared);

    let shared_ = s();
    let settler = Stage::new("settler", move |o| Settler::new(Arc::clone(&shared_), o));

    let (shared_, decided) = (s(), settler.slot());
    let writer =
        Stage::new("writer", move |o| Writer::new(Arc::clone(&shared_), Arc::clone(&decided), o));

    let (shared_, lists, decided) = (s(), writer.slot(), settler.slot());
    let scorer = Stage::new("scorer", move |o| {
        Scorer::new(Arc::clone(&shared_), Arc::clone(&lists), Arc::clone(&decided), o)
    });

    let (shared_, tasks, decided) = (s(), scorer.slot(), settler.slot());
    let dispatcher = Stage::new("dispatcher", move |o| {
        Dispatcher::new(Arc::clone(&shared_), Arc::clone(&tasks), Arc::clone(&decided), o)
    });

    let (shared_, arrivals, decided) = (s(), dispatcher.slot(), settler.slot());
    let receiver = Stage::new("receiver", move |o| {
        Receiver::new(Arc::clone(&shared_), Arc::clone(&arrivals), Arc::clone(&decided), o)
    });

    let posts: Vec<Box<dyn stage::Post>> = vec![
        Box::new(settler),
        Box::new(writer),
        Box::new(scorer),
        Box::new(dispatcher),
        Box::new(receiver),
    ];
    Supervisor::new(s(), posts, bell)
}

/// Pauses between two attempts to load the catalogue.
const LOADS: EqualJitter =
    EqualJitter { base: Duration::from_millis(200), multiplier: 2.0, cap: Duration::from_secs(5) };

/// Fills the index; waits out a database that is down.
async fn load(shared: &Arc<Shared>) -> Result<(), PipelineError> {
    let since = Instant::now();
    let mut attempt = 0;
    loop {
        let error = match shared.freshener.refresh().await {
            Ok(_) => break,
            Err(error) if error.is_pause() => error,
            Err(error) => return Err(PipelineError::Catalogue(error)),
        };
        attempt += 1;
        if attempt == 1 {
            events::paused("database", &error.to_string());
        }
        tokio::time::sleep(LOADS.delay(attempt, fastrand::f64())).await;
    }
    if attempt > 0 {
        events::resumed("database", since.elapsed());
    }
    shared.counters().index_loaded.store(true, Relaxed);
    shared.counters().store_reachable.store(true, Relaxed);
    Ok(())
}

#[cfg(test)]
mod tests;
