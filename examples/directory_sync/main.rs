//! Directory sync: several processes bring the same users and groups up to date.
//!
//! Decides: which forms are run from the same start, and what must hold. Never does: write a row.
//!
//! `cargo run --example directory_sync -- --help`. Needs a PostgreSQL server; makes a database of
//! its own and drops it.

#![allow(unreachable_pub, reason = "modules of one example export to one another only")]

mod database;
mod directory;
mod jobs;
mod naive;
mod ordered;
mod partitioned;
mod processes;
mod queued;
mod unordered;

#[path = "../support/arena.rs"]
mod arena;
#[path = "../support/contention.rs"]
mod contention;
#[path = "../support/orders.rs"]
mod orders;
#[path = "../support/promises.rs"]
mod promises;
#[path = "../support/surfaced.rs"]
mod surfaced;
#[path = "../support/table.rs"]
mod table;

use arena::{Arena, Failure};
use clap::Parser;
use contention::{Measured, contend_while};
use cupping::txn::Transactor;
use directory::Directory;
use jobs::Job;
use orders::Orders;
use processes::Process;
use promises::Promises;
use sqlx::postgres::PgPoolOptions;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// A scheduler, a web process and workers sync the same users and groups from a directory: in
/// their own order they deadlock; three remedies do not.
#[derive(Parser)]
struct Arguments {
    /// The server.
    #[arg(
        long,
        env = "CUPPING_TEST_POSTGRES",
        default_value = "postgres://postgres@127.0.0.1/postgres"
    )]
    postgres: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Users in the directory.
    #[arg(long, default_value_t = 5_000)]
    users: i64,
    /// Groups in the directory.
    #[arg(long, default_value_t = 300)]
    groups: i64,
    /// Workers, besides the scheduler and the web process.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Chooses memberships and orders.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What every form starts from.
struct Ground<'a> {
    arena: &'a Arena,
    arguments: &'a Arguments,
    directory: Arc<Directory>,
}

/// The note that tells what lockdep finds.
const CONTRADICTIONS: &str = "contradicting lock orders";

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
    let directory = Directory::generate(arguments.users, arguments.groups, arguments.seed);
    let unknown = directory.unknown_members();
    for (group, user) in &unknown {
        eprintln!("warning: member {user} of group {group} is unknown to the directory; left out");
    }
    let orders = Orders::everywhere();
    let arena = Arena::create(&arguments.postgres, "directory_sync", database::SCHEMA).await?;
    let ground = Ground { arena: &arena, arguments, directory: Arc::new(directory) };
    let done = every_form(&ground).await;
    arena.remove().await?;
    let mut forms = done?;
    let named: Vec<String> = unknown.iter().map(|(g, u)| format!("{u} of group {g}")).collect();
    let named = format!("{}: {}", named.len(), named.join(", "));
    forms[0].notes.push(("members unknown to the directory".into(), named));
    table::print("Directory sync", &forms, arguments.json);
    Ok(judge(&forms, &orders))
}

async fn every_form(ground: &Ground<'_>) -> Result<Vec<Measured>, Failure> {
    Ok(vec![
        before(ground).await?,
        in_order(ground).await?,
        in_parts(ground).await?,
        in_a_queue(ground).await?,
    ])
}

async fn before(ground: &Ground<'_>) -> Result<Measured, Failure> {
    let (processes, deadlocks) = ground.start().await?;
    let (all, directory) = (Arc::clone(&processes), Arc::clone(&ground.directory));
    let operation = move |process: usize, number: usize| {
        let (process, directory) = (all[process].clone(), Arc::clone(&directory));
        async move {
            let Some(job) = process.jobs.get(number) else { return Ok(false) };
            let done = naive::run(&process.pool, &directory, job).await;
            done.map(|()| true).map_err(|error| surfaced::in_full(&error))
        }
    };
    let measured = contend_while("before", processes.len(), operation).await;
    let contradictions = contradictions(&processes, &ground.directory).await?;
    let measured = ground.finish(measured, &processes, deadlocks).await?;
    Ok(match contradictions {
        Some(found) => measured.note(CONTRADICTIONS, found),
        None => measured,
    })
}

/// What lockdep finds in the order of the old sync, one job after the other: no deadlock is needed.
async fn contradictions(
    processes: &[Process],
    directory: &Directory,
) -> Result<Option<usize>, Failure> {
    let orders = Orders::known_bad();
    for process in processes {
        let Some(job) = process.jobs.get(1) else { continue };
        let transactor = orders.watch(process.transactor());
        unordered::touch(&transactor, directory, job).await?;
    }
    Ok(orders.contradictions())
}

async fn in_order(ground: &Ground<'_>) -> Result<Measured, Failure> {
    let (processes, deadlocks) = ground.start().await?;
    let (all, directory) = (Arc::clone(&processes), Arc::clone(&ground.directory));
    let operation = move |process: usize, number: usize| {
        let (process, directory) = (all[process].clone(), Arc::clone(&directory));
        async move {
            let Some(job) = process.jobs.get(number) else { return Ok(false) };
            ordered::run(&process.transactor(), &directory, job).await.map(|()| true)
        }
    };
    let measured = contend_while("ordered batches", processes.len(), operation).await;
    ground.finish(measured, &processes, deadlocks).await
}

