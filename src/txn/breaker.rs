//! The circuit breaker that many callers share, around a pool, Redis, or any other server.
//!
//! Decides: nothing of its own; it gives [`BreakerMachine`] a clock, a lock, a log and numbers.
//! Never does: call the server, or retry.

mod events;

use crate::resilience::breaker::{
    Admission, BreakerMachine, BreakerSettings, BreakerState, Settlement,
};
use crate::resilience::retryability::{Reason, Retryability};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A circuit breaker that many callers share. Cheap to clone; every clone is the same breaker.
///
/// ```
/// use cupping::resilience::breaker::BreakerSettings;
/// use cupping::resilience::retryability::{Reason, Retryability};
/// use cupping::txn::Breaker;
///
/// let breaker = Breaker::new("database", BreakerSettings { failures: 2, ..Default::default() });
/// for _ in 0..2 {
///     let permit = breaker.admit().expect("closed");
///     permit.settle(Retryability::Transient(Reason::Connection));
/// }
/// let refused = breaker.admit().expect_err("two failures opened it");
/// assert!(refused.to_string().starts_with("database is out of reach"));
/// ```
///
/// # Hazards
/// One breaker a server. Its name is a metric label: two breakers of one name write the same
/// series. Do not settle a permit by an error that came from the breaker itself.
#[derive(Debug, Clone)]
pub struct Breaker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: &'static str,
    origin: Instant,
    machine: Mutex<BreakerMachine>,
}

/// The breaker is open: the call was not made.
///
/// ```
/// use cupping::txn::BreakerOpen;
/// use std::time::Duration;
///
/// let open = BreakerOpen { name: "database", retry_after: Duration::from_secs(60) };
/// assert!(open.to_string().contains("tried again in 60s"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name} is out of reach and its circuit breaker is open, so it was not called; \
     it is tried again in {retry_after:?}"
)]
pub struct BreakerOpen {
    /// The breaker's name.
    pub name: &'static str,
    /// How long until it is worth asking again.
    pub retry_after: Duration,
}

impl BreakerOpen {
    /// An outage: pause, then try again.
    ///
    /// ```
    /// use cupping::txn::BreakerOpen;
    ///
    /// let refused = BreakerOpen { name: "redis", retry_after: Default::default() };
    /// assert!(refused.retryability().is_outage());
    /// ```
    #[must_use]
    pub fn retryability(&self) -> Retryability {
        Retryability::Transient(Reason::Connection)
    }
}

/// Why [`Breaker::call`] has no result.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use cupping::resilience::breaker::BreakerSettings;
/// use cupping::resilience::retryability::{Reason, Retryability};
/// use cupping::txn::Breaker;
/// use cupping::txn::breaker::CallError;
/// use std::io;
///
/// let breaker = Breaker::new("files", BreakerSettings { failures: 1, ..Default::default() });
/// let lost = |_: &io::Error| Retryability::Transient(Reason::Connection);
/// let reset = || async { Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionReset)) };
/// assert!(matches!(breaker.call(reset(), lost).await, Err(CallError::Failed(_))));
/// assert!(matches!(breaker.call(reset(), lost).await, Err(CallError::Open(_))));
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<E: std::error::Error + 'static> {
    /// The breaker is open: the call was not made.
    #[error(transparent)]
    Open(#[from] BreakerOpen),
    /// The call was made and failed.
    #[error(transparent)]
    Failed(E),
}

impl Breaker {
    /// A closed breaker. `name` is used in logs and as a metric label. Example: see [`Breaker`].
    #[must_use]
    pub fn new(name: &'static str, settings: BreakerSettings) -> Self {
        events::state(name, BreakerState::Closed);
        let machine = Mutex::new(BreakerMachine::new(settings));
        Self { shared: Arc::new(Shared { name, origin: Instant::now(), machine }) }
    }

