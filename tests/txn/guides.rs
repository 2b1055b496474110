//! The code of the guides, and what they say of bare sqlx.
//!
//! Decides: that a hazard which a guide names is real on the servers of the tests. Never does:
//! measure (`benches/orders.rs` does).

use crate::support::databases::PostgresDatabase;
use crate::support::eventually;
use crate::support::mariadb::MariaDatabase;
use cupping::txn::{LockPlan, TableRank, Transactor, TxnError, TxnOptions, work};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor, PgConnection, PgPool, Postgres};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const STOCK: TableRank = TableRank::new(1, "stock", "id");

const SCHEMA: &str = "CREATE TABLE stock (id bigint PRIMARY KEY, pieces int NOT NULL);
                      INSERT INTO stock VALUES (1, 100), (2, 100)";

/// Two stocks, and deadlocks found fast.
async fn stocks(database: &PostgresDatabase) -> PgPool {
    let options = database.options().options([("deadlock_timeout", "10ms")]);
    let pool = PgPoolOptions::new().max_connections(8).connect_with(options).await;
    let pool = pool.expect("PostgreSQL answers");
    pool.execute(SCHEMA).await.expect("the table is made");
    pool
}

/// Where `from-bare-sqlx.md` starts.
#[expect(clippy::disallowed_methods, reason = "shows what the guide leads away from")]
async fn bare_transfer(pool: &PgPool, from: i64, to: i64, pieces: i32) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    let take = "UPDATE stock SET pieces = pieces - $2 WHERE id = $1";
    sqlx::query(take).bind(from).bind(pieces).execute(&mut *tx).await?;
    let give = "UPDATE stock SET pieces = pieces + $2 WHERE id = $1";
    sqlx::query(give).bind(to).bind(pieces).execute(&mut *tx).await?;
    tx.commit().await
}

/// Where it ends.
async fn transfer(
    transactor: &Transactor<Postgres>,
    from: i64,
    to: i64,
    pieces: i32,
) -> Result<(), TxnError> {
    transactor
        .run(
            "transfer",
            &TxnOptions::default(),
            work!(|tx| {
                tx.lock_rows(&LockPlan::new().rows(STOCK, vec![from, to])).await?;
                let take = "UPDATE stock SET pieces = pieces - $2 WHERE id = $1";
                tx.execute(sqlx::query(take).bind(from).bind(pieces)).await?;
                let give = "UPDATE stock SET pieces = pieces + $2 WHERE id = $1";
                tx.execute(sqlx::query(give).bind(to).bind(pieces)).await?;
                Ok(())
            }),
        )
        .await
}

/// A function that was there before.
async fn pieces_of(connection: &mut PgConnection, id: i64) -> Result<i32, sqlx::Error> {
    let query = sqlx::query_scalar("SELECT pieces FROM stock WHERE id = $1");
    query.bind(id).fetch_one(connection).await
}

#[tokio::test]
async fn opposite_transfers_deadlock_in_bare_sqlx_and_wait_for_nobody_twice_under_a_plan() {
    let database = PostgresDatabase::create().await;
    let pool = stocks(&database).await;
    let until = Instant::now() + Duration::from_secs(30);
    let mut deadlocks = 0;
    while deadlocks == 0 && Instant::now() < until {
        let (one, other) =
            tokio::join!(bare_transfer(&pool, 1, 2, 1), bare_transfer(&pool, 2, 1, 1));
        for failed in [one, other].into_iter().filter_map(Result::err) {
            let code = failed.as_database_error().and_then(|e| e.code().map(|c| c.into_owned()));
            assert_eq!(code.as_deref(), Some("40P01"), "{failed}");
            deadlocks += 1;
        }
    }
    assert!(deadlocks > 0, "the old form deadlocks, else this test is void");

    let transactor = Transactor::new(pool.clone());
    let mut workers = JoinSet::new();
    for worker in 0..8 {
        let transactor = transactor.clone();
        workers.spawn(async move {
            let (from, to) = if worker % 2 == 0 { (1, 2) } else { (2, 1) };
            for _ in 0..20 {
                transfer(&transactor, from, to, 1).await.expect("it commits");
            }
        });
    }
    workers.join_all().await;
    assert_eq!((transactor.stats().committed, transactor.stats().retries), (160, 0));
    let sum = sqlx::query_scalar::<_, i64>("SELECT sum(pieces) FROM stock").fetch_one(&pool);
    assert_eq!(sum.await.expect("a sum"), 200);
}

