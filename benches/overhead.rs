//! What `txn` costs: a unit of two statements against the same two in bare sqlx.
//!
//! `cargo bench --bench overhead --no-default-features --features txn,postgres,mysql,sqlite`. One
//! client, durable commits, on SQLite always, on PostgreSQL and MariaDB where
//! `CUPPING_TEST_POSTGRES` and `CUPPING_TEST_MARIADB` name servers (a database of its own is made
//! and dropped). The forms take turns on one pool, so that a slow minute of the disk, and a
//! connection on its way back, strike all of them: read the ratio of the medians.

use cupping::txn::{Dialect, Transactor, TxnOptions, work};
use futures_util::future::BoxFuture;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection, Executor, MySql, Pool, Postgres, Sqlite};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How often each form has its turn, and how many of its first turns do not count.
const ROUNDS: usize = 2400;
const WARM_UP: usize = 100;
/// The orders in which the three forms take turns.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [1, 0, 2], [2, 0, 1], [0, 2, 1], [1, 2, 0], [2, 1, 0]];
/// Connections of a pool: one alone would be waited for on its way back.
const CONNECTIONS: u32 = 2;

const SCHEMA: &str = "CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL)";
const ROWS: &str = "INSERT INTO account VALUES (1, 0), (2, 0)";

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Done<'a> = BoxFuture<'a, Result<(), Failure>>;

/// The two forms on one database. The texts of the statements are the same; Rust wants them once
/// for each database, because an executor is implemented for each connection type apart.
macro_rules! forms {
    ($database:ty, $bare:ident, $unit:ident, $take:literal, $give:literal) => {
        #[expect(clippy::disallowed_methods, reason = "the bare form is what is compared with")]
        fn $bare(pool: &Pool<$database>) -> Done<'_> {
            Box::pin(async move {
                let mut tx = pool.begin().await?;
                sqlx::query($take).bind(1_i32).execute(&mut *tx).await?;
                sqlx::query($give).bind(2_i32).execute(&mut *tx).await?;
                tx.commit().await?;
                Ok(())
            })
        }

        fn $unit<'t>(transactor: &'t Transactor<$database>, options: &'t TxnOptions) -> Done<'t> {
            let body = work!(|tx: $database| {
                tx.execute(sqlx::query($take).bind(1_i32)).await?;
                tx.execute(sqlx::query($give).bind(2_i32)).await?;
                Ok(())
            });
            Box::pin(async move { Ok(transactor.run("transfer", options, body).await?) })
        }
    };
}

forms!(
    Postgres,
    bare_postgres,
    unit_postgres,
    "UPDATE account SET balance = balance - 1 WHERE id = $1",
    "UPDATE account SET balance = balance + 1 WHERE id = $1"
);
forms!(
    MySql,
    bare_mysql,
    unit_mysql,
    "UPDATE account SET balance = balance - 1 WHERE id = ?",
    "UPDATE account SET balance = balance + 1 WHERE id = ?"
);
forms!(
    Sqlite,
    bare_sqlite,
    unit_sqlite,
    "UPDATE account SET balance = balance - 1 WHERE id = ?",
    "UPDATE account SET balance = balance + 1 WHERE id = ?"
);

/// Times the forms in turns and prints a line.
async fn compare<DB: Dialect>(
    title: &str,
    pool: &Pool<DB>,
    bare: for<'a> fn(&'a Pool<DB>) -> Done<'a>,
    unit: for<'a> fn(&'a Transactor<DB>, &'a TxnOptions) -> Done<'a>,
) -> Result<(), Failure> {
    let transactor = Transactor::new(pool.clone());
    let options = TxnOptions::default();
    let unresolved = TxnOptions { resolve_commit: false, ..TxnOptions::default() };
    let mut durations: [Vec<Duration>; 3] = Default::default();
    for round in 0..=ROUNDS {
        // Each form follows each other as often, so that none always pays for its predecessor.
        for form in ORDERS[round % ORDERS.len()] {
            let started = Instant::now();
            match form {
                0 => bare(pool).await?,
                1 => unit(&transactor, &options).await?,
                _ => unit(&transactor, &unresolved).await?,
            }
            // The first rounds warm caches and prepared statements.
            if round > WARM_UP {
                durations[form].push(started.elapsed());
            }
        }
    }
    let [bare, unit, plain] = durations.map(median);
    let ratio = |form: Duration| form.as_secs_f64() / bare.as_secs_f64();
    println!(
        "{title:<12} bare sqlx {bare:>9.1?}   txn {unit:>9.1?} ({:.3} times)   \
         without commit resolution {plain:>9.1?} ({:.3} times)",
        ratio(unit),
        ratio(plain),
    );
    Ok(())
}

fn median(mut durations: Vec<Duration>) -> Duration {
    durations.sort_unstable();
    durations[durations.len() / 2]
}

async fn postgres(url: &str) -> Result<(), Failure> {
    let server = PgConnectOptions::from_str(url)?;
    let name = format!("overhead_{}", std::process::id());
    let mut admin = sqlx::PgConnection::connect_with(&server).await?;
    admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).min_connections(CONNECTIONS);
    let pool = pool.connect_with(server.clone().database(&name)).await?;
    pool.execute(SCHEMA).await?;
    pool.execute(ROWS).await?;
    compare("PostgreSQL", &pool, bare_postgres, unit_postgres).await?;
    pool.close().await;
    admin.execute(AssertSqlSafe(format!("DROP DATABASE {name}"))).await?;
    Ok(())
}

async fn mysql(url: &str) -> Result<(), Failure> {
    let server = MySqlConnectOptions::from_str(url)?;
    let name = format!("overhead_{}", std::process::id());
    let mut admin = sqlx::MySqlConnection::connect_with(&server).await?;
    admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
    let pool = MySqlPoolOptions::new().max_connections(CONNECTIONS).min_connections(CONNECTIONS);
    let pool = pool.connect_with(server.clone().database(&name)).await?;
    pool.execute(SCHEMA).await?;
    pool.execute(ROWS).await?;
    compare("MariaDB", &pool, bare_mysql, unit_mysql).await?;
    pool.close().await;
    admin.execute(AssertSqlSafe(format!("DROP DATABASE {name}"))).await?;
    Ok(())
}

async fn sqlite() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let options = SqliteConnectOptions::new()
        .filename(directory.path().join("overhead.sqlite"))
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).min_connections(CONNECTIONS);
    let pool = pool.connect_with(options).await?;
    pool.execute(SCHEMA).await?;
    pool.execute(ROWS).await?;
    compare("SQLite", &pool, bare_sqlite, unit_sqlite).await
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    println!("median of {} transactions of two UPDATEs, one client", ROUNDS - WARM_UP);
    // On a worker, as in a service: the main thread would pay a wake-up for each answer.
    tokio::spawn(measure()).await?
}

async fn measure() -> Result<(), Failure> {
    sqlite().await?;
    match std::env::var("CUPPING_TEST_POSTGRES") {
        Ok(url) => postgres(&url).await?,
        Err(_) => println!("PostgreSQL   not measured: CUPPING_TEST_POSTGRES is unset"),
    }
    match std::env::var("CUPPING_TEST_MARIADB") {
        Ok(url) => mysql(&url).await?,
        Err(_) => println!("MariaDB      not measured: CUPPING_TEST_MARIADB is unset"),
    }
    Ok(())
}
