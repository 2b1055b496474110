//! Claims and partitions, on all three databases.

use crate::rig::{OnMaria, OnPostgres, Rig, on_all, once};
use cupping::resilience::retryability::Reason;
use cupping::txn::{
    Claim, Dialect, LockPlan, Partition, TableRank, Transactor, TxnError, TxnOptions, work,
};
use sqlx::Pool;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Barrier, Notify};

const JOB: TableRank = TableRank::new(9, "job", "id");

/// Ten jobs, of which the even ones are due.
async fn jobs<R: Rig>() -> (R, Pool<R::Db>) {
    let rig = R::create().await;
    let pool = rig.pool(6).await;
    let setup = "CREATE TABLE job (id bigint PRIMARY KEY, state varchar(9) NOT NULL)";
    R::sql(&pool, setup).await;
    for id in 0..10 {
        let state = if id % 2 == 0 { "due" } else { "done" };
        R::sql(&pool, &format!("INSERT INTO job VALUES ({id}, '{state}')")).await;
    }
    (rig, pool)
}

async fn a_claim_takes_the_lowest_that_match<R: Rig>() {
    let (_rig, pool) = jobs::<R>().await;
    let body = work!(|tx: R::Db| {
        let first = tx.claim(&Claim::of(JOB).filter("r.state = 'due'").limit(3)).await?;
        let texts = tx.claim_texts(&Claim::of(JOB).limit(2)).await?;
        Ok((first, texts))
    });
    let claimed = Transactor::new(pool).run("claim", &once(), body).await.expect("claimed");
    assert_eq!(claimed, (vec![0, 2, 4], vec!["0".to_owned(), "1".to_owned()]));
}

async fn a_partition_means_the_same_in_sql_and_in_rust<R: Rig>() {
    let rig = R::create().await;
    let pool = rig.pool(1).await;
    R::sql(&pool, "CREATE TABLE job (id bigint PRIMARY KEY, small int)").await;
    let mut ids: Vec<i64> = (-60..60).collect();
    ids.extend([i64::MIN, i64::MIN + 1, i64::MAX, 1 << 31, (1 << 31) - 1, -(1 << 40)]);
    let rows: Vec<String> = ids.iter().map(|id| format!("({id}, {})", id % 1000)).collect();
    R::sql(&pool, &format!("INSERT INTO job VALUES {}", rows.join(", "))).await;
    for of in [1_u32, 3, 8] {
        let mut seen = BTreeSet::new();
        for index in 0..of {
            let part = Partition::new(of, index).expect("a part");
            let body =
                work!(|tx: R::Db| { tx.claim(&Claim::of(JOB).limit(500).partition(part)).await });
            let transactor = Transactor::<R::Db>::new(pool.clone());
            let claimed = transactor.run("part", &once(), body).await.expect("claimed");
            let mut expected: Vec<i64> =
                ids.iter().copied().filter(|id| part.contains(*id)).collect();
            expected.sort_unstable();
            assert_eq!(claimed, expected, "{index} of {of}");
            seen.extend(claimed);
            let sql = part.sql(<R::Db as Dialect>::FAMILY, "small");
            let count = R::int(&pool, &format!("SELECT count(*) FROM job WHERE {sql}")).await;
            let expected = ids.iter().filter(|id| part.contains(**id % 1000)).count();
            assert_eq!(usize::try_from(count).expect("a count"), expected);
        }
        assert_eq!(seen.len(), ids.len(), "every id belongs to a part of {of}");
    }
}

on_all!(a_claim_takes_the_lowest_that_match, a_partition_means_the_same_in_sql_and_in_rust);

