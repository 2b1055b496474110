//! Lockdep against the servers' own word: of random transactions, whichever really deadlock must
//! have been reported.
//!
//! Decides: the statements to choose from. Never does: fail by chance: that two transactions do not
//! meet is no error.

use crate::lockdep_rig::MariaDatabase;
use crate::support::databases::PostgresDatabase;
use cupping::resilience::retryability::Reason;
use cupping::txn::{Dialect, Lockdep, Transactor, TxnError, TxnOptions, work};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor, IntoArguments, Pool};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Barrier;

const TABLES: &str = "
    CREATE TABLE parent (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
    CREATE TABLE child (
        id int PRIMARY KEY, parent_id int NOT NULL, n int NOT NULL DEFAULT 0,
        FOREIGN KEY (parent_id) REFERENCES parent (id) ON DELETE CASCADE);
    CREATE TABLE lone (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
    INSERT INTO parent (id) VALUES (1), (2), (3);
    INSERT INTO child (id, parent_id) VALUES (1, 1), (2, 2), (3, 3);
    INSERT INTO lone (id) VALUES (1), (2), (3)";

const STATEMENTS: [&str; 13] = [
    "UPDATE parent SET n = n + 1 WHERE id = 1",
    "UPDATE parent SET n = n + 1 WHERE id = 2",
    "UPDATE child SET n = n + 1 WHERE id = 1",
    "UPDATE child SET n = n + 1 WHERE parent_id = 2",
    "UPDATE lone SET n = n + 1 WHERE id = 1",
    "UPDATE lone SET n = n + 1 WHERE id = 2",
    "UPDATE lone SET n = n + 1",
    "SELECT id FROM parent WHERE id IN (1, 2) ORDER BY id FOR UPDATE",
    "SELECT id FROM lone ORDER BY id DESC FOR UPDATE",
    "SELECT id FROM parent WHERE id = 1 FOR SHARE",
    "SELECT id FROM child WHERE parent_id = 1 FOR UPDATE",
    "DELETE FROM parent WHERE id = 2",
    "DELETE FROM child WHERE parent_id = 1",
];

/// What only PostgreSQL has; and an update of an indexed column, whose index InnoDB locks after the
/// row, but before it where the row is found by that index: that order is not watched. No advisory
/// locks: `pg_locks` shows their waiters to other databases' tests.
const POSTGRES: [&str; 7] = [
    "UPDATE child SET parent_id = 3 - parent_id WHERE id = 1",
    "INSERT INTO lone (id) VALUES (1), (2) ON CONFLICT (id) DO UPDATE SET n = 0",
    "INSERT INTO lone (id) VALUES (3), (1) ON CONFLICT (id) DO UPDATE SET n = 0",
    "INSERT INTO child (id, parent_id) VALUES (7, 1) ON CONFLICT DO NOTHING",
    "SELECT id FROM parent WHERE id = 2 FOR KEY SHARE",
    "SELECT id FROM child WHERE id = 2 FOR NO KEY UPDATE SKIP LOCKED",
    "LOCK TABLE lone IN SHARE MODE",
];

/// What only MariaDB has.
const MARIADB: [&str; 4] = [
    "INSERT INTO lone (id) VALUES (1), (2) ON DUPLICATE KEY UPDATE n = 0",
    "REPLACE INTO lone (id, n) VALUES (3, 1), (2, 1)",
    "INSERT INTO child (id, parent_id) VALUES (7, 1) ON DUPLICATE KEY UPDATE n = 0",
    "SELECT id FROM child WHERE id = 2 FOR UPDATE SKIP LOCKED",
];

/// How many pairs of transactions are tried.
const PAIRS: usize = 150;

/// How long one transaction waits for the other at the barrier: it may be waiting for a lock.
const MEETING: Duration = Duration::from_millis(20);

/// Two transactions at once, each of these statements, and rolled back at the end.
async fn clash<DB: Dialect>(transactor: &Transactor<DB>, picks: [[&'static str; 3]; 2]) -> bool
where
    DB::Arguments: IntoArguments<DB>,
{
    let barrier = Arc::new(Barrier::new(2));
    let unit = |name: &'static str, picks: [&'static str; 3]| {
        let body = work!([barrier] => |tx: DB| {
            for (at, pick) in picks.into_iter().enumerate() {
                if at > 0 {
                    tokio::time::timeout(MEETING, barrier.wait()).await.ok();
                }
                tx.fetch_all(sqlx::query::<DB>(pick)).await?;
            }
            Err::<(), _>(cupping::txn::BodyError::own("rolled back, for the next pair"))
        });
        let options = TxnOptions { attempts: 1, ..TxnOptions::default() };
        async move { transactor.run(name, &options, body).await.expect_err("never commits") }
    };
    let (one, other) = tokio::join!(unit("one", picks[0]), unit("other", picks[1]));
    let deadlocked =
        |error: &TxnError| matches!(error, TxnError::Exhausted { reason: Reason::Deadlock, .. });
    deadlocked(&one) || deadlocked(&other)
}

async fn check<DB: Dialect>(pool: Pool<DB>, own: &[&'static str])
where
    DB::Arguments: IntoArguments<DB>,
{
    // One seed, so that what was green stays green; another one by hand, to search for more.
    let given = std::env::var("CUPPING_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or(1);
    println!("seed {seed} (CUPPING_TEST_SEED gives another)");
    let mut random = random(seed);
    let (mut deadlocks, mut reported) = (0, 0);
    let statements = [STATEMENTS.as_slice(), own].concat();
    for _ in 0..PAIRS {
        let lockdep = Lockdep::new().reporting();
        let transactor = Transactor::new(pool.clone()).with_lockdep(&lockdep);
        let picks = [(); 2].map(|()| [(); 3].map(|()| statements[random(statements.len())]));
        let deadlocked = clash(&transactor, picks).await;
        reported += usize::from(!lockdep.inversions().is_empty());
        if deadlocked {
            deadlocks += 1;
            assert!(!lockdep.inversions().is_empty(), "not foreseen: {picks:#?}");
        }
    }
    println!("{}: {deadlocks} deadlocks, {reported} reports, {PAIRS} pairs", DB::SYSTEM);
    assert!(deadlocks > 0, "the transactions met");
    assert!(reported < PAIRS, "not everything is reported");
}

/// SplitMix64.
fn random(mut state: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % below as u64).expect("below a usize")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_deadlock_that_postgres_finds_was_foreseen() {
    let database = PostgresDatabase::create().await;
    let options = database.options().options([("deadlock_timeout", "10ms")]);
    let pool = PgPoolOptions::new().max_connections(3).connect_with(options).await;
    let pool = pool.expect("PostgreSQL answers");
    pool.execute(TABLES).await.expect("the tables are made");
    check(pool, &POSTGRES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_deadlock_that_mariadb_finds_was_foreseen() {
    let database = MariaDatabase::create().await;
    let pool = database.pool().await;
    sqlx::raw_sql(TABLES).execute(&pool).await.expect("the tables are made");
    check(pool, &MARIADB).await;
}
