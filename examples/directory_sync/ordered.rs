//! First remedy: the same batches, each with its locks taken in one order, and retried if need be.
//!
//! Decides: the order: groups before users, ids ascending. Never does: change who writes what.

use super::directory::Directory;
use super::jobs::{BATCH, Job};
use cupping::txn::{
    Batch, BatchReport, BodyError, LockPlan, TableRank, Transactor, Tx, TxnOptions, work,
};
use sqlx::Postgres;
use std::sync::Arc;

const GROUP: TableRank = TableRank::new(1, "app_group", "id");
const USER: TableRank = TableRank::new(2, "app_user", "id");

/// One job; the error names the users that could not be written.
pub async fn run(
    transactor: &Transactor<Postgres>,
    directory: &Arc<Directory>,
    job: &Job,
) -> Result<(), String> {
    let (directory, job) = (Arc::clone(directory), Arc::new(job.clone()));
    let Some(users) = job.batch() else {
        let body = work!([directory, job] => |tx: Postgres| { write(tx, directory, &job).await });
        let done = transactor.run("directory_job", &TxnOptions::default(), body).await;
        return done.map_err(|error| error.to_string());
    };
    // A record that the database refuses costs itself, not the forty-nine beside it: the batch is
    // divided until the bad one is alone.
    let batch = Batch { chunk: BATCH, ..Batch::default() };
    let report = transactor
        .run_batch(
            "directory_batch",
            &batch,
            users,
            work!([directory, job] => |tx, users| {
                write(tx, directory, &job.of(&users)).await
            }),
        )
        .await;
    if report.is_complete() { Ok(()) } else { Err(told(&report)) }
}

/// Who was not written, and why.
fn told(report: &BatchReport<i64>) -> String {
    let failed = report.failed.iter().map(|user| format!("user {}: {}", user.item, user.error));
    let stopped = report.stopped.iter().map(|stopped| format!("ended early: {:?}", stopped.error));
    failed.chain(stopped).collect::<Vec<_>>().join("; ")
}

/// Locks all that the job will write, then runs the statements of the old code on the connection
/// of this transaction.
async fn write(
    tx: &mut Tx<Postgres>,
    directory: Arc<Directory>,
    job: &Job,
) -> Result<(), BodyError> {
    let job = job.sorted();
    let plan =
        LockPlan::new().rows(GROUP, job.groups(&directory)).rows(USER, job.users(&directory));
    tx.lock_rows(&plan).await?;
    tx.with_connection(|on| Box::pin(async move { job.run(on, &directory).await })).await
}
