//! The live numbers of a run, and whether it is ready: read by the demo, the admin server and the
//! summary; and the way to adjust its limits.
//!
//! Decides: what counts as ready. Never does: log, or emit metrics (see `telemetry::events`).

use super::latency::Latencies;
use super::limits::{Limits, PipelineLimits};
use crate::transport::Transport;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// What a run has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunSummary {
    /// Messages taken from the queue.
    pub received: u64,
    /// Beans whose list was computed and committed, or found unchanged.
    pub processed: u64,
    /// Of these, lists that were equal to the stored ones, so that nothing was written.
    pub unchanged: u64,
    /// Messages merged into a run that waited already.
    pub coalesced: u64,
    /// Messages acknowledged.
    pub acked: u64,
    /// Messages sent up the retry ladder.
    pub retried: u64,
    /// Messages moved to the failed queue.
    pub failed: u64,
    /// Messages handed back unstarted.
    pub returned: u64,
    /// Messages whose settlement came too late; they are delivered again.
    pub lost: u64,
    /// Beans run again.
    pub reruns: u64,
    /// Stages that ended unexpectedly and were started anew.
    pub restarts: u64,
    /// Median time from the arrival of a message to its acknowledgement.
    pub latency_p50: Duration,
    /// The time that 99 of 100 messages stayed below.
    pub latency_p99: Duration,
    /// How long it has run.
    pub duration: Duration,
}

/// Whether work flows, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PipelineReadiness {
    /// The index holds the catalogue.
    pub index_loaded: bool,
    /// The database answered when last asked.
    pub store_reachable: bool,
    /// The queue can be reached.
    pub transport_connected: bool,
    /// It is shutting down: nothing more is taken.
    pub draining: bool,
}

impl PipelineReadiness {
    /// Whether all is well.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.index_loaded && self.store_reachable && self.transport_connected && !self.draining
    }
}

/// Counters and flags, shared by the stages.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) received: AtomicU64,
    pub(crate) processed: AtomicU64,
    pub(crate) unchanged: AtomicU64,
    pub(crate) coalesced: AtomicU64,
    pub(crate) acked: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) returned: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) reruns: AtomicU64,
    pub(crate) restarts: AtomicU64,
    pub(crate) latencies: Latencies,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) waiting: AtomicUsize,
    pub(crate) index_loaded: AtomicBool,
    pub(crate) store_reachable: AtomicBool,
    pub(crate) draining: AtomicBool,
    pub(crate) started: OnceLock<Instant>,
    pub(crate) transport: OnceLock<Arc<dyn Transport>>,
}

/// Counts one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// Looks into a running pipeline, and adjusts its limits. Make one, give a clone to
/// [`super::run_with`], keep the other.
#[derive(Clone, Default)]
pub struct PipelineHandle {
    pub(crate) counters: Arc<Counters>,
    pub(crate) limits: Arc<Limits>,
}

impl PipelineHandle {
    /// A handle for a pipeline that has not started.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The numbers so far.
    #[must_use]
    pub fn summary(&self) -> RunSummary {
        let c = &self.counters;
        RunSummary {
            received: c.received.load(Relaxed),
            processed: c.processed.load(Relaxed),
            unchanged: c.unchanged.load(Relaxed),
            coalesced: c.coalesced.load(Relaxed),
            acked: c.acked.load(Relaxed),
            retried: c.retried.load(Relaxed),
            failed: c.failed.load(Relaxed),
            returned: c.returned.load(Relaxed),
            lost: c.lost.load(Relaxed),
            reruns: c.reruns.load(Relaxed),
            restarts: c.restarts.load(Relaxed),
            latency_p50: c.latencies.quantile(0.5),
            latency_p99: c.latencies.quantile(0.99),
            duration: c.started.get().map_or(Duration::ZERO, Instant::elapsed),
        }
    }

    /// Changes how much may be under way at once, from now on.
    pub fn set_limits(&self, limits: PipelineLimits) {
        self.limits.change(limits);
    }

    /// Beans started and not yet settled.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.counters.in_flight.load(Relaxed)
    }

    /// Beans that wait for a worker.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.counters.waiting.load(Relaxed)
    }

    /// Whether work flows, with the reasons if not. Answers from state, at once.
    #[must_use]
    pub fn readiness(&self) -> PipelineReadiness {
        let c = &self.counters;
        PipelineReadiness {
            index_loaded: c.index_loaded.load(Relaxed),
            store_reachable: c.store_reachable.load(Relaxed),
            transport_connected: c.transport.get().is_some_and(|t| t.connected()),
            draining: c.draining.load(Relaxed),
        }
    }

    /// Whether the index is loaded, database and queue are reachable, and it is not draining.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.readiness().ready()
    }
}

impl std::fmt::Debug for PipelineHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PipelineHandle").field(&self.summary()).finish()
    }
}
