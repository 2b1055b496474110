//! Counts the statements that are sent, by the event that sqlx logs for each.
//!
//! Decides: what counts (BEGIN and COMMIT too). Never does: print.

use std::sync::atomic::{AtomicU64, Ordering};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static SENT: AtomicU64 = AtomicU64::new(0);

/// Statements sent by this process so far.
pub fn sent() -> u64 {
    SENT.load(Ordering::Relaxed)
}

/// Starts counting.
pub fn count() {
    tracing::subscriber::set_global_default(Counter).expect("nothing else listens in this program");
}

struct Counter;

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn event(&self, _: &Event<'_>) {
        SENT.fetch_add(1, Ordering::Relaxed);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
