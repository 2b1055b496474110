//! Runs a unit of work: begin, body, commit, classify, pause, repeat.
//!
//! Decides: whether a failed attempt is followed by another. Never does: retry a COMMIT whose
//! outcome is unknown.

use super::body::{BodyError, BodyFuture, Cause};
use super::dialect::Dialect;
use super::error::{TxnError, code_of};
use super::events::{self, Outcome};
use super::lockdep::Recorder;
use super::lost_commit::{Verdict, find_out};
use super::options::TxnOptions;
use super::progress::Progress;
use super::transaction::{CommitFailed, Tx};
use super::transactor::Transactor;
use crate::resilience::retryability::{Reason, Retryability};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::Instrument;

/// How far apart the server's clock and ours may see one deadline.
const DEADLINE_SLACK: Duration = Duration::from_millis(50);

tokio::task_local! {
    /// The unit whose body this task is running.
    static CURRENT: &'static str;
}

/// The unit whose body this task is running, if it is running one.
pub(super) fn current() -> Option<&'static str> {
    CURRENT.try_with(|name| *name).ok()
}

/// What one attempt came to, when it did not commit.
enum Failure {
    /// It may be tried again if attempts and time remain.
    Again(Reason, Arc<dyn Error + Send + Sync>),
    /// It was the victim of a deadlock, and that does not matter.
    Ignored,
    /// It may not.
    Final(TxnError, Outcome),
}

/// One unit of work, inside its task.
pub(super) struct Unit<DB: Dialect> {
    pub(super) transactor: Transactor<DB>,
    pub(super) name: &'static str,
    pub(super) options: TxnOptions,
    pub(super) deadline: Instant,
    pub(super) progress: Arc<Progress>,
    pub(super) ignores_deadlocks: bool,
}

