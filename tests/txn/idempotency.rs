//! Work that happens once, on all three databases: duplicates, expiry, twins.

use crate::rig::{OnMaria, OnPostgres, Rig, on_all, once, quick};
use crate::support::eventually;
use cupping::txn::idempotency::{DEFAULT_TABLE, schema, sweep};
use cupping::txn::{
    BodyError, IdempotencyError, IdempotencyKey, Isolation, Once, Transactor, Twin, TxnError,
    TxnOptions, work,
};
use sqlx::{MySql, Pool, Postgres};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Barrier, Notify};

pub async fn ledger<R: Rig>() -> (R, Pool<R::Db>) {
    let rig = R::create().await;
    let pool = rig.pool(8).await;
    R::sql(&pool, "CREATE TABLE ledger (id int NOT NULL)").await;
    R::sql(&pool, &schema::<R::Db>(DEFAULT_TABLE)).await;
    // It may be run again.
    R::sql(&pool, &schema::<R::Db>(DEFAULT_TABLE)).await;
    (rig, pool)
}

pub fn key() -> IdempotencyKey {
    IdempotencyKey::new("charge", "order-17", "amount=100")
}

/// Writes a row, and gives what it wrote.
pub async fn charge<R: Rig>(
    pool: &Pool<R::Db>,
    options: &TxnOptions,
    key: &IdempotencyKey,
) -> Result<Once<(u32, String)>, TxnError> {
    let body = work!(|tx: R::Db| {
        tx.execute("INSERT INTO ledger VALUES (1)").await?;
        Ok((100, "dürüm".to_owned()))
    });
    Transactor::<R::Db>::new(pool.clone()).once("charge", options, key, body).await
}

pub async fn rows<R: Rig>(pool: &Pool<R::Db>) -> i64 {
    R::int(pool, "SELECT count(*) FROM ledger").await
}

fn own(error: &TxnError) -> Option<&IdempotencyError> {
    let TxnError::Body { source, .. } = error else { return None };
    source.downcast_ref()
}

async fn a_duplicate_gets_the_stored_result<R: Rig>() {
    let (_rig, pool) = ledger::<R>().await;
    let done = (100, "dürüm".to_owned());
    let first = charge::<R>(&pool, &once(), &key()).await.expect("it is done");
    assert_eq!(first, Once::Fresh(done.clone()));
    for _ in 0..2 {
        let again = charge::<R>(&pool, &once(), &key()).await.expect("it was done");
        assert_eq!(again, Once::Replayed(done.clone()));
    }
    assert_eq!(rows::<R>(&pool).await, 1);
    // Neither case nor blanks make one key of two, and a scope has keys of its own.
    for other in [
        IdempotencyKey::new("charge", "ORDER-17", "amount=100"),
        IdempotencyKey::new("charge", "order-17 ", "amount=100"),
        IdempotencyKey::new("refund", "order-17", "amount=100"),
    ] {
        let other = charge::<R>(&pool, &once(), &other).await.expect("it is done");
        assert!(!other.is_replayed());
    }
    assert_eq!(rows::<R>(&pool).await, 4);
}

async fn a_key_used_for_something_else_is_an_error<R: Rig>() {
    let (_rig, pool) = ledger::<R>().await;
    charge::<R>(&pool, &once(), &key()).await.expect("it is done");
    let other = IdempotencyKey::new("charge", "order-17", "amount=200");
    let error = charge::<R>(&pool, &quick(), &other).await.expect_err("another fingerprint");
    assert!(matches!(own(&error), Some(IdempotencyError::KeyReused { .. })), "{error}");
    let told = error.to_string();
    assert!(told.contains("charge") && told.contains("order-17"), "{told}");
    assert_eq!(rows::<R>(&pool).await, 1);
    let bad = IdempotencyKey::new("charge", "", "f");
    let error = charge::<R>(&pool, &once(), &bad).await.expect_err("no key");
    assert!(matches!(own(&error), Some(IdempotencyError::BadKey { part: "key" })), "{error}");
}

