//! The queue that the settings name, over the database or a broker.
//!
//! Decides: which transport. Never does: consume.

use super::{AppError, Database};
use crate::config::{Config, Topology};
use crate::transport::{Transport, TransportError};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often an emptying queue is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until nothing is waiting, delayed or claimed, and tells `progress` how much is left.
/// Failed messages do not count: nobody works on them.
///
/// # Errors
/// [`TransportError`] when the queue does not answer.
pub async fn wait_until_empty(
    transport: &dyn Transport,
    stop: &CancellationToken,
    mut progress: impl FnMut(u64),
) -> Result<(), TransportError> {
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = look.tick() => {}
        }
        let depth = transport.depth().await?;
        let left = depth.live + depth.bulk + depth.retrying + depth.claimed.unwrap_or(0);
        progress(left);
        if left == 0 {
            return Ok(());
        }
    }
}
