//! Shared timestamp: requests of many devices mark the same few rows as seen (MariaDB).
//!
//! Decides: which forms are run side by side, and what must hold. Never does: write a row.
//!
//! `cargo run --example shared_timestamp --features mysql -- --help`. Needs a MariaDB server; makes
//! a database of its own and drops it.

#![allow(unreachable_pub, reason = "modules of one example export to one another only")]

mod coalesced;
mod naive;
mod remedies;
mod requests;

#[path = "../support/contention.rs"]
mod contention;
#[path = "../support/mariadb.rs"]
mod mariadb;
#[path = "../support/orders.rs"]
mod orders;
#[path = "../support/promises.rs"]
mod promises;
#[path = "../support/table.rs"]
mod table;

use clap::Parser;
use coalesced::Seen;
use contention::{Measured, contend};
use cupping::txn::{Transactor, forensics};
use mariadb::{Failure, MariaArena};
use orders::Orders;
use promises::Promises;
use requests::Requests;
use sqlx::{MySql, MySqlPool};
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Requests of many devices mark shared rows as seen, each in an order of its own: they deadlock.
/// To ignore that, to retry, or to avoid it, side by side.
#[derive(Parser)]
struct Arguments {
    /// The server; nothing else should run on it, because its counter of deadlocks is read.
    #[arg(long, env = "CUPPING_TEST_MARIADB", default_value = "mysql://root@127.0.0.1/mysql")]
    mariadb: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Where the server's own report of its latest deadlock is saved; else in the folder for
    /// temporary files.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Devices at once.
    #[arg(long, default_value_t = 8)]
    devices: usize,
    /// Requests of each device.
    #[arg(long, default_value_t = 60)]
    requests: usize,
    /// Rows that all devices share.
    #[arg(long, default_value_t = 12)]
    rows: i64,
    /// Chooses the rows of each request.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The note that tells whether a form has lost something.
const UNSEEN: &str = "touched rows not marked as seen";

/// The note that tells what lockdep finds in the forms that write in an order of their own.
const CONTRADICTIONS: &str = "contradicting lock orders";

const SCHEMA: &str = "
    CREATE TABLE thing (id BIGINT PRIMARY KEY, last_seen DATETIME(6) NULL) ENGINE = InnoDB";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match compare(&arguments).await {
        Ok(verdict) => verdict,
        Err(failure) => {
            eprintln!("the example could not be run: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn compare(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let orders = Orders::everywhere();
    let arena = MariaArena::create(&arguments.mariadb, "shared_timestamp", SCHEMA).await?;
    let done = every_form(arguments, &arena).await;
    arena.remove().await?;
    let (forms, status) = done?;
    let elsewhere = || std::env::temp_dir().join("shared_timestamp_innodb_status.txt");
    let report = arguments.report.clone().unwrap_or_else(elsewhere);
    std::fs::write(&report, &status)?;
    // What the command prints of the saved file, by the library.
    let explanation = forensics::explain(forensics::read(status.as_bytes()));
    table::print("Shared timestamp", &forms, arguments.json);
    if !arguments.json {
        println!("\n  cupping deadlocks explain {}\n\n{}", report.display(), explanation.text());
    }
    let mut promises = judge(&forms);
    let of_the_rest = orders.contradictions().unwrap_or_default();
    promises.hold(of_the_rest == 0, "no order of locks contradicts another where it is avoided");
    let told =
        explanation.deadlocks.iter().any(|deadlock| deadlock.report.relation.contains("thing"));
    promises.hold(told, "the server's report tells of a deadlock on the table thing");
    Ok(promises.verdict())
}

/// One form on rows that nobody has seen yet.
struct Ground<'a> {
    arguments: &'a Arguments,
    arena: &'a MariaArena,
    requests: Arc<Requests>,
}

async fn every_form(
    arguments: &Arguments,
    arena: &MariaArena,
) -> Result<(Vec<Measured>, String), Failure> {
    let requests = Arc::new(Requests::generate(arguments.rows, arguments.seed));
    let ground = Ground { arguments, arena, requests };
    let before = ground
        .run("before", |pool, rows| async move {
            naive::touch(&pool, &rows).await.map_err(|error| error.to_string())
        })
        .await?;
    let status = arena.status().await?;
    let ignored = Arc::new(AtomicUsize::new(0));
    let (count, known) = (Arc::clone(&ignored), Orders::known_bad());
    let watch = known.clone();
    let ignore = ground
        .run("ignore", move |pool, rows| {
            let (count, watched) = (Arc::clone(&count), watch.watch(transactor(&pool)));
            async move {
                let written = remedies::ignore(&watched, &rows).await;
                let written = written.map_err(|error| error.to_string())?;
                count.fetch_add(usize::from(!written), Ordering::Relaxed);
                Ok(())
            }
        })
        .await?
        .note("requests that left the writing to their twins", ignored.load(Ordering::Relaxed));
    let watch = known.clone();
    let mut retry = ground
        .run("retry", move |pool, rows| {
            let watched = watch.watch(transactor(&pool));
            async move {
                let done = remedies::retry(&watched, &rows).await;
                done.map_err(|error| error.to_string())
            }
        })
        .await?;
    if let Some(found) = known.contradictions() {
        retry = retry.note(CONTRADICTIONS, found);
    }
    let in_order = ground
        .run("avoid: in order", |pool, rows| async move {
            let done = remedies::in_order(&transactor(&pool), &rows).await;
            done.map_err(|error| error.to_string())
        })
        .await?;
    let stale = ground
        .run("avoid: only if stale", |pool, rows| async move {
            let stale = remedies::stale(&pool, &rows).await.map_err(|error| error.to_string())?;
            let done = remedies::in_order(&transactor(&pool), &stale).await;
            done.map_err(|error| error.to_string())
        })
        .await?;
    let coalesced = coalesced(&ground).await?;
    Ok((vec![before, ignore, retry, in_order, stale, coalesced], status))
}

fn transactor(pool: &MySqlPool) -> Transactor<MySql> {
    Transactor::new(pool.clone())
}

/// Requests only note in memory what was seen; one task writes it down.
async fn coalesced(ground: &Ground<'_>) -> Result<Measured, Failure> {
    let pool = ground.arena.pool(1).await?;
    let seen = Arc::new(Seen::default());
    let (writer, stop) = coalesced::start(Arc::clone(&seen), transactor(&pool));
    let started = Instant::now();
    let mut measured = ground
        .run("avoid: coalesced", move |_, rows| {
            let seen = Arc::clone(&seen);
            async move {
                seen.note(&rows);
                Ok(())
            }
        })
        .await?;
    stop.cancel();
    let transactions = writer.await??;
    measured.wall = started.elapsed();
    measured.notes.clear();
    let measured = ground.with_unseen(measured.note("transactions", transactions), &pool).await?;
    pool.close().await;
    Ok(measured)
}

impl Ground<'_> {
    async fn run<F, Fut>(&self, form: &str, operation: F) -> Result<Measured, Failure>
    where
        F: Fn(MySqlPool, Vec<i64>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send,
    {
        let pool = self.arena.pool(u32::try_from(self.arguments.devices)?).await?;
        requests::reset(&pool, self.arguments.rows).await?;
        let before = self.arena.deadlocks().await?;
        let (requests, shared) = (Arc::clone(&self.requests), pool.clone());
        let touch = move |device, number| operation(shared.clone(), requests.of(device, number));
        let (devices, each) = (self.arguments.devices, self.arguments.requests);
        let measured = contend(form, devices, each, touch).await;
        let deadlocks = self.arena.deadlocks().await? - before;
        let measured = self.with_unseen(Measured { deadlocks, ..measured }, &pool).await?;
        pool.close().await;
        Ok(measured)
    }

    async fn with_unseen(&self, measured: Measured, pool: &MySqlPool) -> Result<Measured, Failure> {
        let asked = (self.arguments.devices, self.arguments.requests);
        let unseen = requests::unseen(pool, &self.requests, asked).await?;
        Ok(measured.note(UNSEEN, unseen))
    }
}

fn judge(forms: &[Measured]) -> Promises {
    let mut promises = Promises::default();
    for form in forms {
        let (name, deadlocks, errors) = (&form.form, form.deadlocks, form.errors.len());
        if name == "before" {
            promises.hold(deadlocks > 0 && errors > 0, "the bare form deadlocks, and it shows");
            continue;
        }
        promises.hold(errors == 0, format!("{name}: no error surfaces ({errors} did)"));
        let unseen = form.notes.iter().find(|(note, _)| note == UNSEEN);
        let lost_none = unseen.is_some_and(|(_, rows)| rows == "0");
        promises.hold(lost_none, format!("{name}: every touched row is marked as seen"));
        if let Some((_, found)) = form.notes.iter().find(|(note, _)| note == CONTRADICTIONS) {
            promises.hold(found != "0", format!("{name}: lockdep finds contradicting orders"));
        }
        if name.starts_with("avoid") {
            promises.hold(deadlocks == 0, format!("{name}: no deadlock (it had {deadlocks})"));
        }
    }
    promises
}
