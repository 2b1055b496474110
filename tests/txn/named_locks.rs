//! Named locks of MariaDB: exclusion, order, and that none outlives its transaction.

use crate::rig::{OnMaria, Rig, once, quick};
use crate::support::databases::PostgresDatabase;
use crate::support::mariadb::MariaDatabase;
use crate::support::{eventually, unique};
use cupping::resilience::retryability::Reason;
use cupping::txn::{
    BodyError, LockKeys, LockPlan, NamedLockError, TableRank, Transactor, TxnError, TxnOptions,
    lock_key, work,
};
use sqlx::{MySql, MySqlPool, Postgres};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{Barrier, Notify};

/// Keys that no other test on the server uses, ascending.
fn keys<const N: usize>() -> [i64; N] {
    let namespace = unique("named");
    let mut keys = std::array::from_fn(|n| lock_key(&namespace, &n.to_string()));
    keys.sort_unstable();
    keys
}

fn name(key: i64) -> String {
    format!("cupping:{:016x}", key.cast_unsigned())
}

async fn is_free(pool: &MySqlPool, key: i64) -> bool {
    let free: (i64,) = sqlx::query_as("SELECT IS_FREE_LOCK(?)")
        .bind(name(key))
        .fetch_one(pool)
        .await
        .expect("MariaDB answers");
    free.0 == 1
}

async fn pool() -> (MariaDatabase, MySqlPool) {
    let OnMaria(database) = OnMaria::create().await;
    let pool = OnMaria(database);
    let connections = pool.pool(6).await;
    (pool.0, connections)
}

#[tokio::test]
async fn a_lock_excludes_until_the_unit_is_over_and_then_is_free_at_once() {
    let (_database, pool) = pool().await;
    let [key] = keys();
    let (held, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let transactor = Transactor::new(pool.clone());
    let first = tokio::spawn({
        let (transactor, held, release) = (transactor.clone(), held.clone(), release.clone());
        async move {
            let body = work!([held, release] => |tx: MySql| {
                tx.named_locks(&LockKeys::new([key])).await?;
                held.notify_one();
                release.notified().await;
                Ok(())
            });
            let done = transactor.run("first", &once(), body).await;
            (done, is_free(transactor.pool(), key).await)
        }
    });
    held.notified().await;
    let attempt = work!(|tx: MySql| { tx.try_named_lock(key).await });
    assert!(!transactor.run("try", &once(), attempt).await.expect("an answer"));
    assert!(!is_free(&pool, key).await);
    release.notify_one();
    let (done, free) = first.await.expect("no panic");
    done.expect("it commits");
    assert!(free, "given back before the result is told");
    let attempt = work!(|tx: MySql| { tx.try_named_lock(key).await });
    assert!(transactor.run("try", &once(), attempt).await.expect("an answer"));
    assert!(is_free(&pool, key).await);
}

#[tokio::test]
async fn no_failure_leaves_a_lock_behind() {
    let (_database, pool) = pool().await;
    let [key] = keys();
    let transactor = Transactor::new(pool.clone());

    let failing = work!(|tx: MySql| {
        tx.named_locks(&LockKeys::new([key])).await?;
        Err::<(), _>(BodyError::own("no"))
    });
    transactor.run("fails", &once(), failing).await.expect_err("it fails");
    assert!(is_free(&pool, key).await, "after a rollback");

    let panicking = work!(|tx: MySql| {
        tx.named_locks(&LockKeys::new([key])).await?;
        if key != i64::MIN {
            panic!("forced");
        }
        Ok(())
    });
    let error = transactor.run("panics", &once(), panicking).await.expect_err("it panics");
    assert!(matches!(error, TxnError::Panicked { .. }), "{error}");
    let free = async || is_free(&pool, key).await;
    eventually("the lock is free after a panic", Duration::from_secs(10), free).await;

    // The caller goes while the server executes; the cancelled session takes its lock with it.
    let late = work!(|tx: MySql| {
        tx.named_locks(&LockKeys::new([key])).await?;
        tx.execute("DO BENCHMARK(2000000000, MD5('x'))").await?;
        Ok(())
    });
    let held = async || !is_free(&pool, key).await;
    let options = once();
    tokio::select! {
        _ = transactor.run("dropped", &options, late) => panic!("it was to take long"),
        () = eventually("the lock is held", Duration::from_secs(10), held) => {}
    }
    eventually("the lock is free after a cancel", Duration::from_secs(10), free).await;
}

#[tokio::test]
async fn a_lock_whose_wait_was_cancelled_is_not_left_behind() {
    let (_database, pool) = pool().await;
    let [key] = keys();
    let mut rival = pool.acquire().await.expect("a connection");
    let get = "SELECT GET_LOCK(?, 0)";
    sqlx::query(get).bind(name(key)).execute(&mut *rival).await.expect("the rival locks");
    let transactor = Transactor::new(pool.clone());
    let body = work!(|tx: MySql| { tx.named_locks(&LockKeys::new([key])).await });
    let options = TxnOptions {
        deadline: Duration::from_millis(300),
        lock_timeout: Duration::from_secs(5),
        ..once()
    };
    let error = transactor.run("late", &options, body).await.expect_err("it is held");
    assert!(matches!(error, TxnError::Timeout { .. } | TxnError::Exhausted { .. }), "{error}");
    sqlx::query("DO RELEASE_LOCK(?)")
        .bind(name(key))
        .execute(&mut *rival)
        .await
        .expect("the rival unlocks");
    let free = async || is_free(&pool, key).await;
    eventually("nobody has the lock", Duration::from_secs(10), free).await;
}

#[tokio::test]
async fn a_lock_not_granted_in_time_is_retried_then_exhausted() {
    let (_database, pool) = pool().await;
    let [free, held] = keys();
    let mut rival = pool.acquire().await.expect("a connection");
    let get = "SELECT GET_LOCK(?, 0)";
    sqlx::query(get).bind(name(held)).execute(&mut *rival).await.expect("the rival locks");
    let runs = Arc::new(AtomicU32::new(0));
    let body = work!([runs] => |tx: MySql| {
        runs.fetch_add(1, Ordering::SeqCst);
        tx.named_locks(&LockKeys::new([free, held])).await
    });
    let options = TxnOptions { attempts: 2, lock_timeout: Duration::from_millis(100), ..quick() };
    let error = Transactor::new(pool.clone()).run("blocked", &options, body).await;
    let error = error.expect_err("it is held");
    let TxnError::Exhausted { attempts: 2, reason: Reason::LockTimeout, source, .. } = &error
    else {
        panic!("{error}")
    };
    let told = source.downcast_ref::<NamedLockError>();
    assert!(matches!(told, Some(NamedLockError::Busy { name: of }) if *of == name(held)));
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert!(is_free(&pool, free).await, "the other is given back");
}

#[tokio::test]
async fn locks_are_taken_in_integer_order() {
    let (_database, pool) = pool().await;
    let keys = keys::<5>();
    for (below, held) in keys.iter().copied().enumerate() {
        let mut rival = pool.acquire().await.expect("a connection");
        let get = "SELECT GET_LOCK(?, 0)";
        sqlx::query(get).bind(name(held)).execute(&mut *rival).await.expect("the rival locks");
        let transactor = Transactor::new(pool.clone());
        let unit = tokio::spawn(async move {
            let body =
                work!(|tx: MySql| { tx.named_locks(&LockKeys::new(keys.into_iter().rev())).await });
            transactor.run("ordered", &once(), body).await
        });
        let waits = async || {
            let query = "SELECT count(*) FROM information_schema.processlist
                         WHERE db = DATABASE() AND state = 'User lock'";
            OnMaria::int(&pool, query).await == 1
        };
        eventually("the unit waits", Duration::from_secs(10), waits).await;
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(is_free(&pool, *key).await, at > below, "{below}: {at}");
        }
        let release = sqlx::query("DO RELEASE_LOCK(?)").bind(name(held));
        release.execute(&mut *rival).await.expect("the rival unlocks");
        unit.await.expect("no panic").expect("all are granted");
    }
}