async fn in_parts(ground: &Ground<'_>) -> Result<Measured, Failure> {
    let (processes, deadlocks) = ground.start().await?;
    partitioned::prepare(&processes[0].pool).await?;
    let (all, directory) = (Arc::clone(&processes), Arc::clone(&ground.directory));
    let operation = move |process: usize, number: usize| {
        let (process, directory) = (all[process].clone(), Arc::clone(&directory));
        async move {
            let transactor = process.transactor();
            if number == 0 {
                let system = ordered::run(&transactor, &directory, &Job::SystemUser).await;
                return system.map(|()| true);
            }
            let claimed = partitioned::run_next(&transactor, &directory).await;
            claimed.map_err(|error| error.to_string())
        }
    };
    let measured = contend_while("parts by id", processes.len(), operation).await;
    ground.finish(measured, &processes, deadlocks).await
}

async fn in_a_queue(ground: &Ground<'_>) -> Result<Measured, Failure> {
    let (processes, deadlocks) = ground.start().await?;
    let pool = ground.arena.pool(1).await?;
    let writer = queued::Writer {
        transactor: Transactor::new(pool.clone()).named("writer"),
        directory: Arc::clone(&ground.directory),
        stored: Arc::new(database::users_stored(&pool).await?),
    };
    let (all_asked, asked) = watch::channel(false);
    let (started, writer) = (Instant::now(), tokio::spawn(writer.work(asked)));
    let wishes: Vec<_> = processes.iter().map(|p| queued::wishes(&p.jobs)).collect();
    let (all, wishes) = (Arc::clone(&processes), Arc::new(wishes));
    let operation = move |process: usize, number: usize| {
        let wish = wishes[process].get(number).copied();
        let pool = all[process].pool.clone();
        async move {
            let Some(wish) = wish else { return Ok(false) };
            queued::ask(&pool, wish).await.map(|()| true).map_err(|error| error.to_string())
        }
    };
    let measured = contend_while("one writer", processes.len(), operation).await;
    all_asked.send_replace(true);
    let (jobs, mut waits) = writer.await??;
    pool.close().await;
    waits.sort_unstable_by(f64::total_cmp);
    let measured = Measured { wall: started.elapsed(), ..measured }
        .note("jobs that the writer ran", jobs)
        .note("wishes fulfilled", waits.len())
        .note("longest wait of a wish, ms", format!("{:.0}", waits.last().unwrap_or(&0.0)));
    ground.finish(measured, &processes, deadlocks).await
}

impl Ground<'_> {
    /// Ages the tables, and gives each process a pool and its jobs; with the deadlocks so far.
    async fn start(&self) -> Result<(Arc<Vec<Process>>, i64), Failure> {
        let deadlocks = self.arena.deadlocks().await?;
        let pool = self.arena.pool(1).await?;
        database::age(&pool, &self.directory).await?;
        let stored = database::users_stored(&pool).await?;
        pool.close().await;
        let (workers, seed) = (self.arguments.workers, self.arguments.seed);
        let plans = processes::plans(&self.directory, &stored, workers, seed);
        let mut processes = Vec::new();
        for jobs in plans {
            // Hundreds of deadlocks take hundreds of times this.
            let options = self.arena.options().options([("deadlock_timeout", "10ms")]);
            let pool = PgPoolOptions::new().max_connections(2).connect_with(options).await?;
            processes.push(Process { pool, jobs: jobs.into() });
        }
        Ok((Arc::new(processes), deadlocks))
    }

    /// Compares what the form left behind with the directory.
    async fn finish(
        &self,
        measured: Measured,
        processes: &[Process],
        deadlocks_before: i64,
    ) -> Result<Measured, Failure> {
        for process in processes {
            process.pool.close().await;
        }
        let deadlocks = self.arena.deadlocks().await? - deadlocks_before;
        let pool = self.arena.pool(1).await?;
        let differences = database::differences(&pool, &self.directory).await?;
        let system_users = database::system_users(&pool).await?;
        pool.close().await;
        let wall = measured.wall.as_secs_f64();
        let mut measured = Measured { deadlocks, ..measured }
            .note("whole sync, seconds", format!("{wall:.2}"))
            .note("system users", system_users)
            .note("rows unlike the directory", differences.len());
        if let Some(first) = differences.first() {
            measured = measured.note("first such row", first);
        }
        Ok(measured)
    }
}

fn judge(forms: &[Measured], orders: &Orders) -> ExitCode {
    let mut promises = Promises::default();
    let of_the_rest = orders.contradictions().unwrap_or_default();
    promises.hold(of_the_rest == 0, "no order of locks contradicts another after");
    for form in forms {
        let (name, deadlocks) = (&form.form, form.deadlocks);
        if name == "before" {
            promises.hold(deadlocks > 0, "the old sync deadlocks");
            let found = form.notes.iter().find(|(note, _)| note == CONTRADICTIONS);
            let some = found.is_none_or(|(_, found)| found != "0");
            promises.hold(some, "lockdep finds contradicting orders in the old sync");
            continue;
        }
        let errors = form.errors.len();
        promises.hold(deadlocks == 0, format!("{name}: no deadlock (it had {deadlocks})"));
        promises.hold(errors == 0, format!("{name}: no error surfaces ({errors} did)"));
        for (what, wanted) in [("rows unlike the directory", "0"), ("system users", "1")] {
            let found = form.notes.iter().find(|(note, _)| note == what);
            let found = found.map_or("unknown", |(_, value)| value.as_str());
            promises.hold(found == wanted, format!("{name}: {what} {wanted} (it was {found})"));
        }
    }
    promises.verdict()
}
