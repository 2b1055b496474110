//! Third remedy: whoever wants something synced says so in a table, and one writer does it all.
//!
//! Decides: that equal wishes are done once, and that there is one writer, whatever is started.
//! Never does: order locks; one writer alone waits for nobody.

use super::directory::Directory;
use super::jobs::{BATCH, Job};
use cupping::txn::{BodyError, LockKeys, Transactor, Tx, TxnError, TxnOptions, lock_key, work};
use sqlx::{PgPool, Postgres};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What is to be synced, as the table says it: the users of batch 3, group 17.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    kind: &'static str,
    number: i64,
}

/// A process's jobs as wishes; batches are numbered, so that equal wishes look alike.
pub fn wishes(jobs: &[Job]) -> Vec<Wish> {
    let mut numbers = BTreeMap::<&str, i64>::new();
    let wish = |job: &Job| {
        let kind = match job {
            Job::SystemUser => "system_user",
            Job::Users(_) => "users",
            Job::Permissions(_) => "permissions",
            Job::Deactivate(_) => "deactivate",
            Job::Group(group) => return Wish { kind: "group", number: *group },
        };
        let next = numbers.entry(kind).or_default();
        *next += 1;
        Wish { kind, number: *next - 1 }
    };
    jobs.iter().map(wish).collect()
}

/// Says that something is to be synced. One row, no wait.
pub async fn ask(pool: &PgPool, wish: Wish) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO sync_job (kind, number) VALUES ($1, $2)";
    sqlx::query(insert).bind(wish.kind).bind(wish.number).execute(pool).await.map(drop)
}

/// The one who writes.
pub struct Writer {
    pub transactor: Transactor<Postgres>,
    pub directory: Arc<Directory>,
    /// The users that the database had at the start, those to deactivate among them.
    pub stored: Arc<Vec<i64>>,
}

/// Pause when there is nothing to do.
const LOOK_EVERY: Duration = Duration::from_millis(5);

impl Writer {
    /// Works until `all_asked` and the table is empty. Answers how many jobs it ran, and how long
    /// each wish waited until it was fulfilled, in milliseconds.
    pub async fn work(
        self,
        all_asked: watch::Receiver<bool>,
    ) -> Result<(usize, Vec<f64>), TxnError> {
        let (mut jobs, mut waits) = (0, Vec::new());
        loop {
            let last = *all_asked.borrow();
            let fulfilled = self.next().await?;
            if fulfilled.is_empty() && last {
                return Ok((jobs, waits));
            }
            if fulfilled.is_empty() {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
            jobs += 1;
            waits.extend(fulfilled);
        }
    }

    /// Takes the oldest wish, and with it all that are equal; fulfils them once. Answers how long
    /// each has waited.
    async fn next(&self) -> Result<Vec<f64>, TxnError> {
        let (directory, stored) = (Arc::clone(&self.directory), Arc::clone(&self.stored));
        let body =
            work!([directory, stored] => |tx: Postgres| { take(tx, directory, stored).await });
        self.transactor.run("directory_writer", &TxnOptions::default(), body).await
    }
}

async fn take(
    tx: &mut Tx<Postgres>,
    directory: Arc<Directory>,
    stored: Arc<Vec<i64>>,
) -> Result<Vec<f64>, BodyError> {
    // A second writer, started by mistake or by a deployment, waits here for each job's end.
    tx.advisory_xact_locks(&LockKeys::new([lock_key("directory", "writer")])).await?;
    let take = "WITH oldest AS (SELECT kind, number FROM sync_job ORDER BY id LIMIT 1)
                DELETE FROM sync_job j USING oldest
                WHERE j.kind = oldest.kind AND j.number = oldest.number
                RETURNING j.kind, j.number,
                    extract(epoch FROM clock_timestamp() - j.asked_at)::float8 * 1000";
    let taken: Vec<(String, i64, f64)> = tx.fetch_all_as(sqlx::query(take)).await?;
    let Some((kind, number, _)) = taken.first() else { return Ok(Vec::new()) };
    let job = job(kind, *number, &directory, &stored)?;
    // In the transaction that takes the wish: if it fails, the wish is still there.
    tx.with_connection(|on| Box::pin(async move { job.run(on, &directory).await })).await?;
    Ok(taken.into_iter().map(|(.., waited)| waited).collect())
}

fn job(kind: &str, number: i64, of: &Directory, stored: &[i64]) -> Result<Job, BodyError> {
    let batch = usize::try_from(number).unwrap_or_default() * BATCH;
    let users = || of.users.keys().copied().skip(batch).take(BATCH).collect();
    let missing = stored.iter().copied().filter(|id| !of.users.contains_key(id));
    Ok(match kind {
        "system_user" => Job::SystemUser,
        "users" => Job::Users(users()),
        "permissions" => Job::Permissions(users()),
        "deactivate" => Job::Deactivate(missing.skip(batch).take(BATCH).collect()),
        "group" => Job::Group(number),
        other => return Err(BodyError::own(format!("no such kind of job: {other}"))),
    })
}
