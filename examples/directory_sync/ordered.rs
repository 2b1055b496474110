//! First remedy: the same batches, each with its locks taken in one order, and retried if need be.
//!
//! Decides: the order: groups before users, ids ascending. Never does: change who writes what.

use super::directory::Directory;
use super::jobs::Job;
use cupping::txn::{BodyError, Transactor, Tx, TxnError, TxnOptions, work};
use sqlx::Postgres;
use std::sync::Arc;

/// One batch, one unit of work.
pub async fn run(
    transactor: &Transactor<Postgres>,
    directory: &Arc<Directory>,
    job: Job,
) -> Result<(), TxnError> {
    let (directory, job) = (Arc::clone(directory), Arc::new(job.sorted()));
    let body = work!([directory, job] => |tx: Postgres| { locked(tx, directory, job).await });
    transactor.run("directory_batch", &TxnOptions::default(), body).await
}

async fn locked(
    tx: &mut Tx<Postgres>,
    directory: Arc<Directory>,
    job: Arc<Job>,
) -> Result<(), BodyError> {
    let lock = "SELECT id FROM app_group WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE";
    tx.execute(sqlx::query(lock).bind(job.groups(&directory))).await?;
    let lock = "SELECT id FROM app_user WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE";
    tx.execute(sqlx::query(lock).bind(job.users(&directory))).await?;
    // The statements are those of the old code, on the connection of this transaction.
    tx.with_connection(|on| Box::pin(async move { job.run(on, &directory).await })).await
}
