//! Keeps claims alive, and gives back those of workers that ended.
//!
//! Decides: when claims are renewed and expired ones released: at a third of the visibility
//! timeout; and when a token is too old to claim under. Never does: claim.
//!
//! It outlives the stream until the last of its deliveries is settled, so that what a draining
//! worker still runs is not taken from it.

use super::source::SourceParts;
use super::table::EXPIRY_BATCH;
use crate::transport::TransportError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The name under which a source claims.
///
/// It changes when the source could not renew in time: by then its claims may have been given to
/// others, or to itself again, and a late settlement must not touch the new claim.
#[derive(Debug)]
pub(super) struct ClaimToken {
    state: Mutex<(Arc<str>, Instant)>,
    visibility: Duration,
}

impl ClaimToken {
    pub(super) fn new(visibility: Duration) -> Self {
        Self { state: Mutex::new((fresh(), Instant::now())), visibility }
    }

    fn state(&self) -> MutexGuard<'_, (Arc<str>, Instant)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token to claim under at this time.
    pub(super) fn current(&self, now: Instant) -> Arc<str> {
        let mut state = self.state();
        if now.saturating_duration_since(state.1) * 3 >= self.visibility * 2 {
            *state = (fresh(), now);
        }
        state.0.clone()
    }

    /// Every claim was renewed by a statement sent at this time.
    pub(super) fn renewed(&self, sent: Instant) {
        self.state().1 = sent;
    }
}

fn fresh() -> Arc<str> {
    uuid::Uuid::new_v4().to_string().into()
}

/// Renews and releases until the source has stopped and nothing of it is unsettled.
pub(super) async fn keep(parts: Arc<SourceParts>) {
    let shared = &parts.shared;
    let period = (shared.settings.queue.visibility_timeout / 3).max(Duration::from_millis(1));
    loop {
        let renewed = renew(&parts).await;
        shared.link.observe(&renewed);
        let released = release(&parts).await;
        shared.link.observe(&released);
        if parts.stop.is_cancelled() && parts.ledger.is_empty() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            () = shared.closing.cancelled() => return,
            () = finished(&parts) => return,
        }
    }
}

async fn finished(parts: &SourceParts) {
    parts.stop.cancelled().await;
    parts.ledger.emptied().await;
}

async fn renew(parts: &SourceParts) -> Result<(), TransportError> {
    let sent = Instant::now();
    let (ids, claims) = parts.ledger.held();
    if !ids.is_empty() {
        let visibility = parts.shared.settings.queue.visibility_timeout;
        parts.shared.table.renew(&ids, &claims, visibility).await?;
    }
    parts.token.renewed(sent);
    Ok(())
}

async fn release(parts: &SourceParts) -> Result<(), TransportError> {
    let limit = parts.shared.settings.queue.delivery_limit.get();
    loop {
        let expired = parts.shared.table.expire(limit).await?;
        let all = expired.released + expired.failed;
        if all > 0 {
            tracing::warn!(
                released = expired.released,
                failed = expired.failed,
                "claims of workers that ended were given back"
            );
        }
        if expired.released > 0 {
            parts.shared.wake();
        }
        if all < EXPIRY_BATCH.unsigned_abs() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_changes_when_it_was_not_renewed_in_time() {
        let token = ClaimToken::new(Duration::from_secs(60));
        let start = Instant::now();
        let first = token.current(start);
        assert_eq!(token.current(start + Duration::from_secs(30)), first);
        token.renewed(start + Duration::from_secs(30));
        assert_eq!(token.current(start + Duration::from_secs(60)), first);
        assert_ne!(token.current(start + Duration::from_secs(90)), first);
    }
}
