//! The way to one Redis: a connection that many share, a bound on every call, a breaker around it.
//!
//! Decides: when to connect anew, and when a call is over. Never does: wait for a Redis that is
//! known to be down (that is the breaker's), or repeat a call beyond one broken connection.
//!
//! The connection manager of the crate is not used: it answers the first call after an outage with
//! the error of its last attempt to connect, and that call would be the breaker's only probe.

use super::super::breaker::Breaker;
use super::error::LinkError;
use crate::resilience::breaker::BreakerSettings;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, Script};
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How Redis is talked to.
///
/// ```
/// use cupping::txn::redis::RedisSettings;
///
/// let settings = RedisSettings { namespace: "planner".into(), ..RedisSettings::default() };
/// assert_eq!(settings.name, "redis");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// First part of every key, so that applications can share a Redis.
    pub namespace: String,
    /// The breaker's name, in logs and metrics.
    pub name: &'static str,
    /// Longest call, connecting included.
    pub timeout: Duration,
    /// When the breaker opens and closes.
    pub breaker: BreakerSettings,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            namespace: "cupping".into(),
            name: "redis",
            timeout: Duration::from_secs(2),
            breaker: BreakerSettings::default(),
        }
    }
}

/// The way to one Redis. Cheap to clone; every clone shares the connection and the breaker.
///
/// ```no_run
/// # fn example() -> Result<(), cupping::txn::redis::LinkError> {
/// use cupping::txn::redis::{RedisLink, RedisSettings};
///
/// let link = RedisLink::new("redis://127.0.0.1:6379/0", RedisSettings::default())?;
/// # drop(link); Ok(()) }
/// ```
#[derive(Clone)]
pub struct RedisLink {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    settings: RedisSettings,
    breaker: Breaker,
    slot: Mutex<Slot>,
    /// Held by the one who connects.
    connecting: tokio::sync::Mutex<()>,
}

/// The connection, if there is one, and the number of it.
#[derive(Default)]
struct Slot {
    connection: Option<MultiplexedConnection>,
    number: u64,
}

impl fmt::Debug for RedisLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("RedisLink").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

impl RedisLink {
    /// Connects when it is first used, so that a Redis that is down does not stop a start.
    /// Example: see [`RedisLink`].
    ///
    /// # Errors
    /// [`LinkError::Url`] when the URL cannot be read.
    pub fn new(url: &str, settings: RedisSettings) -> Result<Self, LinkError> {
        let client = Client::open(url).map_err(|source| LinkError::Url { source })?;
        let breaker = Breaker::new(settings.name, settings.breaker.clone());
        let (slot, connecting) = (Mutex::default(), tokio::sync::Mutex::default());
        Ok(Self { shared: Arc::new(Shared { client, settings, breaker, slot, connecting }) })
    }

    /// The breaker around this Redis.
    ///
    /// ```
    /// # fn example() -> Result<(), cupping::txn::redis::LinkError> {
    /// use cupping::resilience::breaker::BreakerState;
    /// use cupping::txn::redis::{RedisLink, RedisSettings};
    ///
    /// let link = RedisLink::new("redis://127.0.0.1:6379/0", RedisSettings::default())?;
    /// assert_eq!(link.breaker().state(), BreakerState::Closed);
    /// # Ok(()) }
    /// # example().unwrap();
    /// ```
    #[must_use]
    pub fn breaker(&self) -> &Breaker {
        &self.shared.breaker
    }

    /// A key. The braces keep what belongs together in one slot of a cluster, and the length keeps
    /// scope and name apart whatever they contain.
    pub(super) fn key(&self, kind: &str, scope: &str, name: &str) -> String {
        let namespace = &self.shared.settings.namespace;
        format!("{namespace}:{kind}:{{{}:{scope}:{name}}}", scope.len())
    }

