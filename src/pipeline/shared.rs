//! What every stage holds: the ports, the settings, and the state that outlives a stage.
//!
//! Decides: that the work of the stages is tracked, so that a drain can wait for it, and can give
//! it up when the grace is over. Never does: the work.

use super::desk::Desk;
use super::freshness::{Fresh, Freshener};
use super::gate::Gate;
use super::limits::PipelineLimits;
use super::progress::{Counters, PipelineHandle};
use super::scoring::{Scorers, panic_text};
use super::stage::Bell;
use super::{PipelineError, PipelineParts, PipelineSettings};
use crate::domain::bean::BeanId;
use crate::store::Store;
use crate::transport::Transport;
use futures_util::FutureExt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How far a shutdown is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Work flows.
    Running,
    /// Nothing more is taken; all that was taken is worked off.
    Finishing,
    /// Nothing more is started; what waits is handed back.
    Draining,
}

/// Shared by all stages.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) settings: PipelineSettings,
    pub(crate) freshener: Freshener,
    pub(crate) scorers: Scorers,
    pub(crate) gate: Gate,
    pub(crate) desk: Arc<Desk>,
    /// Rings when a run ends, the gate moves or the phase changes: the dispatcher looks.
    pub(crate) bell: Bell,
    pub(crate) phase: watch::Sender<Phase>,
    /// Cancelled to stop taking messages.
    pub(crate) intake: CancellationToken,
    /// Cancelled when the grace is over: tasks are dropped.
    pub(crate) abandon: CancellationToken,
    /// Cancelled once the source gives nothing more.
    pub(crate) intake_ended: CancellationToken,
    /// Cancelled when a stage finds out that the pipeline cannot go on.
    pub(crate) failed: CancellationToken,
    /// Cancelled at the very end: the actors stop.
    pub(crate) over: CancellationToken,
    /// Whether the dispatcher has nothing waiting and nothing running.
    pub(crate) idle: watch::Sender<bool>,
    failure: Mutex<Option<PipelineError>>,
    #[cfg(test)]
    pub(crate) poisoned: Mutex<Option<&'static str>>,
    pub(crate) handle: PipelineHandle,
    tracker: TaskTracker,
    runtime: Handle,
}

impl Shared {
    /// For a pipeline of these parts, on the present runtime.
    pub(crate) fn new(
        parts: PipelineParts,
        handle: PipelineHandle,
    ) -> Result<Arc<Self>, PipelineError> {
        let PipelineParts { store, transport, index, settings } = parts;
        let bell = Bell::default();
        handle.limits.wake(bell.clone());
        let catalogue = Arc::clone(&store);
        let freshener =
            Freshener::new(catalogue, index).configured(settings.refresh, settings.reload_interval);
        Ok(Arc::new(Self {
            freshener,
            scorers: Scorers::new(settings.pipeline.scoring_threads)
                .map_err(|error| PipelineError::Threads(error.to_string()))?,
            gate: Gate::new(bell.clone()),
            desk: Desk::new(bell.clone()),
            bell,
            phase: watch::Sender::new(Phase::Running),
            intake: CancellationToken::new(),
            abandon: CancellationToken::new(),
            intake_ended: CancellationToken::new(),
            failed: CancellationToken::new(),
            over: CancellationToken::new(),
            idle: watch::Sender::new(true),
            failure: Mutex::new(None),
            #[cfg(test)]
            poisoned: Mutex::new(None),
            handle,
            tracker: TaskTracker::new(),
            runtime: Handle::current(),
            store,
            transport,
            settings,
        }))
    }

    /// How much may be under way now.
    pub(crate) fn limits(&self) -> PipelineLimits {
        self.handle.limits.now(&self.settings.pipeline)
    }

    /// The live numbers.
    pub(crate) fn counters(&self) -> &Counters {
        &self.handle.counters
    }

    /// Runs work on the runtime, tracked; dropped unfinished when the grace is over.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let abandon = self.abandon.clone();
        let bounded = async move {
            tokio::select! {
                biased;
                () = abandon.cancelled() => {}
                () = work => {}
            }
        };
        self.tracker.spawn_on(bounded, &self.runtime);
    }

    /// Waits until all tracked work has ended. Work may be added meanwhile.
    pub(crate) async fn quiet(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Refreshes the index, for these beans; a panic of it counts as a failure that mends with
    /// time.
    pub(crate) async fn refresh(&self, beans: &[BeanId]) -> Result<Fresh, String> {
        match AssertUnwindSafe(self.freshener.refresh_for(beans)).catch_unwind().await {
            Ok(Ok(fresh)) => {
                self.counters().index_loaded.store(true, Relaxed);
                Ok(fresh)
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(panic) => Err(format!("the index panicked: {}", panic_text(&*panic))),
        }
    }

    /// Pauses until the database answers and the index can be refreshed.
    pub(crate) fn pause(self: &Arc<Self>, error: &str) {
        if !self.gate.close(error) {
            return;
        }
        self.counters().store_reachable.store(false, Relaxed);
        let shared = Arc::clone(self);
        self.spawn(async move {
            let answers = || async { shared.store.probe().await.is_ok() && shared.level().await };
            let mut phase = shared.phase.subscribe();
            tokio::select! {
                // Nobody starts work any more: no reason to hold the drain up.
                _ = phase.wait_for(|phase| *phase == Phase::Draining) => {}
                () = shared.gate.reopen(answers) => {}
            }
        });
    }

    async fn level(&self) -> bool {
        let level = self.refresh(&[]).await;
        self.counters().store_reachable.store(level.is_ok(), Relaxed);
        level.is_ok()
    }

    /// Moves on to a phase of the shutdown.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
        self.bell.ring();
    }

    /// Ends the pipeline with this error; the first one counts.
    pub(crate) fn fail(&self, error: PipelineError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.failed.cancel();
    }

    /// Why it could not go on, if so.
    pub(crate) fn failure(&self) -> Option<PipelineError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Test only: panics when this stage was poisoned.
    #[cfg(test)]
    pub(crate) fn trip(&self, stage: &'static str) {
        let mut poisoned = self.poisoned.lock().unwrap_or_else(PoisonError::into_inner);
        if poisoned.take_if(|name| *name == stage).is_some() {
            drop(poisoned);
            panic!("poisoned: {stage}");
        }
    }
}
