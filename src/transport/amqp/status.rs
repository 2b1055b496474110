//! Who consumes now, for the readiness probe and for closing.
//!
//! Decides: that consuming works when every source that was started has a live connection.
//! Never does: ask the broker.

use lapin::Connection;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Table = BTreeMap<u64, Option<Arc<Connection>>>;

/// The sources of a transport, by number.
#[derive(Default)]
pub(super) struct Seats {
    table: Mutex<(u64, Table)>,
}

/// One source's entry; gone when dropped.
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
}

impl Seats {
    pub(super) fn reserve(self: &Arc<Self>) -> Seat {
        let mut table = self.table();
        table.0 += 1;
        let number = table.0;
        table.1.insert(number, None);
        Seat { seats: self.clone(), number }
    }

    /// Whether there is a source, and each consumes.
    pub(super) fn all_connected(&self) -> bool {
        let table = self.table();
        let connected =
            |seat: &Option<Arc<Connection>>| seat.as_ref().is_some_and(|c| c.status().connected());
        !table.1.is_empty() && table.1.values().all(connected)
    }

    fn table(&self) -> MutexGuard<'_, (u64, Table)> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    pub(super) fn take(&self, connection: Arc<Connection>) {
        self.seats.table().1.insert(self.number, Some(connection));
    }

    pub(super) fn vacate(&self) {
        self.seats.table().1.insert(self.number, None);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.table().1.remove(&self.number);
    }
}