    /// Runs a script that may be sent again.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        arguments: &[&str],
    ) -> Result<T, LinkError> {
        let sent = self.run_uncounted(script, keys, arguments);
        Ok(self.shared.breaker.call(sent, LinkError::retryability).await?)
    }

    /// Runs a script past the breaker, for tidying up after a call that was counted.
    pub(super) async fn run_uncounted<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        arguments: &[&str],
    ) -> Result<T, LinkError> {
        let after = self.shared.settings.timeout;
        let number = &mut 0;
        let answered = self.send(script, keys, arguments, number);
        match tokio::time::timeout(after, answered).await {
            Ok(answer) => answer,
            Err(_) => {
                self.forget(*number);
                Err(LinkError::NoAnswer { after })
            }
        }
    }

    /// Sends it; once more when a connection that was there before turns out to be dead.
    async fn send<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        arguments: &[&str],
        number: &mut u64,
    ) -> Result<T, LinkError> {
        let mut invocation = script.prepare_invoke();
        for key in keys {
            invocation.key(*key);
        }
        for argument in arguments {
            invocation.arg(*argument);
        }
        let mut resent = false;
        loop {
            let (mut connection, fresh) = self.connection(number).await?;
            match invocation.invoke_async(&mut connection).await {
                Ok(value) => return Ok(value),
                Err(source) => {
                    let error = LinkError::of(source);
                    if error.retryability().is_outage() {
                        self.forget(*number);
                    }
                    if fresh || resent || !matches!(error, LinkError::Unreachable { .. }) {
                        return Err(error);
                    }
                    resent = true;
                }
            }
        }
    }

    /// The shared connection, made if need be (one caller connects, the others wait for it), and
    /// whether it is new.
    async fn connection(
        &self,
        number: &mut u64,
    ) -> Result<(MultiplexedConnection, bool), LinkError> {
        let there = |number: &mut u64| {
            let slot = self.slot();
            *number = slot.number;
            slot.connection.clone()
        };
        if let Some(connection) = there(number) {
            return Ok((connection, false));
        }
        let _alone = self.shared.connecting.lock().await;
        if let Some(connection) = there(number) {
            return Ok((connection, false));
        }
        // The bound on the whole call is the only one.
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connecting = self.shared.client.get_multiplexed_async_connection_with_config(&config);
        let connection = connecting.await.map_err(LinkError::of)?;
        let mut slot = self.slot();
        slot.number += 1;
        *number = slot.number;
        slot.connection = Some(connection.clone());
        Ok((connection, true))
    }

    /// Drops the connection of that number; a later one stays.
    fn forget(&self, number: u64) {
        let mut slot = self.slot();
        if slot.number == number {
            slot.connection = None;
        }
    }

    /// No step on a slot can be left half done, so a poisoned lock is as good as a whole one.
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.shared.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token that no other owner has: half of it from the system's randomness.
pub(super) fn owner() -> String {
    let system = RandomState::new().build_hasher().finish();
    format!("{system:016x}{:016x}", fastrand::u64(..))
}

/// Milliseconds for Redis: at least one, because it refuses zero.
pub(super) fn millis(duration: Duration) -> String {
    duration.as_millis().clamp(1, 1 << 52).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_different_scopes_never_meet() {
        let link = RedisLink::new("redis://127.0.0.1/", RedisSettings::default()).expect("a URL");
        assert_eq!(link.key("lock", "a:b", "c"), "cupping:lock:{3:a:b:c}");
        assert_ne!(link.key("lock", "a:b", "c"), link.key("lock", "a", "b:c"));
        assert_ne!(link.key("lock", "a", "b"), link.key("once", "a", "b"));
    }

    #[test]
    fn no_two_owners_are_the_same() {
        let owners: std::collections::HashSet<String> = (0..1000).map(|_| owner()).collect();
        assert_eq!(owners.len(), 1000);
        assert!(owners.iter().all(|owner| owner.len() == 32));
    }

    #[test]
    fn a_url_that_cannot_be_read_is_refused_at_once() {
        let error = RedisLink::new("http://127.0.0.1/", RedisSettings::default());
        assert!(matches!(error, Err(LinkError::Url { .. })));
    }

    #[test]
    fn the_debug_form_hides_the_url() {
        let link = RedisLink::new("redis://:secret@127.0.0.1/", RedisSettings::default());
        assert!(!format!("{link:?}").contains("secret"));
    }
}
