//! A stream of deliveries from the table.
//!
//! Decides: the order in which claimed rows are handed on. Never does: claim (see `pump`), so that
//! a caller may drop a waiting `next()` at any time and nothing is lost.

use super::Shared;
use super::lanes::{PerLane, Turns};
use super::ledger::{Ledger, Slot};
use super::settlement::RowSettlement;
use super::table::Row;
use crate::transport::{Delivery, Lane, Settlement, Source, TransportError};
use async_trait::async_trait;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A row that is claimed and not handed on yet.
pub(super) struct Held {
    pub(super) row: Row,
    pub(super) slot: Slot,
}

/// Claimed rows between the pump and `next()`; as many as the prefetch allows, no more.
#[derive(Default)]
pub(super) struct Buffer {
    state: Mutex<State>,
    ready: Notify,
}

#[derive(Default)]
struct State {
    lanes: PerLane<VecDeque<Held>>,
    turns: Turns,
    fatal: Option<TransportError>,
}

impl Buffer {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a claimed row.
    pub(super) fn push(&self, held: Held) {
        self.state().lanes.get_mut(held.slot.lane).push_back(held);
        self.ready.notify_one();
    }

    /// Ends the stream with an error.
    pub(super) fn fail(&self, error: TransportError) {
        self.state().fatal = Some(error);
        self.ready.notify_one();
    }

    /// Takes everything back.
    pub(super) fn drain(&self) -> Vec<Held> {
        let mut state = self.state();
        let live = std::mem::take(&mut state.lanes.live);
        let bulk = std::mem::take(&mut state.lanes.bulk);
        live.into_iter().chain(bulk).collect()
    }

    /// Rows waiting on each lane.
    pub(super) fn waiting(&self) -> PerLane<usize> {
        let state = self.state();
        PerLane { live: state.lanes.live.len(), bulk: state.lanes.bulk.len() }
    }

    /// Whether the next delivery should be a bulk one.
    pub(super) fn is_bulk_turn(&self) -> bool {
        self.state().turns.is_bulk_turn()
    }

    fn pop(&self) -> Result<Option<Held>, TransportError> {
        let mut state = self.state();
        if let Some(error) = state.fatal.take() {
            return Err(error);
        }
        let waiting = PerLane { live: state.lanes.live.len(), bulk: state.lanes.bulk.len() };
        let lane = state.turns.pick(waiting);
        Ok(lane.and_then(|lane| state.lanes.get_mut(lane).pop_front()))
    }
}

/// The stream.
pub(super) struct QueueSource {
    pub(super) shared: Arc<Shared>,
    pub(super) buffer: Arc<Buffer>,
    pub(super) stop: CancellationToken,
    pub(super) pump: Option<JoinHandle<()>>,
    /// Ends the pump when the stream is dropped without having been stopped.
    pub(super) _guard: DropGuard,
}

impl QueueSource {
    fn delivery(&self, held: Held) -> Delivery {
        let Held { row, slot } = held;
        let envelope = row.envelope();
        let (lane, tag): (Lane, u64) = (slot.lane, u64::try_from(slot.id).unwrap_or(0));
        Delivery {
            envelope,
            lane,
            attempt: row.attempt,
            crash_count: row.crash_count,
            first_failed_at: row.first_failed_at,
            tag,
            settlement: Settlement::new(Box::new(RowSettlement::new(
                self.shared.clone(),
                slot,
                row.headers,
                row.attempt,
            ))),
        }
    }
}

#[async_trait]
impl Source for QueueSource {
    async fn next(&mut self) -> Result<Option<Delivery>, TransportError> {
        loop {
            if self.stop.is_cancelled() {
                if let Some(pump) = &mut self.pump {
                    // The pump gives back what was not handed on; it ends by itself.
                    if let Err(error) = pump.await {
                        tracing::error!(%error, "queue pump ended abnormally");
                    }
                    self.pump = None;
                }
                return Ok(None);
            }
            if let Some(held) = self.buffer.pop()? {
                return Ok(Some(self.delivery(held)));
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.buffer.ready.notified() => {}
            }
        }
    }
}

/// What the tasks of one source share.
pub(super) struct SourceParts {
    pub(super) shared: Arc<Shared>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) buffer: Arc<Buffer>,
    pub(super) token: super::keeper::ClaimToken,
    pub(super) stop: CancellationToken,
}
