//! Units of work on MariaDB: retries, what a deadlock leaves behind, session settings, leaks.

use crate::support::mariadb::MariaDatabase;
use crate::support::metering;
use cupping::resilience::retryability::Reason;
use cupping::txn::{Isolation, OnDeadlock, Transactor, TxnError, TxnOptions, guarded, work};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::{Connection, Executor, MySql, MySqlPool};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Barrier;

fn quick() -> TxnOptions {
    TxnOptions { base_delay: Duration::from_millis(1), ..TxnOptions::default() }
}

async fn two_rows(database: &MariaDatabase) -> MySqlPool {
    let pool = database.pool(4).await;
    pool.execute("CREATE TABLE pair (id int PRIMARY KEY, n int NOT NULL DEFAULT 0)")
        .await
        .expect("a table");
    pool.execute("INSERT INTO pair (id) VALUES (1), (2)").await.expect("rows");
    pool
}

/// Two units that update the rows in opposite order; the first runs of both meet in between.
async fn cross<T: Send + 'static>(
    run: impl AsyncFn(i32, i32, Arc<Barrier>, Arc<AtomicU32>) -> T,
) -> (T, T, u32) {
    let (barrier, runs) = (Arc::new(Barrier::new(2)), Arc::new(AtomicU32::new(0)));
    let one = run(1, 2, barrier.clone(), runs.clone());
    let other = run(2, 1, barrier, runs.clone());
    let (one, other) = tokio::join!(one, other);
    (one, other, runs.load(Ordering::SeqCst))
}

macro_rules! crossing {
    ($first:ident, $second:ident, $barrier:ident, $runs:ident) => {
        work!([$barrier, $runs] => |tx: MySql| {
            let update = "UPDATE pair SET n = n + 1 WHERE id = ?";
            let run = $runs.fetch_add(1, Ordering::SeqCst);
            tx.execute(sqlx::query(update).bind($first)).await?;
            if run < 2 {
                $barrier.wait().await;
            }
            tx.execute(sqlx::query(update).bind($second)).await?;
            Ok(())
        })
    };
}

