//! What a failed attempt comes to.
//!
//! Decides: which error counts (the first one), and whether the unit may be tried again. Never
//! does: try again.

use super::body::{BodyError, Cause};
use super::dialect::Dialect;
use super::error::{TxnError, code_of};
use super::events::{self, Outcome};
use super::unit::Unit;
use crate::resilience::retryability::{Reason, Retryability};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How far apart the server's clock and ours may see one deadline.
const DEADLINE_SLACK: Duration = Duration::from_millis(50);

/// What one attempt came to, when it did not commit.
pub(super) enum Failure {
    /// It may be tried again if attempts and time remain.
    Again(Reason, Arc<dyn Error + Send + Sync>),
    /// It was the victim of a deadlock, and that does not matter.
    Ignored,
    /// It may not.
    Final(TxnError, Outcome),
}

impl<DB: Dialect> Unit<DB> {
    pub(super) fn abandoned(&self) -> Failure {
        let error = TxnError::Timeout { name: self.name, after: self.options.deadline };
        Failure::Final(error, Outcome::Abandoned)
    }

    /// The body failed: by an error of the database, or of its own. If it turned the database's
    /// first error into one of its own, the first error still decides whether to try again.
    pub(super) async fn body(
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
    pub(super) async fn swallowed(
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

    pub(super) async fn database(
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
