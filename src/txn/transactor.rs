//! Runs a unit of work: begin, body, commit, classify, pause, repeat.
//!
//! Decides: whether a failed attempt is followed by another. Never does: retry a COMMIT whose
//! outcome is unknown, or abort a statement that the server is executing.
//!
//! A unit runs in a spawned task of its own. If the caller's future is dropped, or the deadline
//! passes, the task is told: it sends no further statement, rolls back, and gives its connection
//! back clean. The server's own timeouts lie below the deadline, so a blocked statement ends.

use super::body::{BodyError, BodyFuture, Cause};
use super::dialect::Dialect;
use super::error::{TxnError, code_of};
use super::events::{self, Outcome};
use super::options::TxnOptions;
use super::progress::Progress;
use super::transaction::Tx;
use crate::resilience::retryability::{Reason, Retryability};
use sqlx::Pool;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::Instrument;

/// How long after the deadline a COMMIT that is under way is waited for.
const COMMIT_GRACE: Duration = Duration::from_secs(5);

/// Runs units of work on a pool. Cheap to clone.
#[derive(Debug)]
pub struct Transactor<DB: Dialect> {
    pool: Pool<DB>,
}

impl<DB: Dialect> Clone for Transactor<DB> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone() }
    }
}

/// Tells the task when the caller's future is dropped.
struct Waiting(Arc<Progress>);

impl Drop for Waiting {
    fn drop(&mut self) {
        // In COMMIT it is too late to give up, and the task ends by itself: nothing to do.
        let _given_up: bool = self.0.abandon();
    }
}

/// What one attempt came to, when it did not commit.
enum Failure {
    /// It may be tried again if attempts and time remain.
    Again(Reason, Arc<sqlx::Error>),
    /// It may not.
    Final(TxnError, Outcome),
}

impl<DB: Dialect> Transactor<DB> {
    /// On the caller's own pool.
    #[must_use]
    pub fn new(pool: Pool<DB>) -> Self {
        Self { pool }
    }

    /// The pool.
    #[must_use]
    pub fn pool(&self) -> &Pool<DB> {
        &self.pool
    }

    /// Runs `body` in a transaction and commits it; on a deadlock, a serialization failure, a lock
    /// timeout or a connection lost before COMMIT, rolls back and runs it again.
    ///
    /// `name` is used in logs and metric labels. Write the body with [`crate::txn::work`]; it may
    /// run several times, so it must have no effect outside of the transaction.
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
        let deadline = Instant::now() + options.deadline;
        let progress = Arc::new(Progress::default());
        let _waiting = Waiting(Arc::clone(&progress));
        let unit = Unit {
            pool: self.pool.clone(),
            name,
            options: options.clone(),
            deadline,
            progress: Arc::clone(&progress),
        };
        let mut task = tokio::spawn(async move { unit.run(&body).await }.in_current_span());
        let mut joined = tokio::time::timeout_at(deadline, &mut task).await;
        if joined.is_err() {
            if progress.abandon() {
                return Err(TxnError::Timeout { name, after: options.deadline });
            }
            joined = tokio::time::timeout(COMMIT_GRACE, &mut task).await;
        }
        match joined {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(TxnError::Panicked { name }),
            Err(_) => Err(TxnError::OutcomeUnknown { name, reason: "no answer to COMMIT".into() }),
        }
    }
}

/// One unit of work, inside its task.
struct Unit<DB: Dialect> {
    pool: Pool<DB>,
    name: &'static str,
    options: TxnOptions,
    deadline: Instant,
    progress: Arc<Progress>,
}

