//! The settlement of one delivery: exactly once, or handed back when dropped.
//!
//! Decides: that a second settlement is impossible (the methods consume it) and that a dropped
//! one is handed back and counted. Never does: choose the outcome.

use super::{Failure, TransportError};
use crate::txn::ticket::Ticket;
use async_trait::async_trait;
use std::fmt;
use std::time::Duration;

/// What a settlement came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Settled {
    /// Done, as asked.
    Done,
    /// The queue no longer counts the delivery as ours (connection lost, claim expired): it will
    /// be delivered again.
    Lost,
}

/// How a transport settles one delivery. Implemented by each transport; used by [`Settlement`].
#[async_trait]
pub trait Settle: Send + Sync {
    /// Done: remove it from the queue.
    async fn ack(self: Box<Self>) -> Result<Settled, TransportError>;

    /// Try again after `delay` (step `retry` of the ladder, from 1), with the failure noted.
    async fn retry(
        self: Box<Self>,
        retry: u32,
        delay: Duration,
        failure: Failure,
    ) -> Result<Settled, TransportError>;

    /// Move it to the failed queue, with the failure noted.
    async fn dead_letter(self: Box<Self>, failure: Failure) -> Result<Settled, TransportError>;

    /// Hand it back unstarted, for any worker to take at once; no attempt is counted.
    async fn hand_back(self: Box<Self>) -> Result<Settled, TransportError>;

    /// Hand it back as new, its crash count cleared: it was prefetched beside a killer.
    async fn republish(self: Box<Self>) -> Result<Settled, TransportError>;

    /// The statement that acks it inside the store's own transaction, where the queue is a table
    /// of the same database.
    fn ticket(&self) -> Option<Ticket>;

    /// Tells that the ticket was committed: nothing is left to do.
    fn committed(self: Box<Self>);

    /// Called when dropped unsettled: hand it back without waiting.
    fn abandon(self: Box<Self>);
}

/// Settles one delivery. Dropped unsettled, the delivery goes back to its queue and is counted.
pub struct Settlement(Option<Box<dyn Settle>>);

impl Settlement {
    /// Wraps a transport's way to settle.
    #[must_use]
    pub fn new(settle: Box<dyn Settle>) -> Self {
        Self(Some(settle))
    }

    fn take(mut self) -> Box<dyn Settle> {
        self.0.take().expect("taken only here, by value, or in drop")
    }

    /// Acknowledges.
    ///
    /// # Errors
    /// [`TransportError`] when the queue did not take it; the delivery comes again.
    pub async fn ack(self) -> Result<Settled, TransportError> {
        self.take().ack().await
    }

    /// Sends it up the retry ladder.
    ///
    /// # Errors
    /// [`TransportError`] when the queue did not take it; the delivery comes again.
    pub async fn retry(
        self,
        retry: u32,
        delay: Duration,
        failure: Failure,
    ) -> Result<Settled, TransportError> {
        self.take().retry(retry, delay, failure).await
    }

    /// Moves it to the failed queue.
    ///
    /// # Errors
    /// [`TransportError`] when the queue did not take it; the delivery comes again.
    pub async fn dead_letter(self, failure: Failure) -> Result<Settled, TransportError> {
        self.take().dead_letter(failure).await
    }

    /// Hands it back unstarted.
    ///
    /// # Errors
    /// [`TransportError`] when the queue did not take it; the delivery comes again anyway.
    pub async fn hand_back(self) -> Result<Settled, TransportError> {
        self.take().hand_back().await
    }

    /// Hands it back as new.
    ///
    /// # Errors
    /// [`TransportError`] when the queue did not take it; the delivery comes again anyway.
    pub async fn republish(self) -> Result<Settled, TransportError> {
        self.take().republish().await
    }

    /// The statement that acks it inside the store's transaction, if the queue offers one.
    #[must_use]
    pub fn ticket(&self) -> Option<Ticket> {
        self.0.as_ref().and_then(|settle| settle.ticket())
    }

    /// Ends it after its ticket was committed.
    pub fn committed(self) {
        self.take().committed();
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        if let Some(settle) = self.0.take() {
            crate::telemetry::events::delivery_dropped();
            settle.abandon();
        }
    }
}

impl fmt::Debug for Settlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Settlement(open)" } else { "Settlement(settled)" })
    }
}