impl<DB: Dialect> Unit<DB> {
    /// The body's value; `None` where a deadlock was ignored.
    pub(super) async fn run<T, F>(self, body: &F) -> Result<Option<T>, TxnError>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx<DB>) -> BodyFuture<'t, T> + Send + Sync + 'static,
    {
        let started = Instant::now();
        if let Some(budget) = &self.transactor.budget {
            budget.on_first_attempt();
        }
        let mut attempt = 1;
        let (result, outcome) = loop {
            let span = tracing::debug_span!("attempt", attempt, db.session = tracing::field::Empty);
            let (reason, error) = match self.admitted(attempt, body).instrument(span).await {
                Ok(value) => break (Ok(Some(value)), Outcome::Committed),
                Err(Failure::Ignored) => break (Ok(None), Outcome::Ignored),
                Err(Failure::Final(error, outcome)) => break (Err(error), outcome),
                Err(Failure::Again(reason, error)) => (reason, error),
            };
            let pause = self.options.pause(reason, attempt, fastrand::f64());
            let late = Instant::now() + pause >= self.deadline;
            if attempt >= self.options.attempts || late {
                break (Err(self.exhausted(attempt, reason, error)), Outcome::Exhausted);
            }
            if self.transactor.budget.as_ref().is_some_and(|budget| !budget.try_retry()) {
                break (Err(self.budget_spent(attempt, reason, error)), Outcome::Exhausted);
            }
            let attempts = self.options.attempts;
            events::retried(self.name, attempt, attempts, pause, reason, &*error);
            tokio::time::sleep(pause).await;
            attempt += 1;
        };
        let took = started.elapsed();
        events::finished(self.name, outcome, attempt, took);
        self.transactor.tally.record(outcome == Outcome::Committed, attempt, took);
        result
    }

    fn exhausted(
        &self,
        attempts: u32,
        reason: Reason,
        source: Arc<dyn Error + Send + Sync>,
    ) -> TxnError {
        events::exhausted(self.name, attempts, reason, &*source);
        TxnError::Exhausted { name: self.name, attempts, reason, source }
    }

    fn budget_spent(
        &self,
        attempts: u32,
        reason: Reason,
        source: Arc<dyn Error + Send + Sync>,
    ) -> TxnError {
        events::budget_spent(self.name, attempts, reason);
        TxnError::BudgetSpent { name: self.name, attempts, reason, source }
    }

    /// One attempt, if the circuit breaker lets it through; the breaker is told how it went.
    async fn admitted<T, F>(&self, attempt: u32, body: &F) -> Result<T, Failure>
    where
        F: for<'t> Fn(&'t mut Tx<DB>) -> BodyFuture<'t, T> + Send + Sync + 'static,
    {
        let Some(breaker) = &self.transactor.breaker else {
            return self.attempt(attempt, body).await;
        };
        let permit = breaker.admit().map_err(|source| {
            Failure::Final(TxnError::Refused { name: self.name, source }, Outcome::Refused)
        })?;
        let result = self.attempt(attempt, body).await;
        match &result {
            Ok(_) | Err(Failure::Ignored) => permit.success(),
            Err(Failure::Again(reason, _)) => permit.settle(Retryability::Transient(*reason)),
            Err(Failure::Final(error, _)) => permit.settle(error.retryability()),
        }
        result
    }

    async fn attempt<T, F>(&self, attempt: u32, body: &F) -> Result<T, Failure>
    where
        F: for<'t> Fn(&'t mut Tx<DB>) -> BodyFuture<'t, T> + Send + Sync + 'static,
    {
        let mut tx = match self.begin().await {
            Ok(Some(tx)) => tx,
            Ok(None) => return Err(self.abandoned()),
            Err(error) => return Err(self.database(attempt, Arc::new(error), None).await),
        };
        let session = tx.session();
        tracing::Span::current().record("db.session", session);
        let mut result = CURRENT.scope(self.name, body(&mut tx)).await;
        if result.is_ok()
            && let Err(error) = tx.before_commit().await
        {
            result = Err(error);
        }
        let first = tx.first_error();
        let value = match result {
            Ok(value) if first.is_none() => value,
            Ok(_) => {
                tx.rollback().await;
                return Err(self.swallowed(attempt, first, session).await);
            }
            Err(error) => {
                tx.rollback().await;
                return Err(self.body(attempt, error, first, session).await);
            }
        };
        if !self.progress.start_commit() {
            tx.rollback().await;
            return Err(self.abandoned());
        }
        let effects = match tx.commit().await {
            Ok(committed) => committed.effects,
            Err(failed) if DB::in_doubt(&failed.error) => self.find_out(failed).await?,
            Err(failed) => {
                self.progress.commit_failed();
                return Err(self.database(attempt, Arc::new(failed.error), session).await);
            }
        };
        self.progress.committed();
        effects.run(self.name).await;
        Ok(value)
    }

    /// A transaction on a connection of the pool; `None` when the caller has given up meanwhile.
    ///
    /// A connection that died while it lay idle shows here, before anything was done: the next one
    /// is taken at once, as often as the pool may hold such a one.
    async fn begin(&self) -> Result<Option<Tx<DB>>, sqlx::Error> {
        let mut dead = 0;
        loop {
            match self.begin_on_one().await {
                Err(error)
                    if DB::classify(&error) == Retryability::Transient(Reason::Connection)
                        && dead < self.transactor.pool.options().get_max_connections()
                        && self.transactor.pool.size() > 0 =>
                {
                    dead += 1;
                }
                begun => return begun,
            }
        }
    }

    async fn begin_on_one(&self) -> Result<Option<Tx<DB>>, sqlx::Error> {
        let waiting = Instant::now();
        let mut connection = self.transactor.pool.acquire().await?;
        events::connection_obtained(waiting.elapsed());
        if self.progress.is_abandoned() {
            return Ok(None);
        }
        let label = self.label();
        let (pool, options) = (&self.transactor.pool, self.options_for_attempt());
        let progress = Arc::clone(&self.progress);
        let (name, lockdep) = (self.name, &self.transactor.lockdep);
        let recorder = Recorder::begin::<DB>(lockdep, pool, &mut connection, name).await;
        let mut tx =
            Tx::begin(pool, connection, (name, label.as_deref()), &options, progress).await?;
        tx.recorder = recorder;
        Ok(Some(tx))
    }

    /// What the server's views shall call the transaction; nothing where neither the transactor
    /// has a name nor the unit a label.
    fn label(&self) -> Option<String> {
        let (application, name) = (self.transactor.application.as_deref(), self.name);
        match (application, self.options.label.as_deref()) {
            (None, None) => None,
            (Some(application), None) => Some(format!("{application}/{name}")),
            (None, Some(label)) => Some(format!("{name} {label}")),
            (Some(application), Some(label)) => Some(format!("{application}/{name} {label}")),
        }
    }

    /// A statement may not take longer than what is left until the deadline.
    fn options_for_attempt(&self) -> TxnOptions {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let mut options = self.options.clone();
        options.statement_timeout = options.statement_timeout.min(left);
        options
    }

    /// The answer to COMMIT was lost: the effects, if it turns out to be committed.
    async fn find_out(&self, failed: CommitFailed<DB>) -> Result<super::effects::Effects, Failure> {
        events::commit_lost(self.name, &failed.error);
        let pool = &self.transactor.pool;
        let verdict = find_out(pool, failed.number.as_ref(), failed.witness.as_ref()).await;
        events::commit_resolved(self.name, verdict.label());
        match verdict {
            Verdict::Committed => Ok(failed.effects),
            Verdict::RolledBack => {
                self.progress.commit_failed();
                Err(Failure::Again(Reason::Connection, Arc::new(failed.error)))
            }
            Verdict::Unknown => {
                let reason = failed.error.to_string();
                let error = TxnError::OutcomeUnknown { name: self.name, reason };
                Err(Failure::Final(error, Outcome::Unknown))
            }
        }
    }

    fn abandoned(&self) -> Failure {
        let error = TxnError::Timeout { name: self.name, after: self.options.deadline };
        Failure::Final(error, Outcome::Abandoned)
    }

    /// The body failed: by an error of the database, or of its own. If it turned the database's
    /// first error into one of its own, the first error still decides whether to try again.
    async fn body(
        &self,
        attempt: u32,
        error: BodyError,
        first: Option<Arc<sqlx::Error>>,
        session: Option<u64>,
    ) -> Failure {
        let name = self.name;
        if self.progress.is_abandoned() {
            return self.abandoned();
        }
        let error = match (error.0, first) {
            (Cause::Gate(source), _) => TxnError::GateBusy { name, source },
            (Cause::Database(error), None) => return self.database(attempt, error, session).await,
            (Cause::Database(_) | Cause::Poisoned, Some(first)) => {
                return self.database(attempt, first, session).await;
            }
            (Cause::Own(_) | Cause::Again(..), Some(first))
                if DB::retry_at_once(&first).is_some() =>
            {
                return self.database(attempt, first, session).await;
            }
            (Cause::Again(reason, error), _) => return Failure::Again(reason, error),
            (Cause::Own(source), _) => TxnError::Body { name, source },
            (Cause::LockOrder(message), _) => TxnError::LockOrder { name, message },
            (Cause::Inversion(report), _) => TxnError::LockOrderInversion { name, report },
            (Cause::Abandoned | Cause::Poisoned, _) => return self.abandoned(),
        };
        Failure::Final(error, Outcome::Failed)
    }

    /// The body returned a value although a statement had failed. A conflict is tried again (a
    /// scope cannot absorb one); anything else is a defect of the body.
    async fn swallowed(
        &self,
        attempt: u32,
        first: Option<Arc<sqlx::Error>>,
        session: Option<u64>,
    ) -> Failure {
        let Some(first) = first else { return self.abandoned() };
        if self.progress.is_abandoned() {
            return self.abandoned();
        }
        if DB::retry_at_once(&first).is_some() {
            return self.database(attempt, first, session).await;
        }
        let (first, code) = (first.to_string(), code_of(&first));
        let error = TxnError::Poisoned { name: self.name, first, code };
        Failure::Final(error, Outcome::Failed)
    }

    async fn database(
        &self,
        attempts: u32,
        source: Arc<sqlx::Error>,
        session: Option<u64>,
    ) -> Failure {
        let reason = DB::retry_at_once(&source);
        if reason == Some(Reason::Deadlock) {
            self.tell_deadlock(attempts, &source, session).await;
            if self.ignores_deadlocks {
                events::deadlock_ignored(self.name, attempts);
                return Failure::Ignored;
            }
        }
        if let Some(reason) = reason {
            return Failure::Again(reason, source);
        }
        let (name, retryability) = (self.name, DB::classify(&source));
        // A statement's time was cut to what was left: this is the deadline, seen by the server.
        let timed_out = retryability == Retryability::Transient(Reason::Timeout);
        if timed_out && Instant::now() + DEADLINE_SLACK >= self.deadline {
            return self.abandoned();
        }
        let error = TxnError::Database { name, attempts, retryability, source };
        Failure::Final(error, Outcome::Failed)
    }

    async fn tell_deadlock(&self, attempt: u32, error: &sqlx::Error, session: Option<u64>) {
        let told = match session {
            Some(session) => DB::last_deadlock(&self.transactor.pool, session).await,
            None => None,
        };
        if let Some(report) = told.or_else(|| DB::deadlock(error)) {
            events::deadlock(self.name, attempt, &report);
        }
    }
}