#[tokio::test]
async fn a_deadlock_victim_is_retried_whole_and_both_commit() {
    let recorder = metering::recorder();
    let _metrics = metrics::set_default_local_recorder(recorder);
    let database = MariaDatabase::create().await;
    let pool = two_rows(&database).await;
    let transactor = Transactor::new(pool.clone());
    let (one, other, runs) = cross(async |first, second, barrier, runs| {
        let body = crossing!(first, second, barrier, runs);
        transactor.run("cross", &TxnOptions { attempts: 20, ..quick() }, body).await
    })
    .await;
    one.expect("one commits");
    other.expect("the other commits");
    let rows: Vec<(i32,)> =
        sqlx::query_as("SELECT n FROM pair ORDER BY id").fetch_all(&pool).await.expect("rows");
    // Had a statement of the victim run after its transaction was gone, in autocommit, a row would
    // count three.
    assert_eq!(rows, [(2,), (2,)]);
    let text = recorder.handle().render();
    let deadlocks: f64 = text
        .lines()
        .filter(|line| line.starts_with("cupping_deadlocks_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert!(runs >= 3, "they were made to deadlock");
    assert_eq!(deadlocks, f64::from(runs - 2), "{text}");
    assert_eq!((transactor.stats().total, transactor.stats().committed), (2, 2));
    assert_eq!(transactor.stats().retries, u64::from(runs - 2));
}

#[tokio::test]
async fn a_deadlock_that_does_not_matter_is_ignored_by_request_and_counted() {
    let recorder = metering::recorder();
    let _metrics = metrics::set_default_local_recorder(recorder);
    let database = MariaDatabase::create().await;
    let pool = two_rows(&database).await;
    let transactor = Transactor::new(pool.clone());
    let (one, other, runs) = cross(async |first, second, barrier, runs| {
        let body = crossing!(first, second, barrier, runs);
        transactor.on_deadlock(OnDeadlock::Ignore).run("last_seen", &quick(), body).await
    })
    .await;
    let ended = [one.expect("no error"), other.expect("no error")];
    assert_eq!(ended.iter().filter(|done| done.is_none()).count(), 1, "one was the victim");
    assert_eq!(runs, 2, "it did not run again");
    let rows: Vec<(i32,)> =
        sqlx::query_as("SELECT n FROM pair").fetch_all(&pool).await.expect("rows");
    assert_eq!(rows, [(1,), (1,)]);
    let value = |name| metering::value(recorder, name, &["name=\"last_seen\""]);
    assert_eq!(value("cupping_deadlocks_ignored_total"), 1.0);
    let labels = ["name=\"last_seen\"", "outcome=\"ignored\""];
    assert_eq!(metering::value(recorder, "cupping_transactions_total", &labels), 1.0);
}

#[tokio::test]
async fn a_lock_timeout_is_retried_then_exhausted_and_nothing_stays() {
    let database = MariaDatabase::create().await;
    let pool = two_rows(&database).await;
    let mut rival = pool.acquire().await.expect("a connection");
    rival.execute("START TRANSACTION").await.expect("the rival begins");
    rival.execute("UPDATE pair SET n = 9 WHERE id = 2").await.expect("the rival holds a row");
    let options = TxnOptions { attempts: 2, lock_timeout: Duration::from_millis(200), ..quick() };
    let body = work!(|tx: MySql| {
        tx.execute("UPDATE pair SET n = 5 WHERE id = 1").await?;
        tx.execute("UPDATE pair SET n = 5 WHERE id = 2").await?;
        Ok(())
    });
    let error = Transactor::new(pool.clone()).run("late", &options, body).await.expect_err("late");
    assert!(
        matches!(error, TxnError::Exhausted { attempts: 2, reason: Reason::LockTimeout, .. }),
        "{error}"
    );
    rival.execute("ROLLBACK").await.expect("the rival is done");
    // Only the statement is rolled back by the server; the unit rolled the rest back.
    let rows: Vec<(i32,)> =
        sqlx::query_as("SELECT n FROM pair").fetch_all(&pool).await.expect("rows");
    assert_eq!(rows, [(0,), (0,)]);
}

#[tokio::test]
async fn a_session_gets_its_own_settings_back() {
    let database = MariaDatabase::create().await;
    let pool = database.pool(1).await;
    let settings = "SELECT @@innodb_lock_wait_timeout, @@max_statement_time,
                    @@idle_transaction_timeout, @@in_transaction";
    pool.execute("SET SESSION innodb_lock_wait_timeout = 17").await.expect("a setting");
    let read = async || {
        let row: (u64, f64, u64, u64) =
            sqlx::query_as(settings).fetch_one(&pool).await.expect("settings");
        row
    };
    let before = read().await;
    assert_eq!(before.0, 17);
    for fails in [false, true] {
        let body = work!(|tx: MySql| {
            let inside: (u64, f64, u64, u64) = tx.fetch_one_as(sqlx::query(settings)).await?;
            assert_eq!((inside.0, inside.1, inside.2, inside.3), (2, 10.0, 35, 1));
            if fails { Err(cupping::txn::BodyError::own("undone")) } else { Ok(()) }
        });
        let done = Transactor::new(pool.clone()).run("settings", &quick(), body).await;
        assert_eq!(done.is_err(), fails);
        assert_eq!(read().await, before);
    }
}

#[tokio::test]
async fn isolation_and_read_only_are_as_asked() {
    let database = MariaDatabase::create().await;
    let pool = two_rows(&database).await;
    let transactor = Transactor::new(pool.clone());
    // Another session updates a row between two reads: what the second read sees, and whether the
    // first has locked the row.
    for (isolation, changes, locked) in [
        (Isolation::ReadCommitted, 1, false),
        (Isolation::RepeatableRead, 0, false),
        (Isolation::Serializable, 0, true),
    ] {
        let rival = pool.clone();
        let body = work!([rival] => |tx: MySql| {
            let read = "SELECT n FROM pair WHERE id = 1";
            let (before,): (i32,) = tx.fetch_one_as(read).await?;
            let lock = "SELECT n FROM pair WHERE id = 1 FOR UPDATE NOWAIT";
            let locked = sqlx::query(lock).execute(&rival).await.is_err();
            if !locked {
                let update = "UPDATE pair SET n = n + 1 WHERE id = 1";
                sqlx::query(update).execute(&rival).await?;
            }
            let (after,): (i32,) = tx.fetch_one_as(read).await?;
            Ok((before, after, locked))
        });
        let options = TxnOptions { isolation, ..quick() };
        let seen = transactor.run("level", &options, body).await.expect("it commits");
        assert_eq!((seen.1 - seen.0, seen.2), (changes, locked), "{isolation:?}");
    }
    let body = work!(|tx: MySql| {
        tx.execute("UPDATE pair SET n = n + 1").await?;
        Ok(())
    });
    let options = TxnOptions { read_only: true, ..quick() };
    let error = transactor.run("read", &options, body).await.expect_err("it may only read");
    assert_eq!(error.code().as_deref(), Some("25006"), "{error}");
}

#[tokio::test]
async fn scopes_are_undone_alone_and_a_swallowed_error_refuses_the_commit() {
    let database = MariaDatabase::create().await;
    let pool = two_rows(&database).await;
    let transactor = Transactor::new(pool.clone());
    let body = work!(|tx: MySql| {
        let inner = work!(|tx: MySql| {
            tx.execute("INSERT INTO pair (id) VALUES (3)").await?;
            tx.execute("INSERT INTO pair (id) VALUES (1)").await?;
            Ok(())
        });
        let error = tx.scope(inner).await.expect_err("a duplicate");
        assert_eq!(error.code().as_deref(), Some("23000"));
        tx.execute("INSERT INTO pair (id) VALUES (4)").await?;
        Ok(())
    });
    transactor.run("scoped", &quick(), body).await.expect("it commits");
    let body = work!(|tx: MySql| {
        tx.execute("INSERT INTO pair (id) VALUES (5)").await?;
        assert!(tx.execute("INSERT INTO pair (id) VALUES (1)").await.is_err());
        Ok(())
    });
    let error = transactor.run("swallow", &quick(), body).await.expect_err("refused");
    assert!(matches!(error, TxnError::Poisoned { .. }), "{error}");
    let rows: Vec<(i32,)> =
        sqlx::query_as("SELECT id FROM pair ORDER BY id").fetch_all(&pool).await.expect("rows");
    assert_eq!(rows, [(1,), (2,), (4,)]);
}

#[tokio::test]
async fn a_connection_inside_an_open_transaction_is_closed_by_the_guard() {
    let database = MariaDatabase::create().await;
    let options = || MySqlPoolOptions::new().max_connections(1);
    let leak = async |pool: &MySqlPool| {
        let mut connection = pool.acquire().await.expect("a connection");
        connection.execute("START TRANSACTION").await.expect("a leak");
        let id: u64 = sqlx::query_scalar("SELECT CONNECTION_ID()")
            .fetch_one(&mut *connection)
            .await
            .expect("an id");
        drop(connection);
        let now: (u64, u64) = sqlx::query_as("SELECT CONNECTION_ID(), @@in_transaction")
            .fetch_one(pool)
            .await
            .expect("an answer");
        (id == now.0, now.1)
    };
    let bare = options().connect_with(database.options()).await.expect("MariaDB answers");
    assert_eq!(leak(&bare).await, (true, 1), "without the guard it stays; else this test is void");
    let pool = guarded(options()).connect_with(database.options()).await.expect("it answers");
    assert_eq!(leak(&pool).await, (false, 0));
    let healthy: u64 =
        sqlx::query_scalar("SELECT CONNECTION_ID()").fetch_one(&pool).await.expect("an id");
    let again: u64 =
        sqlx::query_scalar("SELECT CONNECTION_ID()").fetch_one(&pool).await.expect("an id");
    assert_eq!(healthy, again, "a healthy connection stays");
    // What the guard asks where there is no such variable (MySQL) is refused inside, too.
    let mut plain = sqlx::MySqlConnection::connect_with(&database.options()).await.expect("it");
    plain.execute("SET TRANSACTION READ WRITE").await.expect("outside it is accepted");
    plain.execute("START TRANSACTION").await.expect("begun");
    assert!(plain.execute("SET TRANSACTION READ WRITE").await.is_err());
}
