//! A ticket board: many clients move tickets between columns at once, in opposite directions.
//!
//! ```text
//! cargo run --example ticket_board -- --postgres postgres://postgres@127.0.0.1/postgres
//! ```
//!
//! Decides: what must hold. Never does: touch another database than the two that it makes.

#![allow(unreachable_pub, reason = "modules of one program export to one another only")]

mod before;
mod board;
#[cfg(feature = "lockdep")]
mod foresight;
mod statements;
mod watcher;

#[path = "../support/arena.rs"]
mod arena;
#[path = "../support/contention.rs"]
mod contention;
#[path = "../support/promises.rs"]
mod promises;
#[path = "../support/table.rs"]
mod table;

use arena::{Arena, Failure};
use board::Board;
use clap::Parser;
use contention::{Measured, contend};
use promises::Promises;
use sqlx::PgPool;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use watcher::{View, watch};

/// The tables of the board.
const SCHEMA: &str = include_str!("schema.sql");

/// What the new form adds: no two tickets at one position, looked at when a move commits. The
/// constraint's index serves for the old one too.
const UNIQUE: &str = "ALTER TABLE ticket ADD CONSTRAINT ticket_position
                          UNIQUE (column_id, position) DEFERRABLE INITIALLY DEFERRED;
                      DROP INDEX ticket_column";

/// Tickets that are not where they belong: the positions of a column are 0, 1, 2, …
const WRONG: &str = "SELECT count(*) FROM (
                         SELECT position, row_number() OVER by_column - 1 AS should_be FROM ticket
                         WINDOW by_column AS (PARTITION BY column_id ORDER BY position)
                     ) AS placed WHERE position <> should_be";

/// Has every move of the first ticket fail in its COMMIT.
const FORBID: &str = "CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS
                          'BEGIN RAISE EXCEPTION ''this ticket stays''; END';
                      CREATE CONSTRAINT TRIGGER forbidden AFTER UPDATE ON ticket
                          DEFERRABLE INITIALLY DEFERRED
                          FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION forbid()";
const ALLOW: &str = "DROP TRIGGER forbidden ON ticket";

/// How much slower than alone a move may be under contention: wall time by moves.
const SLOWDOWN: f64 = 3.0;

#[derive(Parser)]
#[command(about = "A ticket board under contention, before and after")]
struct Arguments {
    /// The server; the example makes databases of its own there.
    #[arg(
        long,
        env = "CUPPING_TEST_POSTGRES",
        hide_env_values = true,
        default_value = "postgres://postgres@127.0.0.1/postgres"
    )]
    postgres: String,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Moves at the same time, one by each client.
    #[arg(long, default_value_t = 100)]
    moves: usize,
    /// Tickets in each of the two columns at the start.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(i64).range(220..))]
    tickets: i64,
    /// Connections. Few: whoever waits in the pool holds no snapshot, and costs the server nothing.
    #[arg(long, default_value_t = 4)]
    connections: u32,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let arguments = Arguments::parse();
    statements::count();
    #[cfg(feature = "lockdep")]
    let lockdep = foresight::watch();
    let mut promises = Promises::default();
    let before = in_arena("before", &arguments, &mut promises).await?;
    let after = in_arena("after", &arguments, &mut promises).await?;
    promises.hold(before.deadlocks > 0, "the old form deadlocks");
    promises.hold(after.deadlocks == 0, "no deadlock, by the server's own counter");
    promises.hold(after.errors.is_empty(), "no error reaches a caller");
    #[cfg(feature = "lockdep")]
    promises.hold(
        lockdep.locks() > 0 && lockdep.inversions().is_empty(),
        format!("lockdep sees no way to a deadlock: {:?}", lockdep.inversions()),
    );
    table::print("Ticket board", &[before, after], arguments.json);
    Ok(promises.verdict())
}

/// Runs one form in a database of its own, which is dropped whatever happens.
async fn in_arena(
    form: &'static str,
    arguments: &Arguments,
    promises: &mut Promises,
) -> Result<Measured, Failure> {
    let name = format!("ticket_board_{form}");
    let arena = Arena::create(&arguments.postgres, &name, SCHEMA).await?;
    let pool = arena.pool(arguments.connections).await?;
    let fill = "INSERT INTO ticket SELECT n, 1 + (n - 1) / $1, (n - 1) % $1, 'ticket ' || n
                FROM generate_series(1, 2 * $1) n";
    sqlx::query(fill).bind(arguments.tickets).execute(&pool).await?;
    let measured = match form {
        "before" => old(pool.clone(), arguments).await,
        _ => new(pool.clone(), arguments, promises).await,
    };
    #[cfg(feature = "lockdep")]
    if form == "before" {
        let foreseen = foresight::of_the_old_order(&pool).await.is_ok_and(|found| found > 0);
        promises.hold(foreseen, "lockdep finds the old order without a deadlock");
    }
    pool.close().await;
    let deadlocks = arena.deadlocks().await;
    arena.remove().await?;
    Ok(Measured { deadlocks: deadlocks?, ..measured? })
}

/// The ticket, the column and the position of the move that a client makes: even ones take a
/// ticket from the first column to the second, odd ones the other way; no ticket twice.
fn move_of(client: usize, tickets: i64) -> (i64, i64, i32) {
    let number = i64::try_from(client).unwrap_or(0);
    let (ticket, column) = if client.is_multiple_of(2) {
        (1 + number % tickets, 2)
    } else {
        (tickets + 1 + number % tickets, 1)
    };
    (ticket, column, i32::try_from(number * 7 % tickets).unwrap_or(0))
}

