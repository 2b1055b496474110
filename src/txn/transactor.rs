//! Where units of work are started: on a pool, under a name, by a deadline.
//!
//! Decides: what the caller is told, and when it stops waiting. Never does: talk to the database
//! (see `unit`).
//!
//! A unit runs in its caller's task, and goes on in one of its own when the caller turns to
//! something else (see `unfinished`). If the caller's future is dropped, or the deadline passes, it
//! is told: it cancels the statement that the server is executing, sends no other, rolls back, and
//! gives its connection back clean.

use super::body::BodyFuture;
use super::breaker::Breaker;
use super::budget::RetryBudget;
use super::dialect::Dialect;
use super::error::TxnError;
use super::lockdep::Attached;
use super::options::TxnOptions;
use super::progress::Progress;
use super::stats::{Stats, Tally};
use super::transaction::Tx;
use super::unfinished::Unfinished;
use super::unit::{self, Unit};
use sqlx::Pool;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::Instrument;

/// How long after the deadline a COMMIT that is under way is waited for.
const COMMIT_GRACE: Duration = Duration::from_secs(5);

/// Runs units of work on a pool. Cheap to clone; clones share their statistics.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cupping::resilience::breaker::BreakerSettings;
/// use cupping::resilience::budget::BudgetSettings;
/// use cupping::txn::{Breaker, RetryBudget, Transactor, TxnOptions, work};
///
/// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
/// # let pool = memory.connect("sqlite::memory:").await?;
/// let transactor = Transactor::new(pool)
///     .named("shop")
///     .with_budget(RetryBudget::new(&BudgetSettings::default()))
///     .with_breaker(Breaker::new("shop_database", BreakerSettings::default()));
/// transactor
///     .run("open_shop", &TxnOptions::default(), work!(|tx| {
///         tx.execute("CREATE TABLE sale (cents INTEGER NOT NULL)").await?;
///         Ok(())
///     }))
///     .await?;
/// let stats = transactor.stats();
/// assert_eq!((stats.total, stats.success_rate()), (1, 1.0));
/// assert_eq!(transactor.pool().size(), 1);
/// # Ok(()) }
/// # #[cfg(not(feature = "sqlite"))]
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct Transactor<DB: Dialect> {
    pub(super) pool: Pool<DB>,
    pub(super) application: Option<Arc<str>>,
    pub(super) tally: Arc<Tally>,
    pub(super) budget: Option<RetryBudget>,
    pub(super) breaker: Option<Breaker>,
    pub(super) lockdep: Attached,
}

impl<DB: Dialect> Clone for Transactor<DB> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            application: self.application.clone(),
            tally: Arc::clone(&self.tally),
            budget: self.budget.clone(),
            breaker: self.breaker.clone(),
            lockdep: self.lockdep.clone(),
        }
    }
}

/// What becomes of a unit that is the victim of a deadlock; see [`Transactor::on_deadlock`].
///
/// ```
/// use cupping::txn::OnDeadlock;
///
/// let policy = OnDeadlock::Ignore; // the only one that is not the default, which is to run again
/// # drop(policy);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDeadlock {
    /// It is given up without an error: its twin has written the same.
    Ignore,
}

/// A transactor whose units are given up when they are the victim of a deadlock; made by
/// [`Transactor::on_deadlock`].
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cupping::txn::{OnDeadlock, Transactor, TxnOptions, work};
///
/// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
/// # let pool = memory.connect("sqlite::memory:").await?;
/// # sqlx::raw_sql("CREATE TABLE device (id INTEGER, seen TEXT)").execute(&pool).await?;
/// let transactor = Transactor::new(pool);
/// let ignoring = transactor.on_deadlock(OnDeadlock::Ignore);
/// let written: Option<()> = ignoring
///     .run("seen", &TxnOptions::default(), work!(|tx| {
///         tx.execute("UPDATE device SET seen = CURRENT_TIMESTAMP").await?;
///         Ok(())
///     }))
///     .await?;
/// assert!(written.is_some(), "nobody was in the way");
/// # Ok(()) }
/// # #[cfg(not(feature = "sqlite"))]
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct Ignoring<'t, DB: Dialect>(&'t Transactor<DB>);

/// Tells the task when the caller's future is dropped.
struct Waiting(Arc<Progress>);

impl Drop for Waiting {
    fn drop(&mut self) {
        // In COMMIT it is too late to give up, and the task ends by itself: nothing to do.
        let _given_up: bool = self.0.abandon();
    }
}

impl<DB: Dialect> Transactor<DB> {
    /// On the caller's own pool, beside whatever else uses it. Example: see [`Transactor`].
    #[must_use]
    pub fn new(pool: Pool<DB>) -> Self {
        Self {
            pool,
            application: None,
            tally: Arc::default(),
            budget: None,
            breaker: None,
            lockdep: Attached::default(),
        }
    }

    /// Under the name of an application (a worker), which the server's views and logs then show
    /// before each transaction's own name (PostgreSQL's `application_name`).
    /// Example: see [`Transactor`].
    #[must_use]
    pub fn named(self, application: &str) -> Self {
        Self { application: Some(application.into()), ..self }
    }