#[tokio::test]
async fn existing_functions_run_inside_of_a_unit() {
    let database = PostgresDatabase::create().await;
    let transactor = Transactor::new(stocks(&database).await);
    let body = work!(|tx: Postgres| {
        let before = tx.with_connection(|c| Box::pin(pieces_of(c, 1))).await?;
        tx.execute("UPDATE stock SET pieces = 0 WHERE id = 1").await?;
        let after = tx.with_connection(|c| Box::pin(pieces_of(c, 1))).await?;
        Ok((before, after))
    });
    let seen = transactor.run("empty", &TxnOptions::default(), body).await;
    assert_eq!(seen.expect("it commits"), (100, 0));
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "shows the hazard")]
async fn bare_sqlx_reports_a_commit_where_the_server_rolled_back() {
    let database = PostgresDatabase::create().await;
    let pool = stocks(&database).await;
    let mut tx = pool.begin().await.expect("it begins");
    tx.execute("UPDATE stock SET pieces = 7 WHERE id = 1").await.expect("an update");
    let swallowed = tx.execute("INSERT INTO stock VALUES (2, 1)").await;
    assert!(swallowed.is_err(), "a duplicate");
    tx.commit().await.expect("this is the hazard: success is reported");
    let pieces = sqlx::query_scalar::<_, i32>("SELECT pieces FROM stock WHERE id = 1");
    assert_eq!(pieces.fetch_one(&pool).await.expect("a number"), 100, "nothing was written");
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "shows the hazard")]
async fn bare_sqlx_leaves_the_statement_on_the_server_when_the_client_stops_waiting() {
    let database = PostgresDatabase::create().await;
    let pool = stocks(&database).await;
    let mut rival = pool.acquire().await.expect("a connection");
    rival.execute("BEGIN; UPDATE stock SET pieces = 1").await.expect("the rival locks");
    let waiting = async {
        let mut tx = pool.begin().await?;
        tx.execute("UPDATE stock SET pieces = 2").await
    };
    assert!(timeout(Duration::from_millis(200), waiting).await.is_err(), "the client gave up");
    let still_there = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let mut observer = database.pool(1).await.acquire().await.expect("a connection");
    eventually("the server waits on, for nobody", Duration::from_secs(5), async || {
        let count = sqlx::query_scalar::<_, i64>(still_there).fetch_one(&mut *observer).await;
        count.expect("a count") == 1
    })
    .await;
    rival.execute("ROLLBACK").await.expect("the rival leaves");
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "shows the hazard")]
async fn bare_sqlx_on_mariadb_writes_outside_of_the_transaction_after_a_deadlock() {
    let database = MariaDatabase::create().await;
    let pool = database.pool(4).await;
    pool.execute("CREATE TABLE pair (id int PRIMARY KEY, n int NOT NULL)").await.expect("a table");
    pool.execute("INSERT INTO pair VALUES (1, 0), (2, 0), (3, 0)").await.expect("rows");
    let (mut victim, mut other) =
        (pool.begin().await.expect("it begins"), pool.begin().await.expect("it begins"));
    victim.execute("UPDATE pair SET n = 1 WHERE id = 1").await.expect("free");
    // The one that has written less is chosen as the victim.
    other.execute("UPDATE pair SET n = 2 WHERE id IN (2, 3)").await.expect("free");
    let (lost, won) = tokio::join!(
        victim.execute("UPDATE pair SET n = 1 WHERE id = 2"),
        other.execute("UPDATE pair SET n = 2 WHERE id = 1"),
    );
    assert!(lost.is_err() && won.is_ok(), "{lost:?} {won:?}");
    other.rollback().await.expect("it ends");
    // "Just this statement again":
    victim.execute("UPDATE pair SET n = 1 WHERE id = 2").await.expect("it is free now");
    victim.rollback().await.expect("it says that all is undone");
    let written = sqlx::query_as::<_, (i32, i32)>("SELECT id, n FROM pair ORDER BY id");
    let written = written.fetch_all(&pool).await.expect("rows");
    assert_eq!(written, [(1, 0), (2, 1), (3, 0)], "half of the unit, committed by a rollback");
}

#[tokio::test]
async fn an_update_that_changes_nothing_locks_its_row_unless_it_says_what_differs() {
    let database = PostgresDatabase::create().await;
    let pool = stocks(&database).await;
    let mut writer = pool.acquire().await.expect("a connection");
    let rival = |pool: PgPool| async move {
        let mut rival = pool.acquire().await.expect("a connection");
        rival.execute("SET lock_timeout = '50ms'").await.expect("a setting");
        rival.execute("UPDATE stock SET pieces = pieces WHERE id = 1").await.is_ok()
    };
    writer.execute("BEGIN; UPDATE stock SET pieces = 100 WHERE id = 1").await.expect("an update");
    assert!(!rival(pool.clone()).await, "the same value locks too");
    let differs = "ROLLBACK; BEGIN;
                   UPDATE stock SET pieces = 100 WHERE id = 1 AND pieces IS DISTINCT FROM 100";
    writer.execute(differs).await.expect("an update of nothing");
    assert!(rival(pool.clone()).await, "no row differs, so none is locked");
    writer.execute("ROLLBACK").await.expect("it ends");
}
