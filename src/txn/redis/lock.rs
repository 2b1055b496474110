//! The lock: waiting for it, or not.
//!
//! Decides: how long to wait, and how often to look. Never does: queue the waiters: whoever looks
//! first after a release has it.

use super::claim::{Claim, Undo};
use super::error::{LinkError, LockError};
use super::events::{self, Outcome};
use super::guard::LockGuard;
use super::link::RedisLink;
use crate::resilience::backoff::EqualJitter;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How a lock is taken and kept.
///
/// ```
/// use cupping::txn::redis::LockSettings;
/// use std::time::Duration;
///
/// let settings = LockSettings { ttl: Duration::from_secs(10), ..LockSettings::default() };
/// assert!(settings.heartbeat);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockSettings {
    /// How long the lock lives unless it is extended: how long others wait for a crashed holder.
    pub ttl: Duration,
    /// Whether a task extends it to `ttl` again and again until it is released.
    pub heartbeat: bool,
    /// Longest wait for it.
    pub timeout: Duration,
    /// Bound of the first pause between two looks (equal jitter: at least half of it); it doubles.
    pub base_delay: Duration,
    /// Highest bound.
    pub max_delay: Duration,
}

impl Default for LockSettings {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(30),
            heartbeat: true,
            timeout: Duration::from_secs(10),
            base_delay: Duration::from_millis(20),
            max_delay: Duration::from_millis(500),
        }
    }
}

/// Locks on one Redis, each named by a scope (what kind of thing) and a resource (which one).
/// Locks of different names do not exclude each other. Cheap to clone.
///
/// ```no_run
/// # use cupping::txn::redis::{LockError, RedisLink};
/// # async fn example(link: RedisLink) -> Result<(), LockError> {
/// use cupping::txn::redis::{LockSettings, RedisLock};
///
/// let lock = RedisLock::new(link, LockSettings::default());
/// if let Some(guard) = lock.try_acquire("sync", "directory").await? {
///     // nobody else synchronises the directory now
///     guard.release().await?;
/// }
/// # Ok(()) }
/// ```
///
/// # Hazards
/// - It expires. A holder that is paused for longer than `ttl` goes on while another has the lock:
///   fence every write ([`super::fence`]).
/// - Redis replicates after it has answered: a failover may forget a lock that was just granted,
///   and grant it again. Fence every write.
/// - It is not reentrant, and two of them taken in different orders deadlock until a timeout.
#[derive(Debug, Clone)]
pub struct RedisLock {
    link: RedisLink,
    settings: LockSettings,
}

impl RedisLock {
    /// Locks with these settings. Example: see [`RedisLock`].
    #[must_use]
    pub fn new(link: RedisLink, settings: LockSettings) -> Self {
        Self { link, settings }
    }

    /// Takes the lock now, or says `None` when another has it. Example: see [`RedisLock`].
    ///
    /// # Errors
    /// [`LockError::Unavailable`] when Redis does not answer or its breaker is open.
    pub async fn try_acquire(
        &self,
        scope: &str,
        resource: &str,
    ) -> Result<Option<LockGuard>, LockError> {
        let claim = Arc::new(Claim::new(&self.link, scope, resource));
        let granted = self.attempt(&claim).await?;
        events::acquisition(if granted.is_some() { Outcome::Acquired } else { Outcome::Busy });
        Ok(granted)
    }

    /// Takes the lock, and waits for it while another has it. Example: see [`LockGuard`].
    ///
    /// # Errors
    /// [`LockError::Timeout`] when another had it all the time, [`LockError::Unavailable`] when
    /// Redis does not answer or its breaker is open (that is not waited for).
    pub async fn acquire(&self, scope: &str, resource: &str) -> Result<LockGuard, LockError> {
        let LockSettings { timeout, base_delay: base, max_delay: cap, .. } = self.settings;
        let backoff = EqualJitter { base, multiplier: 2.0, cap };
        let claim = Arc::new(Claim::new(&self.link, scope, resource));
        let started = Instant::now();
        let mut looks = 0;
        loop {
            let granted = self.attempt(&claim).await?;
            let waited = started.elapsed();
            if let Some(guard) = granted {
                events::acquisition(Outcome::Acquired);
                events::waited(waited);
                return Ok(guard);
            }
            if waited >= timeout {
                events::acquisition(Outcome::Timeout);
                events::waited(waited);
                return Err(LockError::Timeout { name: claim.name.clone(), waited });
            }
            looks += 1;
            let pause = backoff.delay(looks, fastrand::f64());
            tokio::time::sleep(pause.min(timeout - waited)).await;
        }
    }

    async fn attempt(&self, claim: &Arc<Claim>) -> Result<Option<LockGuard>, LockError> {
        let undo = Undo::of(claim);
        let taken = claim.take(self.settings.ttl).await;
        if matches!(taken, Ok(_) | Err(LinkError::Open(_))) {
            undo.disarm();
        }
        let taken = taken.map_err(|source| {
            events::acquisition(Outcome::Unavailable);
            claim.unavailable(source)
        })?;
        let LockSettings { ttl, heartbeat, .. } = self.settings;
        Ok(taken.map(|granted| LockGuard::keep(Arc::clone(claim), granted, ttl, heartbeat)))
    }
}
