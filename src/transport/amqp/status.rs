//! Who consumes now, for the readiness probe, and which connections are still being closed.
//!
//! Decides: that consuming works when every source that was started has a live connection; that a
//! connection given up is closed behind its last settlement, by a task that closing the transport
//! waits for. Never does: ask the broker.

use super::line::Line;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

type Table = BTreeMap<u64, Option<Arc<Line>>>;

/// The sources of a transport, by number.
#[derive(Default)]
pub(super) struct Seats {
    table: Mutex<(u64, Table)>,
    endings: TaskTracker,
}

/// One source's entry; gone when dropped.
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
    runtime: Handle,
}

impl Seats {
    /// To be called inside the runtime that the source belongs to.
    pub(super) fn reserve(self: &Arc<Self>) -> Seat {
        let mut table = self.table();
        table.0 += 1;
        let number = table.0;
        table.1.insert(number, None);
        Seat { seats: self.clone(), number, runtime: Handle::current() }
    }

    /// Whether there is a source, and each consumes.
    pub(super) fn all_connected(&self) -> bool {
        let table = self.table();
        let connected = |seat: &Option<Arc<Line>>| seat.as_ref().is_some_and(|l| l.connected());
        !table.1.is_empty() && table.1.values().all(connected)
    }

    /// Waits until every connection that was given up is settled and closed.
    pub(super) async fn closed(&self) {
        self.endings.close();
        self.endings.wait().await;
    }

    fn table(&self) -> MutexGuard<'_, (u64, Table)> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    pub(super) fn take(&self, line: Arc<Line>) {
        self.seats.table().1.insert(self.number, Some(line));
    }

    /// Nothing more is taken from the connection.
    pub(super) fn vacate(&self) {
        let line = self.seats.table().1.insert(self.number, None).flatten();
        self.see_off(line);
    }

    fn see_off(&self, line: Option<Arc<Line>>) {
        if let Some(line) = line {
            self.seats.endings.spawn_on(async move { line.finish().await }, &self.runtime);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let line = self.seats.table().1.remove(&self.number).flatten();
        self.see_off(line);
    }
}
