//! Resolving an alert: the conflict resolver.
//!
//! Decides: that the first one has it. Never does: trust what was read before the lock.

use crate::schedule::{ALERT, Schedule, Until};
use crate::swap::journal;
use crate::wire::{By, Problem};
use cupping::txn::{LockPlan, work};
use sqlx::Postgres;

impl Schedule {
    /// Marks an alert as resolved by somebody, unless it is resolved already.
    pub async fn resolve(&self, alert: i64, by: &By) -> Result<(), Problem> {
        let person = by.person;
        let body = work!(|tx: Postgres| {
            let locked = tx.lock_rows(&LockPlan::new().rows(ALERT, vec![alert])).await?;
            if !locked.is_complete() {
                return Err(Problem::Conflict(format!("there is no alert {alert}")).into());
            }
            // Read under the lock: whoever waited for it sees what the one before has written.
            let read = "SELECT resolved_by FROM alert WHERE id = $1";
            let (before,): (Option<i64>,) = tx.fetch_one_as(sqlx::query(read).bind(alert)).await?;
            if let Some(other) = before {
                let told = format!("alert {alert} was resolved by person {other} before");
                return Err(Problem::Conflict(told).into());
            }
            let update = "UPDATE alert SET resolved_by = $2 WHERE id = $1";
            tx.execute(sqlx::query(update).bind(alert).bind(person)).await?;
            journal(tx, "resolved", &alert.to_string()).await
        });
        Ok(self.transactor.run("resolve", &Until::of(None).options(), body).await?)
    }
}