async fn an_expired_record_is_taken_over_and_swept<R: Rig>() {
    let (_rig, pool) = ledger::<R>().await;
    let lives = "SELECT expires_ms - 1000 * 3600 FROM cupping_idempotency";
    charge::<R>(&pool, &once(), &key()).await.expect("it is done");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = i64::try_from(now.expect("after 1970").as_millis()).expect("it fits");
    assert!((R::int(&pool, lives).await - now).abs() < 60_000, "an hour, in milliseconds");

    // Expired at once: even another fingerprint may have it.
    let short = key().ttl(Duration::ZERO);
    R::sql(&pool, "UPDATE cupping_idempotency SET expires_ms = 1").await;
    assert!(!charge::<R>(&pool, &once(), &short).await.expect("taken over").is_replayed());
    let other = IdempotencyKey::new("charge", "order-17", "amount=200");
    assert!(!charge::<R>(&pool, &once(), &other).await.expect("taken over").is_replayed());
    assert!(charge::<R>(&pool, &once(), &other).await.expect("it lives").is_replayed());
    assert_eq!(rows::<R>(&pool).await, 3);

    for n in 0..5 {
        let key = IdempotencyKey::new("old", n.to_string(), "f").ttl(Duration::ZERO);
        charge::<R>(&pool, &once(), &key).await.expect("it is done");
    }
    let transactor = Transactor::<R::Db>::new(pool.clone());
    let mut swept = Vec::new();
    for _ in 0..3 {
        swept.push(sweep(&transactor, DEFAULT_TABLE, 3).await.expect("it sweeps"));
    }
    assert_eq!(swept, [3, 2, 0]);
    assert_eq!(R::int(&pool, "SELECT count(*) FROM cupping_idempotency").await, 1);
}

async fn work_that_fails_leaves_no_record<R: Rig>() {
    let (_rig, pool) = ledger::<R>().await;
    let transactor = Transactor::<R::Db>::new(pool.clone());
    let body = work!(|tx: R::Db| {
        tx.execute("INSERT INTO ledger VALUES (1)").await?;
        Err::<u32, _>(BodyError::own("no"))
    });
    transactor.once("fails", &once(), &key(), body).await.expect_err("it fails");
    assert_eq!(rows::<R>(&pool).await, 0);

    // Inside of a transaction that survives it.
    let body = work!(|tx: R::Db| {
        let failing = work!(|tx: R::Db| {
            tx.execute("INSERT INTO ledger VALUES (1)").await?;
            Err::<u32, _>(BodyError::own("no"))
        });
        assert!(tx.once(&key(), failing).await.is_err());
        tx.execute("INSERT INTO ledger VALUES (2)").await?;
        Ok(())
    });
    transactor.run("survives", &once(), body).await.expect("it commits");
    assert_eq!(R::int(&pool, "SELECT count(*) FROM cupping_idempotency").await, 0);
    assert!(!charge::<R>(&pool, &once(), &key()).await.expect("it is done").is_replayed());
    assert_eq!(rows::<R>(&pool).await, 2);
}

async fn a_key_can_be_used_inside_of_a_transaction<R: Rig>() {
    let (_rig, pool) = ledger::<R>().await;
    let transactor = Transactor::<R::Db>::new(pool.clone());
    for twin in [Twin::Wait, Twin::Refuse] {
        let key = key().twin(twin);
        let body = work!([key] => |tx: R::Db| {
            let charge = || work!(|tx: R::Db| {
                tx.execute("INSERT INTO ledger VALUES (1)").await?;
                Ok(7_u32)
            });
            let first = tx.once(&key, charge()).await?;
            let second = tx.once(&key, charge()).await?;
            Ok((first, second))
        });
        let (first, second) = transactor.run("twice", &once(), body).await.expect("it commits");
        assert_eq!(first.is_replayed(), twin == Twin::Refuse);
        assert_eq!(second, Once::Replayed(7));
    }
    assert_eq!(rows::<R>(&pool).await, 1);
}