/// While one claimer holds its rows, another passes them over without waiting.
async fn held_rows_are_passed_over<R: Rig>() {
    let (_rig, pool) = jobs::<R>().await;
    let (held, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let transactor = Transactor::<R::Db>::new(pool.clone());
    let first = tokio::spawn({
        let (transactor, held, release) = (transactor.clone(), held.clone(), release.clone());
        async move {
            let body = work!([held, release] => |tx: R::Db| {
                let ids = tx.claim(&Claim::of(JOB).limit(4)).await?;
                held.notify_one();
                release.notified().await;
                Ok(ids)
            });
            transactor.run("first", &once(), body).await
        }
    });
    held.notified().await;
    let body = work!(|tx: R::Db| { tx.claim(&Claim::of(JOB).limit(3)).await });
    let second = transactor.run("second", &once(), body).await.expect("it does not wait");
    assert_eq!(second, [4, 5, 6]);
    let all = work!(|tx: R::Db| { tx.claim(&Claim::of(JOB)).await });
    let rest = transactor.run("rest", &once(), all).await.expect("it does not wait");
    assert_eq!(rest, [4, 5, 6, 7, 8, 9], "the second gave its rows back");
    release.notify_one();
    assert_eq!(first.await.expect("no panic").expect("it commits"), [0, 1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_rows_are_passed_over_on_postgres() {
    held_rows_are_passed_over::<OnPostgres>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_rows_are_passed_over_on_mariadb() {
    held_rows_are_passed_over::<OnMaria>().await;
}

/// Several at once, until nothing is left: each row is done by one.
async fn each_row_is_claimed_once<R: Rig>() {
    let rig = R::create().await;
    let pool = rig.pool(6).await;
    R::sql(&pool, "CREATE TABLE job (id bigint PRIMARY KEY, state varchar(9), runs int)").await;
    let rows: Vec<String> = (0..60).map(|id| format!("({id}, 'due', 0)")).collect();
    R::sql(&pool, &format!("INSERT INTO job VALUES {}", rows.join(", "))).await;
    let barrier = Arc::new(Barrier::new(4));
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let (transactor, barrier) = (Transactor::<R::Db>::new(pool.clone()), barrier.clone());
        tasks.push(tokio::spawn(async move {
            barrier.wait().await;
            loop {
                let body = work!(|tx: R::Db| {
                    let claim = Claim::of(JOB).filter("r.state = 'due'").limit(7);
                    let ids = tx.claim(&claim).await?;
                    for id in &ids {
                        let sql = format!(
                            "UPDATE job SET state = 'done', runs = runs + 1 WHERE id = {id}"
                        );
                        tx.execute(sqlx::AssertSqlSafe(sql)).await?;
                    }
                    Ok(ids.len())
                });
                if transactor.run("work", &once(), body).await.expect("nothing to wait for") == 0 {
                    break;
                }
            }
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    // Rows that were held when everybody else looked are done by their holder.
    assert_eq!(R::int(&pool, "SELECT count(*) FROM job WHERE runs = 1").await, 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_row_is_claimed_once_on_postgres() {
    each_row_is_claimed_once::<OnPostgres>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_row_is_claimed_once_on_mariadb() {
    each_row_is_claimed_once::<OnMaria>().await;
}

#[tokio::test]
async fn what_was_claimed_counts_as_held() {
    let (_rig, pool) = jobs::<OnPostgres>().await;
    let body = work!(|tx: sqlx::Postgres| {
        tx.claim(&Claim::of(JOB)).await?;
        let below = TableRank::new(1, "job", "id");
        tx.lock_rows(&LockPlan::new().rows(below, vec![1_i64])).await
    });
    let error = Transactor::new(pool).run("below", &once(), body).await.expect_err("refused");
    assert!(matches!(error, TxnError::LockOrder { .. }), "{error}");
}

/// A table that is being altered: its metadata lock would be waited for a day.
#[tokio::test]
async fn a_locked_table_is_a_lock_timeout_on_mariadb_and_the_session_gets_its_own_back() {
    let (rig, pool) = jobs::<OnMaria>().await;
    let mut rival = pool.acquire().await.expect("a connection");
    let lock = sqlx::raw_sql("LOCK TABLES job WRITE").execute(&mut *rival).await;
    lock.expect("the rival locks the table");
    let own = rig.pool(1).await;
    let body = work!(|tx: sqlx::MySql| { tx.claim(&Claim::of(JOB)).await });
    let options = TxnOptions { lock_timeout: Duration::from_millis(100), ..once() };
    let error = Transactor::new(own.clone()).run("locked", &options, body).await;
    let error = error.expect_err("the table is locked");
    assert!(matches!(error, TxnError::Exhausted { reason: Reason::LockTimeout, .. }), "{error}");
    assert_eq!(OnMaria::int(&own, "SELECT @@SESSION.lock_wait_timeout").await, 86400);
    let unlock = sqlx::raw_sql("UNLOCK TABLES").execute(&mut *rival).await;
    unlock.expect("the rival leaves");
}
