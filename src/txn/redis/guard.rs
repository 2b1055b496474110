//! A lock that is held: its token, its extension, the signal that it is lost, its release.
//!
//! Decides: when a lock counts as lost (Redis says so, or nobody has extended it in time).
//! Never does: stop the work itself; [`LockGuard::while_held`] does for work given to it.

use super::claim::{Claim, Granted};
use super::error::{LinkError, LockError};
use super::events;
use super::fence::FencingToken;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A lock that is held. Release it; dropped, it is released when its keeper gets round to it, and
/// if that fails it expires by itself.
///
/// ```no_run
/// # use cupping::txn::redis::{LockError, RedisLock};
/// # async fn example(lock: RedisLock) -> Result<(), LockError> {
/// let guard = lock.acquire("report", "2024").await?;
/// let lost = guard.lost();
/// tokio::select! {
///     () = async { /* the work */ } => guard.release().await?,
///     () = lost.cancelled() => { /* another may be at work: stop */ }
/// }
/// # Ok(()) }
/// ```
///
/// # Hazards
/// A process can be paused (a full disk, a suspended machine) for longer than the lock lives, and
/// then goes on as if nothing had happened until its timers run. Between those two moments another
/// is at work too. So no check on this side is enough: give [`LockGuard::token`] to whatever
/// stores the result, and let it refuse an older one (see [`super::fence`]).
#[derive(Debug)]
pub struct LockGuard {
    claim: Arc<Claim>,
    token: FencingToken,
    until: watch::Sender<Instant>,
    lost: CancellationToken,
    stop: DropGuard,
    keeper: JoinHandle<Result<bool, LinkError>>,
}

impl LockGuard {
    /// Starts the keeper: it extends the lock each third of `ttl` if `heartbeat`, says when the
    /// lock is lost, and releases it at the end.
    pub(super) fn keep(
        claim: Arc<Claim>,
        granted: Granted,
        ttl: Duration,
        heartbeat: bool,
    ) -> Self {
        let (lost, stop) = (CancellationToken::new(), CancellationToken::new());
        let until = watch::Sender::new(granted.until);
        let keeper = Keeper {
            claim: Arc::clone(&claim),
            ttl,
            every: heartbeat.then_some(ttl / 3),
            until: until.clone(),
            lost: lost.clone(),
        };
        let keeper = tokio::spawn(keeper.run(stop.clone()));
        Self { claim, token: granted.token, until, lost, stop: stop.drop_guard(), keeper }
    }

    /// The fencing token: larger than that of every earlier holder of this lock.
    /// Example: see [`LockGuard`].
    #[must_use]
    pub fn token(&self) -> FencingToken {
        self.token
    }