async fn twins_at_the_same_moment_do_it_once<R: Rig>() {
    for isolation in [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable]
    {
        let (_rig, pool) = ledger::<R>().await;
        // Whether there is an expired record to take over or none at all.
        if isolation == Isolation::RepeatableRead {
            let old = key().ttl(Duration::ZERO);
            charge::<R>(&pool, &once(), &old).await.expect("it is done");
            R::sql(&pool, "DELETE FROM ledger").await;
        }
        let barrier = Arc::new(Barrier::new(6));
        let mut tasks = Vec::new();
        for _ in 0..6 {
            let (pool, barrier) = (pool.clone(), barrier.clone());
            tasks.push(tokio::spawn(async move {
                barrier.wait().await;
                let options = TxnOptions { isolation, attempts: 30, ..quick() };
                charge::<R>(&pool, &options, &key()).await
            }));
        }
        let mut fresh = 0;
        for task in tasks {
            let done = task.await.expect("no panic").expect("each gets the result");
            fresh += i64::from(!done.is_replayed());
        }
        assert_eq!((fresh, rows::<R>(&pool).await), (1, 1), "{isolation:?}");
    }
}

on_all!(
    a_duplicate_gets_the_stored_result,
    a_key_used_for_something_else_is_an_error,
    an_expired_record_is_taken_over_and_swept,
    work_that_fails_leaves_no_record,
    a_key_can_be_used_inside_of_a_transaction,
    twins_at_the_same_moment_do_it_once,
);

