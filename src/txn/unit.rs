//! Runs a unit of work: begin, body, commit, classify, pause, repeat.
//!
//! Decides: whether a failed attempt is followed by another. Never does: retry a COMMIT whose
//! outcome is unknown.

use super::body::BodyFuture;
use super::dialect::Dialect;
use super::error::TxnError;
use super::events::{self, Outcome};
use super::failure::Failure;
use super::lockdep::Recorder;
use super::lost_commit::{Verdict, find_out};
use super::options::TxnOptions;
use super::progress::Progress;
use super::transaction::{CommitFailed, Tx};
use super::transactor::Transactor;
use crate::resilience::retryability::{Reason, Retryability};
use std::error::Error;
use std::sync::Arc;
use tokio::time::Instant;
use tracing::Instrument;

tokio::task_local! {
    /// The unit whose body this task is running.
    static CURRENT: &'static str;
}

/// The unit whose body this task is running, if it is running one.
pub(super) fn current() -> Option<&'static str> {
    CURRENT.try_with(|name| *name).ok()
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
}