    /// With a budget of retries, shared with whoever else has it. Example: see [`Transactor`].
    #[must_use]
    pub fn with_budget(self, budget: RetryBudget) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// Behind a circuit breaker: while the server is out of reach, units fail at once instead of
    /// waiting for a connection. Conflicts are answers of a server that works, and never count.
    /// Example: see [`Transactor`].
    #[must_use]
    pub fn with_breaker(self, breaker: Breaker) -> Self {
        Self { breaker: Some(breaker), ..self }
    }

    /// The pool. Example: see [`Transactor`].
    #[must_use]
    pub fn pool(&self) -> &Pool<DB> {
        &self.pool
    }

    /// How its units have fared so far. Example: see [`Transactor`].
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.tally.read()
    }

    /// Runs `body` in a transaction and commits it; on a deadlock, a serialization failure, a lock
    /// timeout or a connection lost before COMMIT, rolls back and runs it again.
    ///
    /// `name` is used in logs and metric labels. Write the body with [`crate::txn::work`]; it may
    /// run several times, so it must have no effect outside of the transaction.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use cupping::txn::{BodyError, Transactor, TxnError, TxnOptions, work};
    ///
    /// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    /// # let pool = memory.connect("sqlite::memory:").await?;
    /// let refused = Transactor::new(pool)
    ///     .run("withdraw", &TxnOptions::default(), work!(|tx| {
    ///         tx.execute("CREATE TABLE account (balance INTEGER)").await?;
    ///         Err::<(), _>(BodyError::own("not enough money"))
    ///     }))
    ///     .await;
    /// // Rolled back: there is no table.
    /// assert!(matches!(refused, Err(TxnError::Body { .. })));
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sqlite"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Hazards
    /// Everything that the body waits for besides its transaction (a web request, a mutex, a second
    /// connection) it waits for while it holds locks: do it before, and pass in what came of it.
    ///
    /// # Errors
    /// [`TxnError`]; unless it is `OutcomeUnknown`, nothing was written.
    pub async fn run<T, F>(
        &self,
        name: &'static str,
        options: &TxnOptions,
        body: F,
    ) -> Result<T, TxnError>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx<DB>) -> BodyFuture<'t, T> + Send + Sync + 'static,
    {
        let done = self.start(name, options, body, false).await?;
        Ok(done.expect("only a unit that ignores deadlocks ends without a value"))
    }

    /// For writes that a concurrent twin makes anyway, such as a last-seen timestamp: a unit that
    /// is the victim of a deadlock is given up, logged at info and counted.
    ///
    /// ```no_run
    /// # #[cfg(feature = "mysql")]
    /// # async fn example(pool: sqlx::MySqlPool) -> Result<(), cupping::txn::TxnError> {
    /// use cupping::txn::{OnDeadlock, Transactor, TxnOptions, work};
    ///
    /// let touched = Transactor::new(pool)
    ///     .on_deadlock(OnDeadlock::Ignore)
    ///     .run("last_seen", &TxnOptions::default(), work!(|tx| {
    ///         tx.execute("UPDATE device SET seen = NOW() WHERE id IN (1, 2)").await?;
    ///         Ok(())
    ///     }))
    ///     .await?;
    /// assert!(touched.is_some() || touched.is_none(), "None: a twin was faster");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn on_deadlock(&self, policy: OnDeadlock) -> Ignoring<'_, DB> {
        match policy {
            OnDeadlock::Ignore => Ignoring(self),
        }
    }

    async fn start<T, F>(
        &self,
        name: &'static str,
        options: &TxnOptions,
        body: F,
        ignores_deadlocks: bool,
    ) -> Result<Option<T>, TxnError>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx<DB>) -> BodyFuture<'t, T> + Send + Sync + 'static,
    {
        if let Some(outer) = unit::current() {
            return Err(TxnError::Nested { name, outer });
        }
        let deadline = Instant::now() + options.deadline;
        let progress = Arc::new(Progress::default());
        let _waiting = Waiting(Arc::clone(&progress));
        let unit = Unit {
            transactor: self.clone(),
            name,
            options: options.clone(),
            deadline,
            progress: Arc::clone(&progress),
            ignores_deadlocks,
        };
        let span = tracing::info_span!("transaction", txn = name, db.system = DB::SYSTEM);
        let unit = async move { unit.run(&body).await }.instrument(span);
        let mut unit = Unfinished::new(unit);
        let mut ended = tokio::time::timeout_at(deadline, &mut unit).await;
        if ended.is_err() {
            if progress.abandon() {
                return Err(TxnError::Timeout { name, after: options.deadline });
            }
            ended = tokio::time::timeout(COMMIT_GRACE, &mut unit).await;
        }
        if ended.is_err() && progress.is_committed() {
            // Only its effects are still running.
            ended = Ok(unit.await);
        }
        match ended {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(TxnError::Panicked { name }),
            Err(_) => Err(TxnError::OutcomeUnknown { name, reason: "no answer to COMMIT".into() }),
        }
    }
}

impl<DB: Dialect> Ignoring<'_, DB> {
    /// As [`Transactor::run`]; `None` when the unit was the victim of a deadlock and given up.
    /// Example: see [`Ignoring`].
    ///
    /// # Errors
    /// As [`Transactor::run`], except for deadlocks.
    pub async fn run<T, F>(
        &self,
        name: &'static str,
        options: &TxnOptions,
        body: F,
    ) -> Result<Option<T>, TxnError>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx<DB>) -> BodyFuture<'t, T> + Send + Sync + 'static,
    {
        self.0.start(name, options, body, true).await
    }
}
