//! A schedule of shifts, served by three processes: people swap shifts and take swaps back,
//! resolve alerts, leave rotas, all at once and some things twice.
//!
//! ```text
//! cargo run --example schedule_swap --features redis -- --redis redis://127.0.0.1:6379/0
//! ```
//!
//! Decides: what must hold. Never does: touch another database than the two that it makes.

#![allow(unreachable_pub, reason = "modules of one program export to one another only")]

mod alert;
mod before;
mod client;
mod generation;
mod load;
mod processes;
mod races;
mod rota;
mod schedule;
mod server;
mod swap;
mod trials;
mod wire;

#[path = "../support/arena.rs"]
mod arena;
#[path = "../support/contention.rs"]
mod contention;
#[path = "../support/promises.rs"]
mod promises;
#[path = "../support/table.rs"]
mod table;

use arena::{Arena, Failure};
use clap::{Parser, Subcommand};
use contention::Measured;
use cupping::txn::redis::Fenced;
use cupping::txn::{guarded, idempotency};
use processes::Processes;
use promises::Promises;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool, Postgres};
use std::process::ExitCode;

const SCHEMA: &str = include_str!("schema.sql");

/// Connections of one process.
const CONNECTIONS: u32 = 5;

/// People whose shifts changed, in number: a swap moves people and makes none.
const LOST: &str = "SELECT count(*) FROM (
                        SELECT id / 100 AS week, person FROM shift
                        GROUP BY week, person HAVING count(*) <> 1) AS lost";

#[derive(Parser)]
#[command(about = "Shift swaps in three processes, before and after")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The server; the example makes databases of its own there.
    #[arg(
        long,
        env = "CUPPING_TEST_POSTGRES",
        hide_env_values = true,
        default_value = "postgres://postgres@127.0.0.1/postgres"
    )]
    postgres: String,
    /// Redis, for the locks.
    #[arg(
        long,
        env = "CUPPING_TEST_REDIS",
        hide_env_values = true,
        default_value = "redis://127.0.0.1:6379/0"
    )]
    redis: String,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Clients at the same time; two share two of the shifts that there are.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(2..=20))]
    clients: u16,
    /// Requests of each client.
    #[arg(long, default_value_t = 10)]
    each: usize,
}

#[derive(Subcommand)]
enum Command {
    /// Be one of the processes (the example starts these itself).
    #[command(hide = true)]
    Serve {
        /// `before` or `after`.
        form: String,
        /// The database.
        database: String,
    },
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let arguments = Arguments::parse();
    if let Some(Command::Serve { form, database }) = &arguments.command {
        let options = Arena::options_of(&arguments.postgres, database)?;
        server::serve(form, options, &arguments.redis).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut promises = Promises::default();
    let before = in_arena("before", &arguments, &mut promises).await?;
    let after = in_arena("after", &arguments, &mut promises).await?;
    promises.hold(before.deadlocks > 0, "the old form deadlocks");
    promises.hold(after.deadlocks == 0, "no deadlock, by the server's own counter");
    promises.hold(after.errors.is_empty(), "no error reaches a client");
    table::print("Schedule swap", &[before, after], arguments.json);
    Ok(promises.verdict())
}

/// Runs one form in a database and processes of its own.
async fn in_arena(
    form: &'static str,
    arguments: &Arguments,
    promises: &mut Promises,
) -> Result<Measured, Failure> {
    let arena =
        Arena::create(&arguments.postgres, &format!("schedule_swap_{form}"), SCHEMA).await?;
    let measured = in_processes(form, &arena, arguments, promises).await;
    let deadlocks = arena.deadlocks().await;
    arena.remove().await?;
    Ok(Measured { deadlocks: deadlocks?, ..measured? })
}

async fn in_processes(
    form: &'static str,
    arena: &Arena,
    arguments: &Arguments,
    promises: &mut Promises,
) -> Result<Measured, Failure> {
    let pool = arena.pool(CONNECTIONS).await?;
    sqlx::raw_sql(<Postgres as Fenced>::DDL).execute(&pool).await?;
    let records = idempotency::schema::<Postgres>(idempotency::DEFAULT_TABLE);
    sqlx::raw_sql(AssertSqlSafe(records)).execute(&pool).await?;
    let options = arena.options();
    let database = options.get_database().ok_or("an arena has a name")?;
    let urls = [&*arguments.postgres, &*arguments.redis];
    let processes = Processes::start(form, database, urls).await?;
    let measured = exercise(form, &processes, &pool, arguments, promises).await;
    let ended = processes.end().await;
    pool.close().await;
    ended?;
    measured
}

async fn exercise(
    form: &'static str,
    processes: &Processes,
    pool: &PgPool,
    arguments: &Arguments,
    promises: &mut Promises,
) -> Result<Measured, Failure> {
    let (clients, each) = (usize::from(arguments.clients), arguments.each);
    let measured = load::run(form, processes.ports(), pool.clone(), clients, each).await;
    let doubles = races::run(processes, pool).await?;
    let mut measured = doubles.noted(measured);
    if form == "after" {
        promises.hold(doubles.is_clean(), format!("everything happens once: {doubles:?}"));
        trials::limit(processes, pool, promises).await?;
        trials::reused_key(processes, promises).await?;
        let generation = trials::generation(processes, pool, promises).await?;
        let refused = trials::fence(processes, pool, promises).await?;
        measured = measured.note("a long generation", generation).note("a late process", refused);
        measured = trials::pools(processes, measured, promises).await?;
    }
    let lost: i64 = sqlx::query_scalar(LOST).fetch_one(pool).await?;
    promises.hold(form == "before" || lost == 0, format!("nobody's shift is lost, not {lost}"));
    Ok(measured.note("people who lost a shift or got a second one", lost))
}

/// A pool that closes, and counts, connections that come back inside a transaction.
async fn guarded_pool(database: PgConnectOptions) -> Result<PgPool, sqlx::Error> {
    guarded(PgPoolOptions::new().max_connections(CONNECTIONS)).connect_with(database).await
}
