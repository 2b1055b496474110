//! One owner's claim to one lock: what it asks of Redis.
//!
//! Decides: how long an answer can be relied on. Never does: wait for a lock, or renew by itself.

use super::error::{LinkError, LockError};
use super::fence::FencingToken;
use super::link::{RedisLink, millis, owner};
use super::scripts::{ACQUIRE, EXTEND, RELEASE};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long the last fencing token of a resource is remembered. After that the clock alone keeps
/// tokens rising, and a resource that is not used any more costs no memory.
const FENCE_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Fixed part of the allowance for clocks that run at different speeds (as in Redlock); the other
/// part is a hundredth of the time.
const DRIFT: Duration = Duration::from_millis(2);

/// A claim. The owner's token makes every request safe to send again.
#[derive(Debug)]
pub(super) struct Claim {
    link: RedisLink,
    lock: String,
    fence: String,
    owner: String,
    /// Scope and resource, for people.
    pub(super) name: String,
}

/// What a lock that was granted comes with.
pub(super) struct Granted {
    pub(super) token: FencingToken,
    /// Until when it is certainly held.
    pub(super) until: Instant,
}

impl Claim {
    pub(super) fn new(link: &RedisLink, scope: &str, resource: &str) -> Self {
        let lock = link.key("lock", scope, resource);
        let fence = format!("{lock}:fence");
        let name = format!("{scope}:{resource}");
        Self { link: link.clone(), lock, fence, owner: owner(), name }
    }

    /// Takes the lock if nobody else has it.
    pub(super) async fn take(&self, ttl: Duration) -> Result<Option<Granted>, LinkError> {
        let keys = [self.lock.as_str(), self.fence.as_str()];
        let (ttl_ms, kept) = (millis(ttl), millis(FENCE_KEPT.max(ttl)));
        // From before the question: Redis counts from some moment between it and the answer.
        let until = relied_on(Instant::now(), ttl);
        let arguments = [self.owner.as_str(), ttl_ms.as_str(), kept.as_str()];
        let (granted, token): (bool, i64) = self.link.run(&ACQUIRE, &keys, &arguments).await?;
        let token = FencingToken::new(token.unsigned_abs());
        Ok(granted.then_some(Granted { token, until }))
    }

    /// Extends the lock if it is this owner's; says until when.
    pub(super) async fn extend(&self, ttl: Duration) -> Result<Option<Instant>, LinkError> {
        let until = relied_on(Instant::now(), ttl);
        let arguments = [self.owner.as_str(), &millis(ttl)];
        let held: bool = self.link.run(&EXTEND, &[&self.lock], &arguments).await?;
        Ok(held.then_some(until))
    }

    /// Frees the lock if it is this owner's; says whether it was.
    pub(super) async fn release(&self) -> Result<bool, LinkError> {
        self.link.run(&RELEASE, &[&self.lock], &[&self.owner]).await
    }

    pub(super) fn lost(&self) -> LockError {
        LockError::Lost { name: self.name.clone() }
    }

    pub(super) fn unavailable(&self, source: LinkError) -> LockError {
        LockError::Unavailable { name: self.name.clone(), source }
    }
}

/// Frees the lock when an acquisition is given up after it was asked for: it may have been granted.
pub(super) struct Undo(Option<Arc<Claim>>);

impl Undo {
    pub(super) fn of(claim: &Arc<Claim>) -> Self {
        Self(Some(Arc::clone(claim)))
    }

    /// The lock is somebody's to keep, or was not granted.
    pub(super) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(claim) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // Nobody waits for it: it ends within the bound of one call, and if it fails the lock
            // expires by itself.
            runtime.spawn(async move {
                let (lock, owner) = (claim.lock.as_str(), claim.owner.as_str());
                claim.link.run_uncounted::<bool>(&RELEASE, &[lock], &[owner]).await
            });
        }
    }
}

/// Until when a lock asked for at `asked` is held, even if Redis's clock is a little faster.
fn relied_on(asked: Instant, ttl: Duration) -> Instant {
    // A lock for ever is one for a month here: far beyond any work, and no overflow.
    let ttl = ttl.min(FENCE_KEPT);
    asked + ttl.saturating_sub(ttl / 100).saturating_sub(DRIFT)
}
