//! The schedule as it is: what its parts share.
//!
//! Decides: the order of tables, the limit of a request, and what a client is told of a failure.
//! Never does: start a transaction that is not fenced where the lock of a week is held.

use crate::wire::Problem;
use cupping::resilience::retryability::Retryability;
use cupping::txn::redis::{
    FenceRefused, LockError, LockGuard, LockSettings, RedisLink, RedisLock, RedisSettings, fence,
};
use cupping::txn::{
    BodyError, IdempotencyError, TableRank, Transactor, Tx, TxnError, TxnOptions, VersionConflict,
    Versioned,
};
use sqlx::{PgPool, Postgres};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The longest that any request may take.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The order in which everybody locks rows.
pub const SWAP: TableRank = TableRank::new(1, "swap", "id");
/// See [`SWAP`].
pub const SHIFT: TableRank = TableRank::new(2, "shift", "id");
/// See [`SWAP`].
pub const ALERT: TableRank = TableRank::new(3, "alert", "id");

/// Shifts are changed only as they were seen.
pub const SHIFT_SEEN: Versioned = Versioned { table: "shift", key: "id", version: "version" };

/// For a lock that is held for some milliseconds: whoever waits looks again soon.
pub const BRIEFLY: LockSettings = LockSettings {
    ttl: LIMIT,
    heartbeat: true,
    timeout: LIMIT,
    base_delay: Duration::from_millis(5),
    max_delay: Duration::from_millis(50),
};

/// The schedule in a database, with its locks in Redis.
pub struct Schedule {
    pub(crate) transactor: Transactor<Postgres>,
    pub(crate) link: RedisLink,
    /// Wakes a generation that stalls.
    pub resume: Arc<Notify>,
}

/// When a request has to be over.
#[derive(Clone, Copy)]
pub struct Until(Instant);

impl Until {
    /// From now, for a client that waits so long at most.
    pub fn of(limit_ms: Option<u64>) -> Self {
        Self(Instant::now() + limit_ms.map_or(LIMIT, Duration::from_millis).min(LIMIT))
    }

    /// A unit of work in what is left of the time.
    pub fn options(self) -> TxnOptions {
        let deadline = self.0.saturating_duration_since(Instant::now());
        TxnOptions { deadline, attempts: 5, ..TxnOptions::default() }
    }
}

/// A week whose lock is held.
pub struct HeldWeek {
    pub guard: LockGuard,
    name: Arc<str>,
}

impl HeldWeek {
    /// To be called first in every transaction that writes to the week: refuses it when another
    /// has had the lock since.
    pub fn fence(&self) -> Fence {
        Fence { name: Arc::clone(&self.name), token: self.guard.token() }
    }

    /// Gives the lock back. If it was lost meanwhile nothing is wrong: each write was fenced.
    pub async fn release(self) {
        if let Err(error) = self.guard.release().await {
            tracing::warn!(%error, "lock of the week not released");
        }
    }
}

/// What a transaction of a [`HeldWeek`] needs to be admitted.
#[derive(Clone)]
pub struct Fence {
    name: Arc<str>,
    token: cupping::txn::redis::FencingToken,
}

impl Fence {
    /// See [`HeldWeek::fence`].
    pub async fn admit(&self, tx: &mut Tx<Postgres>) -> Result<(), BodyError> {
        fence(tx, &self.name, self.token).await
    }
}

impl Schedule {
    /// The schedule in a database; its locks are named after `namespace`.
    pub fn new(
        pool: PgPool,
        redis: &str,
        namespace: String,
    ) -> Result<Self, crate::arena::Failure> {
        let settings = RedisSettings { namespace, ..RedisSettings::default() };
        let transactor = Transactor::new(pool).named("schedule");
        Ok(Self { transactor, link: RedisLink::new(redis, settings)?, resume: Arc::default() })
    }

    /// The lock of a week, which every process waits for.
    pub async fn hold(
        &self,
        week: i64,
        settings: LockSettings,
        until: Until,
    ) -> Result<HeldWeek, Problem> {
        let lock = RedisLock::new(self.link.clone(), settings);
        let name = week.to_string();
        let acquired = tokio::time::timeout_at(until.0, lock.acquire("week", &name)).await;
        let guard = acquired.map_err(|_| Problem::Busy("the week is being changed".into()))??;
        Ok(HeldWeek { guard, name: format!("week/{week}").into() })
    }
}

impl From<LockError> for Problem {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Timeout { .. } | LockError::Unavailable { .. } => {
                Self::Busy(error.to_string())
            }
            _ => Self::Conflict(error.to_string()),
        }
    }
}

impl From<TxnError> for Problem {
    fn from(error: TxnError) -> Self {
        match error {
            TxnError::Body { source, .. } => match source.downcast::<Problem>() {
                Ok(problem) => *problem,
                Err(source) if is_conflict(&*source) => Self::Conflict(source.to_string()),
                Err(source) => Self::Failed(source.to_string()),
            },
            error if matches!(error.retryability(), Retryability::Transient(_)) => {
                Self::Busy(error.to_string())
            }
            error => Self::Failed(error.to_string()),
        }
    }
}

fn is_conflict(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.is::<VersionConflict>() || error.is::<FenceRefused>() || error.is::<IdempotencyError>()
}
