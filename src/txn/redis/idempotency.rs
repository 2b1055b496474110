//! Work done once a key, for callers without a transaction: a webhook, a call to another service.
//!
//! Decides: who works, who waits, who gets the stored result. Never does: make the record and the
//! work one: see the hazards of [`RedisIdempotency`].

use super::error::{LinkError, OnceError};
use super::link::{RedisLink, millis, owner};
use super::scripts::{ABANDON, BEGIN, FINISH, RENEW};
use crate::resilience::backoff::EqualJitter;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::future::Future;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Attempts to store a result that exists: the work is done, so this is worth some patience.
const STORE_ATTEMPTS: u32 = 4;

/// Pauses of a waiting twin, and between attempts to store.
const PAUSE: EqualJitter = EqualJitter {
    base: Duration::from_millis(20),
    multiplier: 2.0,
    cap: Duration::from_millis(500),
};

/// What becomes of a call whose twin is at work.
///
/// ```
/// use cupping::txn::redis::{OnceOptions, Twin};
/// use std::time::Duration;
///
/// assert_eq!(OnceOptions::default().twin, Twin::Wait(Duration::from_secs(10)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twin {
    /// It waits for the twin's result, this long at most.
    Wait(Duration),
    /// It is refused at once.
    Refuse,
}

/// How one piece of work is done once.
///
/// ```
/// use cupping::txn::redis::{OnceOptions, Twin};
///
/// let options = OnceOptions { twin: Twin::Refuse, ..OnceOptions::default() };
/// assert_eq!(options.ttl.as_secs(), 3600);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnceOptions {
    /// How long a result is kept; after that the key is new.
    pub ttl: Duration,
    /// How long others wait for a worker that crashed; a living one renews it.
    pub lease: Duration,
    /// What becomes of a call whose twin is at work.
    pub twin: Twin,
}

impl Default for OnceOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(3600),
            lease: Duration::from_secs(30),
            twin: Twin::Wait(Duration::from_secs(10)),
        }
    }
}

/// A result, and whether this call made it.
///
/// ```
/// use cupping::txn::redis::Once;
///
/// assert_eq!(Once::Replayed("receipt 1").into_value(), "receipt 1");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Once<T> {
    /// This call did the work.
    Fresh(T),
    /// An earlier call did; this is its stored result.
    Replayed(T),
}

impl<T> Once<T> {
    /// The result, whoever made it. Example: see [`Once`].
    pub fn into_value(self) -> T {
        match self {
            Self::Fresh(value) | Self::Replayed(value) => value,
        }
    }
}

/// Idempotency records in Redis. Cheap to clone.
///
/// ```no_run
/// # use cupping::txn::redis::RedisLink;
/// # async fn example(link: RedisLink) -> Result<(), Box<dyn std::error::Error>> {
/// use cupping::txn::redis::{OnceOptions, RedisIdempotency};
///
/// let records = RedisIdempotency::new(link);
/// let body = "{\"amount\": 7}";
/// let receipt = records
///     .once("payments", "delivery-4711", body, &OnceOptions::default(), async || {
///         Ok::<_, std::io::Error>(String::from("receipt 1")) // the effect
///     })
///     .await?
///     .into_value();
/// # drop(receipt); Ok(()) }
/// ```
///
/// # Hazards
/// The record and the work are two things, and a crash can fall between them. What is promised:
/// while Redis keeps its data, no two calls work under one key at a time, and none works after a
/// result was stored, until `ttl` is over. What is not:
/// - A worker that crashes after its effect and before its result is stored leaves a lease that
///   expires, and the next call has the effect again: **at least once**.
/// - A worker that is paused for longer than its lease goes on beside the next one.
/// - A failover or a flush forgets records.
///
/// Where the work is a transaction, store the record in that transaction instead; where it is a
/// call, pass the key on, so that the other side can tell a repetition too.
#[derive(Debug, Clone)]
pub struct RedisIdempotency {
    link: RedisLink,
}

impl RedisIdempotency {
    /// Records on this Redis. Example: see [`RedisIdempotency`].
    #[must_use]
    pub fn new(link: RedisLink) -> Self {
        Self { link }
    }

