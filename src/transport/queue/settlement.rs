//! The settlement of one claimed row.
//!
//! Decides: which statement settles it, and that a claim which is no longer ours is `Lost`.
//! Never does: choose the outcome.

use super::Shared;
use super::failure;
use super::ledger::Slot;
use super::table::{FailedRow, RawHeaders, RetryRow};
use crate::telemetry::events;
use crate::transport::settlement::Settled;
use crate::transport::{Failure, Settle, TransportError};
use crate::txn::ticket::Ticket;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

/// A claimed row, to be settled once.
pub(super) struct RowSettlement {
    shared: Arc<Shared>,
    slot: Slot,
    headers: RawHeaders,
    attempt: u32,
}

impl RowSettlement {
    pub(super) fn new(shared: Arc<Shared>, slot: Slot, headers: RawHeaders, attempt: u32) -> Self {
        Self { shared, slot, headers, attempt }
    }

    /// Ends the claim by what the table answered: whether the row was still ours.
    fn end(self, answer: Result<bool, TransportError>) -> Result<Settled, TransportError> {
        self.shared.link.observe(&answer);
        let ours = answer?;
        let tag = u64::try_from(self.slot.id).unwrap_or(0);
        self.slot.clear();
        if ours {
            return Ok(Settled::Done);
        }
        events::settlement_lost(tag);
        Ok(Settled::Lost)
    }

    async fn give_back(self) -> Result<Settled, TransportError> {
        let answer = self.shared.table.hand_back(&[self.slot.id], &self.slot.claim).await;
        let shared = self.shared.clone();
        let settled = self.end(answer.map(|rows| rows > 0));
        shared.wake();
        settled
    }
}

#[async_trait]
impl Settle for RowSettlement {
    async fn ack(self: Box<Self>) -> Result<Settled, TransportError> {
        let answer = self.shared.table.ack(self.slot.id, &self.slot.claim).await;
        self.end(answer)
    }

    async fn retry(
        self: Box<Self>,
        _retry: u32,
        delay: Duration,
        failure: Failure,
    ) -> Result<Settled, TransportError> {
        let row = RetryRow {
            delay,
            headers: failure::retried(&self.headers, self.attempt.saturating_add(1), &failure),
            first_failed_at: failure.first_failed_at,
        };
        let answer = self.shared.table.retry(self.slot.id, &self.slot.claim, row).await;
        let shared = self.shared.clone();
        let settled = self.end(answer);
        // A waiting source learns when the next message falls due.
        shared.wake();
        settled
    }

    async fn dead_letter(self: Box<Self>, failure: Failure) -> Result<Settled, TransportError> {
        let (headers, message) = failure::failed(&self.headers, self.slot.lane.name(), &failure);
        let row = FailedRow {
            headers,
            attempts: failure.attempts,
            class: failure.class,
            sqlstate: failure.sqlstate,
            message,
            first_failed_at: failure.first_failed_at,
            failed_at: failure.last_failed_at,
        };
        let answer = self.shared.table.dead_letter(self.slot.id, &self.slot.claim, row).await;
        self.end(answer)
    }

    async fn hand_back(self: Box<Self>) -> Result<Settled, TransportError> {
        (*self).give_back().await
    }

    async fn republish(self: Box<Self>) -> Result<Settled, TransportError> {
        let answer = self.shared.table.republish(self.slot.id, &self.slot.claim).await;
        let shared = self.shared.clone();
        let settled = self.end(answer);
        shared.wake();
        settled
    }

    fn ticket(&self) -> Option<Ticket> {
        Some(Ticket {
            statement: self.shared.ticket.clone(),
            ids: vec![self.slot.id],
            claim: self.slot.claim.clone(),
        })
    }

    fn committed(self: Box<Self>) {
        self.slot.clear();
    }

    fn abandon(self: Box<Self>) {
        let shared = self.shared.clone();
        shared.tasks.spawn_on(
            async move {
                if let Err(error) = (*self).give_back().await {
                    tracing::warn!(%error, "a dropped message is redelivered later");
                }
            },
            &shared.runtime,
        );
    }
}
