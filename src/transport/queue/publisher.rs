//! Publishes into the table: a message is confirmed when its row is committed.
//!
//! Decides: how many rows go into one statement. Never does: encode (see `codec`).

use super::Shared;
use super::table::NewRow;
use crate::transport::{Outgoing, Publisher, TransportError, codec};
use async_trait::async_trait;
use std::sync::Arc;

/// Rows inserted in one statement, at most.
const INSERT_BATCH: usize = 500;

/// Inserts messages.
pub(super) struct QueuePublisher {
    pub(super) shared: Arc<Shared>,
}

#[async_trait]
impl Publisher for QueuePublisher {
    async fn publish(&self, messages: &[Outgoing]) -> Result<(), TransportError> {
        for batch in messages.chunks(INSERT_BATCH) {
            let rows: Vec<NewRow> = batch
                .iter()
                .map(|message| NewRow { lane: message.lane, envelope: codec::encode(message) })
                .collect();
            let inserted = self.shared.table.insert(&rows).await;
            self.shared.link.observe(&inserted);
            inserted?;
            self.shared.wake();
        }
        Ok(())
    }
}