impl<DB: Dialect> Unit<DB> {
    async fn run<T, F>(self, body: &F) -> Result<T, TxnError>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx<DB>) -> BodyFuture<'t, T> + Send + Sync + 'static,
    {
        let started = Instant::now();
        let mut attempt = 1;
        let (result, outcome) = loop {
            let (reason, error) = match self.attempt(attempt, body).await {
                Ok(value) => break (Ok(value), Outcome::Committed),
                Err(Failure::Final(error, outcome)) => break (Err(error), outcome),
                Err(Failure::Again(reason, error)) => (reason, error),
            };
            let pause = self.options.pause(attempt, fastrand::f64());
            let late = Instant::now() + pause >= self.deadline;
            if attempt >= self.options.attempts || late {
                break (Err(self.exhausted(attempt, reason, error)), Outcome::Exhausted);
            }
            events::retried(self.name, attempt, self.options.attempts, pause, reason, &error);
            tokio::time::sleep(pause).await;
            attempt += 1;
        };
        events::finished(self.name, outcome, started.elapsed());
        result
    }

    fn exhausted(&self, attempts: u32, reason: Reason, source: Arc<sqlx::Error>) -> TxnError {
        events::exhausted(self.name, attempts, reason, &source);
        TxnError::Exhausted { name: self.name, attempts, reason, source }
    }

    async fn attempt<T, F>(&self, attempt: u32, body: &F) -> Result<T, Failure>
    where
        F: for<'t> Fn(&'t mut Tx<DB>) -> BodyFuture<'t, T> + Send + Sync + 'static,
    {
        let failed = |error| self.database(attempt, Arc::new(error));
        let connection = self.pool.acquire().await.map_err(failed)?;
        if self.progress.is_abandoned() {
            return Err(self.abandoned());
        }
        let options = self.options_for_attempt();
        let mut tx =
            Tx::begin(connection, &options, Arc::clone(&self.progress)).await.map_err(failed)?;
        let value = match body(&mut tx).await {
            Ok(value) => value,
            Err(error) => {
                let first = tx.first_error();
                tx.rollback().await;
                return Err(self.body(attempt, error, first));
            }
        };
        if let Some(first) = tx.first_error() {
            tx.rollback().await;
            self.count_deadlock(attempt, &first);
            return Err(Failure::Final(self.poisoned(&first), Outcome::Failed));
        }
        if !self.progress.start_commit() {
            tx.rollback().await;
            return Err(self.abandoned());
        }
        match tx.commit().await {
            Ok(()) => Ok(value),
            Err((tx, error)) if DB::in_doubt(&error) => {
                drop(tx);
                let reason = error.to_string();
                let error = TxnError::OutcomeUnknown { name: self.name, reason };
                Err(Failure::Final(error, Outcome::Unknown))
            }
            Err((tx, error)) => {
                tx.rollback().await;
                self.progress.commit_failed();
                Err(self.database(attempt, Arc::new(error)))
            }
        }
    }

    /// A statement may not take longer than what is left until the deadline.
    fn options_for_attempt(&self) -> TxnOptions {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let mut options = self.options.clone();
        options.statement_timeout = options.statement_timeout.min(left);
        options
    }

    fn abandoned(&self) -> Failure {
        let error = TxnError::Timeout { name: self.name, after: self.options.deadline };
        Failure::Final(error, Outcome::Abandoned)
    }

    /// The body failed: by an error of the database, or of its own. If it turned the database's
    /// first error into one of its own, the first error still decides whether to try again.
    fn body(&self, attempt: u32, error: BodyError, first: Option<Arc<sqlx::Error>>) -> Failure {
        let name = self.name;
        let error = match (error.0, first) {
            (Cause::Gate(source), _) => TxnError::GateBusy { name, source },
            (Cause::Database(error), None) => return self.database(attempt, error),
            (Cause::Database(_) | Cause::Poisoned, Some(first)) => {
                return self.database(attempt, first);
            }
            (Cause::Own(_), Some(first)) if retried::<DB>(&first).is_some() => {
                return self.database(attempt, first);
            }
            (Cause::Own(source), _) => TxnError::Body { name, source },
            (Cause::LockOrder(message), _) => TxnError::LockOrder { name, message },
            (Cause::Abandoned | Cause::Poisoned, _) => return self.abandoned(),
        };
        Failure::Final(error, Outcome::Failed)
    }

    fn poisoned(&self, first: &sqlx::Error) -> TxnError {
        let (first, code) = (first.to_string(), code_of(first));
        TxnError::Poisoned { name: self.name, first, code }
    }

    fn count_deadlock(&self, attempt: u32, error: &sqlx::Error) {
        if let Some(report) = DB::deadlock(error) {
            events::deadlock(self.name, attempt, &report);
        }
    }

    fn database(&self, attempts: u32, source: Arc<sqlx::Error>) -> Failure {
        self.count_deadlock(attempts, &source);
        if let Some(reason) = retried::<DB>(&source) {
            return Failure::Again(reason, source);
        }
        let (name, retryability) = (self.name, DB::classify(&source));
        let error = TxnError::Database { name, attempts, retryability, source };
        Failure::Final(error, Outcome::Failed)
    }
}

/// Why another attempt at once may succeed, if it may.
fn retried<DB: Dialect>(error: &sqlx::Error) -> Option<Reason> {
    match DB::classify(error) {
        Retryability::Transient(
            reason @ (Reason::Deadlock
            | Reason::Serialization
            | Reason::LockTimeout
            | Reason::Connection),
        ) => Some(reason),
        _ => None,
    }
}