    /// Its name. Example: see [`Breaker::state`].
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.shared.name
    }

    /// Where it stands now. One whose open time is over says `Open` until somebody asks to call.
    ///
    /// ```
    /// use cupping::resilience::breaker::BreakerState;
    /// use cupping::txn::Breaker;
    ///
    /// let breaker = Breaker::new("mail", Default::default());
    /// assert_eq!((breaker.name(), breaker.state()), ("mail", BreakerState::Closed));
    /// ```
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.machine().state()
    }

    /// Asks to make one call; settle the permit by how it went. Example: see [`Breaker`].
    ///
    /// # Errors
    /// [`BreakerOpen`] while it is open, or half-open with every probe under way.
    pub fn admit(&self) -> Result<Permit, BreakerOpen> {
        let name = self.shared.name;
        let now = self.shared.origin.elapsed();
        let admitted = {
            let mut machine = self.machine();
            let (before, admitted) = (machine.state(), machine.admit(now));
            // Told under the lock, so that the gauge never shows two changes in the wrong order.
            if before != machine.state() {
                events::transition(name, machine.state());
            }
            admitted
        };
        match admitted {
            Ok(admission) => Ok(Permit { breaker: self.clone(), admission: Some(admission) }),
            Err(retry_after) => {
                events::rejected(name, retry_after);
                Err(BreakerOpen { name, retry_after })
            }
        }
    }

    /// Makes a call if the breaker admits it, and settles by the result: `classify` says what an
    /// error means. A call that is dropped half-way settles nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use cupping::resilience::retryability::{Reason, Retryability};
    /// use cupping::txn::Breaker;
    ///
    /// let breaker = Breaker::new("files", Default::default());
    /// let lost = |_: &std::io::Error| Retryability::Transient(Reason::Connection);
    /// let read = breaker.call(async { Ok(7) }, lost).await;
    /// assert_eq!(read.expect("the call succeeds"), 7);
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CallError::Open`] when it was not made, [`CallError::Failed`] when it failed.
    pub async fn call<T, E>(
        &self,
        operation: impl Future<Output = Result<T, E>>,
        classify: impl FnOnce(&E) -> Retryability,
    ) -> Result<T, CallError<E>>
    where
        E: std::error::Error + 'static,
    {
        let permit = self.admit()?;
        match operation.await {
            Ok(value) => {
                permit.success();
                Ok(value)
            }
            Err(error) => {
                permit.settle(classify(&error));
                Err(CallError::Failed(error))
            }
        }
    }

    fn conclude(&self, admission: Admission, settlement: Settlement) {
        let now = self.shared.origin.elapsed();
        let mut machine = self.machine();
        if let Some(state) = machine.settle(admission, settlement, now) {
            events::transition(self.shared.name, state);
        }
    }

    /// No step of the machine can be left half done, so a poisoned lock is as good as a whole one.
    fn machine(&self) -> MutexGuard<'_, BreakerMachine> {
        self.shared.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to make one call. Dropped unsettled (the caller was cancelled) it counts neither way
/// and gives its place back.
///
/// ```
/// use cupping::txn::Breaker;
///
/// let breaker = Breaker::new("database", Default::default());
/// let permit = breaker.admit().expect("closed");
/// // … the server answered:
/// permit.success();
/// ```
#[derive(Debug)]
#[must_use = "settle it by how the call went"]
pub struct Permit {
    breaker: Breaker,
    admission: Option<Admission>,
}

impl Permit {
    /// The server answered, be it with an error that it works well enough to find.
    /// Example: see [`Permit`].
    pub fn success(self) {
        self.conclude(Settlement::Success);
    }

    /// The server is out of reach, or has no room.
    ///
    /// ```
    /// use cupping::resilience::breaker::{BreakerSettings, BreakerState};
    /// use cupping::txn::Breaker;
    ///
    /// let breaker = Breaker::new("mail", BreakerSettings { failures: 1, ..Default::default() });
    /// breaker.admit().expect("closed").neutral(); // the call was not made after all
    /// breaker.admit().expect("closed").failure();
    /// assert_eq!(breaker.state(), BreakerState::Open);
    /// ```
    pub fn failure(self) {
        self.conclude(Settlement::Failure);
    }

    /// Nothing was learnt about the server. Example: see [`Permit::failure`].
    pub fn neutral(self) {
        self.conclude(Settlement::Neutral);
    }

    /// Settles by the call's error: only a lost connection and overload are failures of the
    /// server; a deadlock, a serialization failure or a lock timeout is an answer.
    /// Example: see [`Breaker`].
    pub fn settle(self, error: Retryability) {
        self.conclude(Settlement::of(error));
    }

    fn conclude(mut self, settlement: Settlement) {
        if let Some(admission) = self.admission.take() {
            self.breaker.conclude(admission, settlement);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take() {
            self.breaker.conclude(admission, Settlement::Neutral);
        }
    }
}
