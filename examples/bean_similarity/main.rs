//! Bean similarity: the handler that deadlocked in production, and the service that replaces it.
//!
//! Decides: which forms are run on the same beans, and what must hold. Never does: write a row.
//!
//! `cargo run --example bean_similarity -- --help`. Needs a PostgreSQL server; makes two databases
//! of its own and drops them.

#![allow(unreachable_pub, reason = "modules of one example export to one another only")]

mod catalogue;
mod handler;
mod ordered;
mod service;
mod unordered;

#[path = "../support/arena.rs"]
mod arena;
#[path = "../support/contention.rs"]
mod contention;
#[path = "../support/lock_wait.rs"]
mod lock_wait;
#[path = "../support/orders.rs"]
mod orders;
#[path = "../support/promises.rs"]
mod promises;
#[path = "../support/surfaced.rs"]
mod surfaced;
#[path = "../support/table.rs"]
mod table;

use arena::{Arena, Failure};
use catalogue::Beans;
use clap::Parser;
use contention::{Measured, contend};
use cupping::txn::Transactor;
use lock_wait::LockWait;
use orders::Orders;
use promises::Promises;
use std::process::ExitCode;
use std::sync::Arc;

/// Workers compute the similarities of beans that share regions: the old handler deadlocks, the
/// service does not.
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
    /// Workers at once.
    #[arg(long, default_value_t = 8)]
    workers: usize,
    /// Beans of each worker.
    #[arg(long, default_value_t = 15)]
    beans: usize,
    /// Regions that all the beans share.
    #[arg(long, default_value_t = 12)]
    regions: usize,
    /// Chooses the beans' regions.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The note that tells what lockdep finds.
const CONTRADICTIONS: &str = "contradicting lock orders";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = cupping::app::runtime::block_on(compare(&arguments));
    match done.map_err(Failure::from).and_then(|done| done) {
        Ok(verdict) => verdict,
        Err(failure) => {
            eprintln!("the example could not be run: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn compare(arguments: &Arguments) -> Result<ExitCode, Failure> {
    // The import writes regions, parents first, under an advisory lock of its own.
    let (orders, mut forms) = (Orders::everywhere().guarded("region"), Vec::new());
    let before = Arena::create(&arguments.postgres, "bean_similarity_before", "").await?;
    let measured = old_handlers(arguments, &before).await;
    before.remove().await?;
    forms.extend(measured?);
    let after = Arena::create(&arguments.postgres, "bean_similarity_after", "").await?;
    let measured = the_service(arguments, &after).await;
    after.remove().await?;
    forms.push(measured?);
    table::print("Bean similarity", &forms, arguments.json);
    Ok(judge(&forms, &orders))
}

/// The old handler as it was; and with its regions locked in order, the smallest change that helps.
async fn old_handlers(arguments: &Arguments, arena: &Arena) -> Result<[Measured; 2], Failure> {
    let beans = Beans::create(arena, arguments).await?;
    catalogue::without_the_service(arena).await?;
    let contradictions = contradictions(arena, &beans).await?;
    let workers = arguments.workers;
    let (watch, pool) = (LockWait::watch(arena.options()).await?, beans.pool(arena).await?);
    let operation = {
        let (pool, beans) = (pool.clone(), beans.clone());
        move |worker, number| {
            let (pool, bean) = (pool.clone(), beans.of(worker, number));
            async move { handler::handle(&pool, bean).await.map_err(|e| surfaced::in_full(&e)) }
        }
    };
    let before = contend("before", workers, arguments.beans, operation).await;
    pool.close().await;
    let waited = watch.total().await?;
    let mut before = with_waits(before, waited, arena.deadlocks().await?);
    if let Some(found) = contradictions {
        before = before.note(CONTRADICTIONS, found);
    }

    let (watch, pool) = (LockWait::watch(arena.options()).await?, beans.pool(arena).await?);
    let transactor = Transactor::new(pool.clone());
    let operation = {
        let beans = beans.clone();
        move |worker, number| {
            let (transactor, bean) = (transactor.clone(), beans.of(worker, number));
            async move { ordered::handle(&transactor, bean).await.map_err(|e| e.to_string()) }
        }
    };
    let ordered = contend("regions in order", workers, arguments.beans, operation).await;
    pool.close().await;
    let waited = watch.total().await?;
    let new = arena.deadlocks().await? - before.deadlocks;
    Ok([before, with_waits(ordered, waited, new)])
}

/// What lockdep finds in the old handler, one bean after the other: no deadlock is needed.
async fn contradictions(arena: &Arena, beans: &Beans) -> Result<Option<usize>, Failure> {
    let (orders, pool) = (Orders::known_bad(), beans.pool(arena).await?);
    let transactor = orders.watch(Transactor::new(pool.clone()));
    for bean in beans.first(10) {
        unordered::mark_regions(&transactor, *bean).await?;
    }
    pool.close().await;
    Ok(orders.contradictions())
}

/// The same beans, a message each, through the service in this process.
async fn the_service(arguments: &Arguments, arena: &Arena) -> Result<Measured, Failure> {
    let beans = Beans::create(arena, arguments).await?;
    let pool = beans.pool(arena).await?;
    let service = Arc::new(service::Service::start(arena, arguments.workers).await?);
    let watch = LockWait::watch(arena.options()).await?;
    let operation = {
        let (service, pool, beans) = (Arc::clone(&service), pool.clone(), beans.clone());
        move |worker, number| {
            let (service, pool) = (Arc::clone(&service), pool.clone());
            let bean = beans.of(worker, number);
            async move { service.recompute(&pool, bean).await.map_err(|e| e.to_string()) }
        }
    };
    let measured = contend("service", arguments.workers, arguments.beans, operation).await;
    let waited = watch.total().await?;
    pool.close().await;
    let service = Arc::into_inner(service).ok_or("a worker still uses the service")?;
    let summary = service.stop().await?;
    let measured = measured.note("messages acknowledged", summary.acked);
    Ok(with_waits(measured, waited, arena.deadlocks().await?))
}

fn with_waits(measured: Measured, waited: std::time::Duration, deadlocks: i64) -> Measured {
    let each = waited.as_secs_f64() * 1000.0 / measured.operations.max(1) as f64;
    let measured = measured.note("lock wait of an operation, ms", format!("{each:.1}"));
    Measured { deadlocks, ..measured }
}

fn judge(forms: &[Measured], orders: &Orders) -> ExitCode {
    let mut promises = Promises::default();
    let of_the_rest = orders.contradictions().unwrap_or_default();
    promises.hold(of_the_rest == 0, "no order of locks contradicts another after");
    for form in forms {
        let (name, deadlocks) = (&form.form, form.deadlocks);
        let errors = form.errors.len();
        if name == "before" {
            promises.hold(deadlocks > 0, "the old handler deadlocks");
            let found = form.notes.iter().find(|(note, _)| note == CONTRADICTIONS);
            let some = found.is_none_or(|(_, found)| found != "0");
            promises.hold(some, "lockdep finds contradicting orders in the old handler");
            let told = |error: &String| {
                error.contains("while updating tuple") && error.contains("relation \"region\"")
            };
            promises.hold(form.errors.iter().any(told), "an error of it names the table region");
        } else {
            promises.hold(deadlocks == 0, format!("{name}: no deadlock (it had {deadlocks})"));
            promises.hold(errors == 0, format!("{name}: no error surfaces ({errors} did)"));
        }
    }
    promises.verdict()
}