    /// Does `work` unless a call with the same `scope` and `key` has; answers with the result.
    ///
    /// `fingerprint` says what the key was used for (the request's body, or a digest of it): one
    /// key with two fingerprints is a mistake that is not answered with somebody else's result.
    /// A failed work stores nothing and frees the key. The work is dropped when its lease is lost;
    /// when the call itself is dropped, the lease has to run out before the next call works.
    /// Example: see [`RedisIdempotency`].
    ///
    /// # Errors
    /// [`OnceError`]; each variant says whether the work was done.
    pub async fn once<T, E, F>(
        &self,
        scope: &str,
        key: &str,
        fingerprint: &str,
        options: &OnceOptions,
        work: impl FnOnce() -> F,
    ) -> Result<Once<T>, OnceError<E>>
    where
        T: Serialize + DeserializeOwned,
        E: Error + 'static,
        F: Future<Output = Result<T, E>>,
    {
        let record = Record {
            link: self.link.clone(),
            key: self.link.key("once", scope, key),
            owner: owner(),
        };
        let key = || format!("{scope}:{key}");
        match record.begin(fingerprint, options).await {
            Ok(Begun::Mine) => {}
            Ok(Begun::Done(stored)) => {
                let read = serde_json::from_str(&stored).map(Once::Replayed);
                return read.map_err(|source| OnceError::Unreadable { key: key(), source });
            }
            Ok(Begun::Other) => return Err(OnceError::FingerprintMismatch { key: key() }),
            Ok(Begun::Running) => return Err(OnceError::InProgress { key: key() }),
            Err(source) => return Err(OnceError::Unavailable { key: key(), source }),
        }
        let worked = tokio::select! {
            biased;
            () = record.outlived(options.lease) => None,
            worked = work() => Some(worked),
        };
        match worked {
            None => Err(OnceError::LeaseLost { key: key() }),
            Some(Err(error)) => {
                // If it cannot be freed now, the lease frees it.
                record.abandon().await.ok();
                Err(OnceError::Work(error))
            }
            Some(Ok(value)) => match record.store(&value, options.ttl).await {
                Ok(true) => Ok(Once::Fresh(value)),
                Ok(false) => Err(OnceError::LeaseLost { key: key() }),
                Err(source) => Err(OnceError::NotRecorded { key: key(), source }),
            },
        }
    }
}

/// One owner's view of one record.
struct Record {
    link: RedisLink,
    key: String,
    owner: String,
}

/// What was found.
enum Begun {
    Mine,
    Done(String),
    Other,
    Running,
}

impl Record {
    async fn begin(&self, fingerprint: &str, options: &OnceOptions) -> Result<Begun, LinkError> {
        let patience = match options.twin {
            Twin::Wait(longest) => longest,
            Twin::Refuse => Duration::ZERO,
        };
        let started = Instant::now();
        let mut looks = 0;
        loop {
            let lease = millis(options.lease);
            let arguments = [self.owner.as_str(), fingerprint, lease.as_str()];
            let (state, result): (String, String) =
                self.link.run(&BEGIN, &[&self.key], &arguments).await?;
            match state.as_str() {
                "begun" => return Ok(Begun::Mine),
                "done" => return Ok(Begun::Done(result)),
                "other" => return Ok(Begun::Other),
                _ => {}
            }
            let waited = started.elapsed();
            if waited >= patience {
                return Ok(Begun::Running);
            }
            looks += 1;
            sleep(PAUSE.delay(looks, fastrand::f64()).min(patience - waited)).await;
        }
    }

    /// Renews the lease again and again; ends when it is lost: another has the record, or Redis
    /// has not answered for a whole lease.
    async fn outlived(&self, lease: Duration) {
        let mut until = Instant::now() + lease;
        while Instant::now() < until {
            sleep(lease / 3).await;
            let renewal = Instant::now() + lease;
            let arguments = [self.owner.as_str(), &millis(lease)];
            let keys = [self.key.as_str()];
            let renewed = self.link.run(&RENEW, &keys, &arguments);
            match tokio::time::timeout_at(until, renewed).await {
                Ok(Ok(true)) => until = renewal,
                Ok(Ok(false)) => return,
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }

    /// Stores the result; says whether the record was still this owner's.
    async fn store<T: Serialize>(
        &self,
        value: &T,
        ttl: Duration,
    ) -> Result<bool, Box<dyn Error + Send + Sync>> {
        let json = serde_json::to_string(value)?;
        let ttl = millis(ttl);
        let arguments = [self.owner.as_str(), json.as_str(), ttl.as_str()];
        let mut attempt = 1;
        loop {
            match self.link.run(&FINISH, &[&self.key], &arguments).await {
                Ok(stored) => return Ok(stored),
                Err(error) if attempt < STORE_ATTEMPTS && error.retryability().is_outage() => {
                    sleep(PAUSE.delay(attempt, fastrand::f64())).await;
                    attempt += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn abandon(&self) -> Result<bool, LinkError> {
        self.link.run(&ABANDON, &[&self.key], &[&self.owner]).await
    }
}
