//! The order of the old sync, on the toolkit: for lockdep to look at.
//!
//! Decides: nothing; one job after the other, so that no deadlock happens. Never does: run in
//! production.

use super::directory::Directory;
use super::jobs::Job;
use cupping::txn::{BodyError, Transactor, Tx, TxnError, TxnOptions, work};
use sqlx::Postgres;
use std::sync::Arc;

/// Touches the rows that a job writes, in the order in which the old sync meets them.
pub async fn touch(
    transactor: &Transactor<Postgres>,
    directory: &Directory,
    job: &Job,
) -> Result<(), TxnError> {
    let users = ("UPDATE app_user SET name = name WHERE id = $1", job.users(directory));
    let groups = ("UPDATE app_group SET name = name WHERE id = $1", job.groups(directory));
    let (steps, name) = match job {
        Job::Group(_) => ([groups, users], "old_group"),
        _ => ([users, groups], "old_users"),
    };
    let steps = Arc::new(steps);
    let body = work!([steps] => |tx: Postgres| { update(tx, &*steps).await });
    transactor.run(name, &TxnOptions::default(), body).await
}

async fn update(
    tx: &mut Tx<Postgres>,
    steps: &[(&'static str, Vec<i64>)],
) -> Result<(), BodyError> {
    for (statement, ids) in steps {
        for id in ids {
            tx.execute(sqlx::query(*statement).bind(*id)).await?;
        }
    }
    Ok(())
}