    /// Scope and resource, for people. Example: see [`LockGuard`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.claim.name
    }

    /// Time left before the lock may expire; zero when it is lost.
    /// Example: see [`LockGuard::extend`].
    #[must_use]
    pub fn remaining(&self) -> Duration {
        if self.lost.is_cancelled() {
            return Duration::ZERO;
        }
        self.until.borrow().saturating_duration_since(Instant::now())
    }

    /// Cancelled when the lock is lost. Never cancelled by a release. Example: see [`LockGuard`].
    #[must_use]
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Extends the lock to at least `ttl` from now; never shortens it.
    ///
    /// ```no_run
    /// # use cupping::txn::redis::{LockError, LockGuard};
    /// # async fn example(guard: LockGuard) -> Result<(), LockError> {
    /// use std::time::Duration;
    ///
    /// for batch in 0..100 {
    ///     if guard.remaining() < Duration::from_secs(10) {
    ///         guard.extend(Duration::from_secs(30)).await?;
    ///     }
    ///     let token = guard.token().number();
    ///     tracing::debug!(batch, lock = guard.name(), token, "generated");
    /// }
    /// guard.release().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`LockError::Lost`] when another has it or it expired; [`LockError::Unavailable`] when Redis
    /// does not answer (the lock is still held for [`LockGuard::remaining`]).
    pub async fn extend(&self, ttl: Duration) -> Result<(), LockError> {
        if self.lost.is_cancelled() {
            return Err(self.claim.lost());
        }
        let extended = self.claim.extend(ttl).await.map_err(|e| self.claim.unavailable(e))?;
        match extended {
            Some(until) => {
                later(&self.until, until);
                Ok(())
            }
            None => {
                lose(&self.claim, &self.lost, "taken");
                Err(self.claim.lost())
            }
        }
    }

    /// Runs work until it ends or the lock is lost, whichever is first; then the work is dropped.
    ///
    /// ```no_run
    /// # use cupping::txn::redis::{LockError, LockGuard};
    /// # async fn example(guard: LockGuard) -> Result<(), LockError> {
    /// let sum = guard.while_held(async { 1 + 1 }).await?;
    /// # assert_eq!(sum, 2); Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`LockError::Lost`].
    pub async fn while_held<T>(&self, work: impl Future<Output = T>) -> Result<T, LockError> {
        tokio::select! {
            biased;
            () = self.lost.cancelled() => Err(self.claim.lost()),
            value = work => Ok(value),
        }
    }

    /// Releases the lock and waits for the keeper to end. Example: see [`LockGuard`].
    ///
    /// # Errors
    /// [`LockError::NotHeld`] when it had been lost: the work may have run beside another's.
    /// [`LockError::Unavailable`] when Redis does not answer; the lock then expires by itself.
    pub async fn release(self) -> Result<(), LockError> {
        let Self { claim, stop, keeper, .. } = self;
        drop(stop);
        match keeper.await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(LockError::NotHeld { name: claim.name.clone() }),
            Ok(Err(source)) => Err(claim.unavailable(source)),
            // The keeper does not panic, so the runtime is going down; so the lock expires.
            Err(_) => Err(claim.lost()),
        }
    }
}

struct Keeper {
    claim: Arc<Claim>,
    ttl: Duration,
    every: Option<Duration>,
    until: watch::Sender<Instant>,
    lost: CancellationToken,
}

impl Keeper {
    /// Ends with the release; says whether the lock was held till then.
    async fn run(self, stop: CancellationToken) -> Result<bool, LinkError> {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.watch() => stop.cancelled().await,
        }
        let released = self.claim.release().await?;
        Ok(released && !self.lost.is_cancelled())
    }

    /// Ends when the lock is lost. Dropping it between a question and its answer is harmless: an
    /// extension is only ever for an owner that still has the lock.
    async fn watch(&self) {
        tokio::select! {
            () = self.expiry() => lose(&self.claim, &self.lost, "expired"),
            () = self.beat() => lose(&self.claim, &self.lost, "taken"),
            () = self.lost.cancelled() => {}
        }
    }

    /// Ends when nobody has extended the lock in time.
    async fn expiry(&self) {
        let mut until = self.until.subscribe();
        loop {
            let deadline = *until.borrow_and_update();
            if tokio::time::timeout_at(deadline, until.changed()).await.is_err() {
                return;
            }
        }
    }

    /// Extends the lock again and again; ends when another has it. An outage of Redis is waited
    /// out: the expiry is the bound.
    async fn beat(&self) {
        let Some(every) = self.every else { return std::future::pending().await };
        loop {
            tokio::time::sleep(every).await;
            match self.claim.extend(self.ttl).await {
                Ok(Some(until)) => later(&self.until, until),
                Ok(None) => return,
                Err(error) => events::beat_failed(&self.claim.name, &error),
            }
        }
    }
}

fn later(until: &watch::Sender<Instant>, candidate: Instant) {
    until.send_if_modified(|until| {
        let rises = candidate > *until;
        *until = candidate.max(*until);
        rises
    });
}

/// Says once that a lock is lost.
fn lose(claim: &Claim, lost: &CancellationToken, reason: &'static str) {
    if !lost.is_cancelled() {
        lost.cancel();
        events::lost(&claim.name, reason);
    }
}
