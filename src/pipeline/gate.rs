//! The gate: closed while the database is out of reach. Nothing is started or taken meanwhile,
//! and no attempt is counted.
//!
//! Decides: when to pause, how often to look, when to go on. Never does: count an attempt.

use super::stage::Bell;
use crate::resilience::backoff::EqualJitter;
use crate::telemetry::events;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The gate closed again this soon after it opened: the pauses go on growing.
const RELAPSE: Duration = Duration::from_secs(5);

/// Pauses between two looks at a database that does not answer.
const LOOKS: EqualJitter =
    EqualJitter { base: Duration::from_millis(100), multiplier: 2.0, cap: Duration::from_secs(5) };

/// Open or closed.
#[derive(Debug)]
pub(crate) struct Gate {
    open: watch::Sender<bool>,
    bell: Bell,
    /// When it opened last, and how many looks that had taken.
    last: Mutex<Option<(Instant, u32)>>,
}

impl Gate {
    /// An open gate; `bell` rings when it opens or closes.
    pub(crate) fn new(bell: Bell) -> Self {
        Self { open: watch::Sender::new(true), bell, last: Mutex::new(None) }
    }

    /// Whether work may start.
    pub(crate) fn is_open(&self) -> bool {
        *self.open.borrow()
    }

    /// Waits until work may start.
    pub(crate) async fn opened(&self) {
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.expect("self holds the sender");
    }

    /// Closes it. True for the caller that did: it has to [`Gate::reopen`] it.
    pub(crate) fn close(&self, error: &str) -> bool {
        let closed = self.open.send_if_modified(|open| std::mem::replace(open, false));
        if closed {
            events::paused("database", error);
            self.bell.ring();
        }
        closed
    }

    /// Looks, with growing pauses, until `answers` does; then opens the gate.
    pub(crate) async fn reopen<F, Fut>(&self, answers: F)
    where
        F: Fn() -> Fut,
        Fut: Future<Output = bool>,
    {
        let since = Instant::now();
        let mut look = self.relapsed().unwrap_or(0);
        loop {
            look = look.saturating_add(1);
            tokio::time::sleep(LOOKS.delay(look, fastrand::f64())).await;
            if answers().await {
                break;
            }
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), look));
        self.open.send_replace(true);
        events::resumed("database", since.elapsed());
        self.bell.ring();
    }

    fn relapsed(&self) -> Option<u32> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.filter(|(opened, _)| opened.elapsed() < RELAPSE).map(|(_, looks)| looks)
    }
}