/// A twin that holds the key until told, and then commits or fails.
async fn twin_under_way<R: Rig>(
    pool: &Pool<R::Db>,
    fails: bool,
) -> (Arc<Notify>, tokio::task::JoinHandle<Result<Once<(u32, String)>, TxnError>>) {
    let (held, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let transactor = Transactor::<R::Db>::new(pool.clone());
    let twin = tokio::spawn({
        let (held, release) = (held.clone(), release.clone());
        async move {
            let body = work!([held, release] => |tx: R::Db| {
                tx.execute("INSERT INTO ledger VALUES (1)").await?;
                held.notify_one();
                release.notified().await;
                if fails { Err(BodyError::own("no")) } else { Ok((1, "twin".to_owned())) }
            });
            transactor.once("twin", &once(), &key(), body).await
        }
    });
    held.notified().await;
    (release, twin)
}

async fn a_twin_under_way_is_refused_at_once<R: Rig>() {
    let (_rig, pool) = ledger::<R>().await;
    let (release, twin) = twin_under_way::<R>(&pool, false).await;
    let started = std::time::Instant::now();
    let patient = TxnOptions { lock_timeout: Duration::from_secs(25), ..once() };
    let error = charge::<R>(&pool, &patient, &key().twin(Twin::Refuse)).await;
    let error = error.expect_err("it is under way");
    assert!(matches!(own(&error), Some(IdempotencyError::InFlight { .. })), "{error}");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    release.notify_one();
    twin.await.expect("no panic").expect("it commits");
    let replayed = charge::<R>(&pool, &quick(), &key().twin(Twin::Refuse)).await;
    assert_eq!(replayed.expect("it is done"), Once::Replayed((1, "twin".to_owned())));
    assert_eq!(rows::<R>(&pool).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_twin_under_way_is_refused_at_once_on_postgres() {
    a_twin_under_way_is_refused_at_once::<OnPostgres>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_twin_under_way_is_refused_at_once_on_mariadb() {
    a_twin_under_way_is_refused_at_once::<OnMaria>().await;
}

/// Whoever only reads what was done before holds the record; that refuses nobody.
async fn two_duplicates_at_once_both_get_the_result<R: Rig>() {
    let (_rig, pool) = ledger::<R>().await;
    charge::<R>(&pool, &once(), &key()).await.expect("it is done");
    let (held, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let transactor = Transactor::<R::Db>::new(pool.clone());
    let first = tokio::spawn({
        let (held, release) = (held.clone(), release.clone());
        async move {
            let body = work!([held, release] => |tx: R::Db| {
                let unused = work!(|tx: R::Db| {
                    tx.execute("INSERT INTO ledger VALUES (2)").await?;
                    Ok((0_u32, String::new()))
                });
                let done = tx.once(&key(), unused).await?;
                held.notify_one();
                release.notified().await;
                Ok(done.is_replayed())
            });
            transactor.run("first", &once(), body).await
        }
    });
    held.notified().await;
    let impatient = key().twin(Twin::Refuse);
    let second = charge::<R>(&pool, &once(), &impatient).await.expect("it was done");
    assert!(second.is_replayed());
    let other = IdempotencyKey::new("charge", "order-17", "amount=200").twin(Twin::Refuse);
    charge::<R>(&pool, &once(), &other).await.expect_err("another fingerprint");
    release.notify_one();
    assert!(first.await.expect("no panic").expect("it commits"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_duplicates_at_once_both_get_the_result_on_postgres() {
    two_duplicates_at_once_both_get_the_result::<OnPostgres>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_duplicates_at_once_both_get_the_result_on_mariadb() {
    two_duplicates_at_once_both_get_the_result::<OnMaria>().await;
}

async fn a_twin_is_waited_for<R: Rig>(fails: bool) {
    let (_rig, pool) = ledger::<R>().await;
    let (release, twin) = twin_under_way::<R>(&pool, fails).await;
    let waiter = tokio::spawn({
        let pool = pool.clone();
        async move { charge::<R>(&pool, &once(), &key()).await }
    });
    let waits = async || R::waiting(&pool).await == 1;
    eventually("the second waits", Duration::from_secs(10), waits).await;
    release.notify_one();
    assert_eq!(twin.await.expect("no panic").is_err(), fails);
    let done = waiter.await.expect("no panic").expect("it has a result");
    assert_eq!(done.is_replayed(), !fails);
    assert_eq!(rows::<R>(&pool).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_twin_is_waited_for_on_postgres() {
    a_twin_is_waited_for::<OnPostgres>(false).await;
    a_twin_is_waited_for::<OnPostgres>(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_twin_is_waited_for_on_mariadb() {
    a_twin_is_waited_for::<OnMaria>(false).await;
    a_twin_is_waited_for::<OnMaria>(true).await;
}

/// A refused twin leaves the session's patience as it was.
#[tokio::test]
async fn refusing_a_twin_does_not_make_the_rest_impatient() {
    let (_rig, pool) = ledger::<OnMaria>().await;
    let (_other, postgres) = ledger::<OnPostgres>().await;
    let (release, twin) = twin_under_way::<OnMaria>(&pool, false).await;
    let body = work!(|tx: MySql| {
        let unused = work!(|tx: MySql| { tx.execute("SELECT 1").await.map(|_| 1_u32) });
        assert!(tx.once(&key().twin(Twin::Refuse), unused).await.is_err());
        let (patience,): (u64,) = tx.fetch_one_as("SELECT @@innodb_lock_wait_timeout").await?;
        Ok(patience)
    });
    let options = TxnOptions { lock_timeout: Duration::from_secs(3), ..once() };
    let patience = Transactor::new(pool).run("patience", &options, body).await;
    assert_eq!(patience.expect("it commits"), 3);
    release.notify_one();
    twin.await.expect("no panic").expect("it commits");

    let body = work!(|tx: Postgres| {
        let work = work!(|tx: Postgres| { tx.execute("SELECT 1").await.map(|_| 1_u32) });
        tx.once(&key().twin(Twin::Refuse), work).await?;
        let (patience,): (String,) = tx.fetch_one_as("SHOW lock_timeout").await?;
        Ok(patience)
    });
    let patience = Transactor::new(postgres).run("patience", &options, body).await;
    assert_eq!(patience.expect("it commits"), "3s");
}