/// Crosswise without the order: the server finds it (1213 on MariaDB), and the victim, whichever it
/// is, runs again.
#[tokio::test]
async fn a_deadlock_among_named_locks_is_retried() {
    let (_database, pool) = pool().await;
    let [low, high] = keys();
    let transactor = Transactor::new(pool.clone());
    let barrier = Arc::new(Barrier::new(2));
    let unit = |first: i64, second: i64| {
        let (transactor, barrier) = (transactor.clone(), barrier.clone());
        let runs = Arc::new(AtomicU32::new(0));
        async move {
            let body = work!([barrier, runs] => |tx: MySql| {
                if runs.fetch_add(1, Ordering::SeqCst) > 0 {
                    return tx.named_locks(&LockKeys::new([first, second])).await;
                }
                assert!(tx.try_named_lock(first).await?);
                barrier.wait().await;
                // As existing code does it, which knows nothing of the order.
                let wait = sqlx::query("SELECT GET_LOCK(?, 10), RELEASE_LOCK(?)");
                tx.execute(wait.bind(name(second)).bind(name(second))).await?;
                Ok(())
            });
            transactor.run("crosswise", &quick(), body).await
        }
    };
    let (one, other) = tokio::join!(unit(low, high), unit(high, low));
    one.expect("one commits");
    other.expect("the other commits");
    assert_eq!(transactor.stats().retries, 1, "they were made to deadlock");
    assert!(is_free(&pool, low).await && is_free(&pool, high).await);
}

#[tokio::test]
async fn keys_come_before_rows() {
    let (_database, pool) = pool().await;
    OnMaria::sql(&pool, "CREATE TABLE bean (id bigint PRIMARY KEY)").await;
    let [key] = keys();
    let body = work!(|tx: MySql| {
        let bean = TableRank::new(1, "bean", "id");
        tx.lock_rows(&LockPlan::new().rows(bean, vec![1_i64])).await?;
        tx.named_locks(&LockKeys::new([key])).await
    });
    let error = Transactor::new(pool).run("late", &once(), body).await.expect_err("refused");
    assert!(matches!(error, TxnError::LockOrder { .. }), "{error}");
}

#[tokio::test]
async fn an_advisory_lock_can_be_tried() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(2).await;
    let mut rival = pool.acquire().await.expect("a connection");
    sqlx::query("SELECT pg_advisory_lock(5)").execute(&mut *rival).await.expect("it locks");
    let body = work!(|tx: Postgres| {
        let busy = tx.try_advisory_xact_lock(5).await?;
        let free = tx.try_advisory_xact_lock(9).await?;
        let below = tx.advisory_xact_locks(&LockKeys::new([7])).await;
        Ok((busy, free, below.is_err()))
    });
    let seen = Transactor::new(pool).run("try", &once(), body).await.expect("it commits");
    assert_eq!(seen, (false, true, true));
}
