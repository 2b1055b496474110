//! What orders locks, and what that costs: workers that replace overlapping rows, in five forms;
//! and workers that write counters, in four.
//!
//! `cargo bench --bench orders --no-default-features --features txn,postgres`, on the server that
//! `CUPPING_TEST_POSTGRES` names (a database of its own is made and dropped). All forms run in
//! turn, on the same tables, with the server's own `deadlock_timeout`. Read the numbers as ratios
//! within one run.

#[path = "orders/counters.rs"]
mod counters;
#[path = "orders/lists.rs"]
mod lists;
#[path = "orders/server.rs"]
mod server;

use cupping::txn::Transactor;
use server::Server;
use sqlx::Postgres;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Transactions at once.
const WORKERS: usize = 12;
/// How long each form runs in a round.
const FOR: Duration = Duration::from_secs(2);
/// The forms run in turn, so often, so that a slow moment of the machine strikes all of them.
const ROUNDS: u32 = 3;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the workers of one form came to.
#[derive(Debug, Default)]
struct Score {
    committed: AtomicU64,
    failed: AtomicU64,
}

impl Score {
    /// Adds what another round came to.
    fn add(&self, other: &Self) {
        self.committed.fetch_add(other.committed.load(Ordering::Relaxed), Ordering::Relaxed);
        self.failed.fetch_add(other.failed.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Committed a second, over all rounds.
    fn per_second(&self) -> f64 {
        let seconds = (FOR * ROUNDS).as_secs_f64();
        self.committed.load(Ordering::Relaxed) as f64 / seconds
    }

    /// Units that failed for good, or gave up.
    fn failures(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// Has every worker run units until the time is over.
async fn work_for<F>(transactor: &Transactor<Postgres>, unit: F) -> Result<Arc<Score>, Failure>
where
    F: AsyncUnit,
{
    let score = Arc::new(Score::default());
    let numbers = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + FOR;
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (transactor, unit) = (transactor.clone(), unit.clone());
            let (score, numbers) = (Arc::clone(&score), Arc::clone(&numbers));
            tokio::spawn(async move {
                while Instant::now() < until {
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    match unit.run(&transactor, number).await {
                        Ok(()) => score.committed.fetch_add(1, Ordering::Relaxed),
                        Err(_) => score.failed.fetch_add(1, Ordering::Relaxed),
                    };
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await?;
    }
    Ok(score)
}

/// A form of the work.
trait AsyncUnit: Clone + Send + Sync + 'static {
    /// Runs one unit; `number` is no other unit's.
    fn run(
        &self,
        transactor: &Transactor<Postgres>,
        number: u64,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let Ok(url) = std::env::var("CUPPING_TEST_POSTGRES") else {
        println!("not measured: CUPPING_TEST_POSTGRES is unset");
        return Ok(());
    };
    let server = Server::create(&url).await?;
    let timeout = server.setting("deadlock_timeout").await?;
    println!("{WORKERS} workers, {ROUNDS} rounds of {FOR:?} a form, deadlock_timeout {timeout}");
    let result = match lists::compare(&server).await {
        Ok(()) => counters::compare(&server).await,
        Err(error) => Err(error),
    };
    server.drop().await?;
    result
}