async fn old(pool: PgPool, arguments: &Arguments) -> Result<Measured, Failure> {
    let (tickets, counted) = (arguments.tickets, pool.clone());
    let measured = contend("before", arguments.moves, 1, move |client, _| {
        let (pool, (ticket, column, position)) = (pool.clone(), move_of(client, tickets));
        async move {
            let moved = before::move_to_position(&pool, ticket, column, position).await;
            moved.map_err(|error| error.to_string())
        }
    })
    .await;
    Ok(measured.note("tickets at a wrong position", wrong(&counted).await?))
}

async fn new(
    pool: PgPool,
    arguments: &Arguments,
    promises: &mut Promises,
) -> Result<Measured, Failure> {
    sqlx::raw_sql(UNIQUE).execute(&pool).await?;
    let board = Board::new(pool.clone());
    let few = statements_of_a_move(&board, 2).await?;
    let many = statements_of_a_move(&board, 200).await?;
    promises.hold(few == many, format!("{few} statements a move, not {many} over 200 positions"));
    let silent = nothing_is_told_of_a_failed_move(&board, &pool).await?;
    promises.hold(silent, "a move that fails in its COMMIT is told to nobody");

    // Before and after the crowd, so that a machine that gets busy meanwhile slows both down.
    let mut alone = alone_on(&board, arguments).await?;
    let (measured, views) = watched(&pool, arguments).await?;
    alone = (alone + alone_on(&board, arguments).await?) / 2;
    let a_move = measured.wall / u32::try_from(measured.operations)?;
    let slowdown = a_move.as_secs_f64() / alone.as_secs_f64();
    let bound = format!("wall time by moves is {slowdown:.2} of a move alone: below {SLOWDOWN}");
    promises.hold(slowdown < SLOWDOWN, bound);
    let wrong = wrong(&pool).await?;
    promises.hold(wrong == 0, format!("every position contiguous and unique ({wrong} are not)"));
    promises.hold(views.iter().all(|(_, same)| *same), "both clients show what the database has");
    let told = |(view, _): &(View, bool)| {
        format!("followed {} moves, read the board again {} times", view.followed, view.read_again)
    };
    Ok(measured
        .note("a move alone, ms", millis(alone))
        .note("wall time / moves, ms", millis(a_move))
        .note("wall time / moves by a move alone", format!("{slowdown:.2}"))
        .note("statements a move over 2 positions", few)
        .note("statements a move over 200 positions", many)
        .note("tickets at a wrong position", wrong)
        .note("the attentive client", told(&views[0]))
        .note("the client that slept", told(&views[1])))
}

/// The crowd's moves, watched by two clients: what each shows in the end, and whether the database
/// has the same.
async fn watched(
    pool: &PgPool,
    arguments: &Arguments,
) -> Result<(Measured, [(View, bool); 2]), Failure> {
    // A board of its own: the clients watch until nobody has it any more.
    let board = Board::new(pool.clone());
    let attentive = tokio::spawn(watch(pool.clone(), board.news()));
    let (wake, woken) = oneshot::channel::<()>();
    let (news, own) = (board.news(), pool.clone());
    // It has subscribed and sleeps, as a laptop does, until the moves are over.
    let asleep = tokio::spawn(async move {
        let _ended: Result<(), _> = woken.await;
        watch(own, news).await
    });
    let tickets = arguments.tickets;
    let measured = contend("after", arguments.moves, 1, move |client, _| {
        let (board, (ticket, column, position)) = (board.clone(), move_of(client, tickets));
        async move {
            let moved = board.move_to_position(ticket, column, position).await;
            moved.map_err(|error| error.to_string())
        }
    })
    .await;
    drop(wake);
    let mut truth = View::default();
    let views = [attentive.await??, asleep.await??];
    truth.read(pool).await?;
    let judged = views.map(|view| {
        let same = view.columns == truth.columns;
        (view, same)
    });
    Ok((measured, judged))
}

/// How many statements it takes to move a ticket over so many positions, BEGIN and COMMIT too.
async fn statements_of_a_move(board: &Board, positions: i32) -> Result<u64, Failure> {
    board.move_to_position(1, 1, 0).await?;
    let before = statements::sent();
    board.move_to_position(1, 1, positions).await?;
    Ok(statements::sent() - before)
}

async fn nothing_is_told_of_a_failed_move(board: &Board, pool: &PgPool) -> Result<bool, Failure> {
    sqlx::raw_sql(FORBID).execute(pool).await?;
    let mut news = board.news();
    let moved = board.move_to_position(1, 2, 0).await;
    sqlx::raw_sql(ALLOW).execute(pool).await?;
    Ok(moved.is_err() && news.try_recv().is_err())
}

/// How long a move takes when nobody else moves anything: the same moves, one after the other.
async fn alone_on(board: &Board, arguments: &Arguments) -> Result<Duration, Failure> {
    let moves = arguments.moves.clamp(2, 30);
    let mut moved = Duration::ZERO;
    for client in 0..moves {
        let (ticket, column, position) = move_of(client, arguments.tickets);
        let started = Instant::now();
        board.move_to_position(ticket, column, position).await?;
        moved += started.elapsed();
        // And back, so that the clients find the board as it was.
        board.move_to_position(ticket, 3 - column, 0).await?;
    }
    Ok(moved / u32::try_from(moves)?)
}

async fn wrong(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(WRONG).fetch_one(pool).await
}

fn millis(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1000.0)
}
