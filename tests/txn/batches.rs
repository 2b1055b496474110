//! Batches: chunks, bisection, and a report that counts nothing that was not committed.

use crate::rig::{OnMaria, OnPostgres, Rig, on_all, quick};
use crate::support::databases::PostgresDatabase;
use crate::support::proxy::{Fate, Proxy};
use cupping::txn::{
    Batch, BatchReport, BodyError, Dialect, Transactor, TxnError, TxnOptions, work,
};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Pool};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Barrier;

async fn items<R: Rig>() -> (R, Pool<R::Db>) {
    let rig = R::create().await;
    let pool = rig.pool(4).await;
    R::sql(&pool, "CREATE TABLE item (id bigint PRIMARY KEY, n int NOT NULL)").await;
    (rig, pool)
}

fn chunks_of(chunk: usize) -> Batch {
    Batch { chunk, options: quick(), ..Batch::default() }
}

/// Inserts all; those below zero break the table's rule, and say so as the database does.
async fn insert<DB: Dialect>(pool: &Pool<DB>, chunk: usize, ids: Vec<i64>) -> BatchReport<i64> {
    let body = work!(|tx: DB, ids: i64| {
        for id in ids.iter() {
            let n = if *id < 0 { "NULL".to_owned() } else { id.to_string() };
            let sql = format!("INSERT INTO item VALUES ({id}, {n})");
            tx.execute(AssertSqlSafe(sql)).await?;
        }
        Ok(())
    });
    Transactor::<DB>::new(pool.clone()).run_batch("insert", &chunks_of(chunk), ids, body).await
}

async fn all_good_items_are_written_a_transaction_a_chunk<R: Rig>() {
    let (_rig, pool) = items::<R>().await;
    let report = insert(&pool, 4, (0..10).collect()).await;
    assert!(report.is_complete());
    assert_eq!((report.processed, report.transactions, report.attempts), (10, 3, 3));
    assert_eq!(R::int(&pool, "SELECT count(*) FROM item").await, 10);
}

async fn bisection_finds_exactly_the_bad_items<R: Rig>() {
    for (bad, chunk) in [(vec![3], 8), (vec![0, 9], 10), ((0..10).collect(), 5), (vec![5], 1)] {
        let (_rig, pool) = items::<R>().await;
        let ids: Vec<i64> = (0..10).map(|n| if bad.contains(&n) { -n - 1 } else { n }).collect();
        let report = insert(&pool, chunk, ids.clone()).await;
        let failed: Vec<_> = report.failed.iter().map(|f| (f.index, f.item)).collect();
        let expected: Vec<_> = ids.iter().copied().enumerate().filter(|(_, id)| *id < 0).collect();
        assert_eq!(failed, expected, "{bad:?} in chunks of {chunk}");
        assert_eq!(report.processed, 10 - bad.len());
        let written = R::int(&pool, "SELECT count(*) FROM item").await;
        assert_eq!(usize::try_from(written).expect("a count"), report.processed);
        assert!(report.stopped.is_none());
        for failed in &report.failed {
            assert!(matches!(*failed.error, TxnError::Database { .. }), "{}", failed.error);
        }
    }
}

async fn a_panic_is_the_item_that_causes_it<R: Rig>() {
    let (_rig, pool) = items::<R>().await;
    let body = work!(|tx: R::Db, ids: i64| {
        for id in ids.iter() {
            assert!(*id != 4, "forced");
            let sql = format!("INSERT INTO item VALUES ({id}, 0)");
            tx.execute(AssertSqlSafe(sql)).await?;
        }
        Ok(())
    });
    let ids = (0..6).collect();
    let transactor = Transactor::<R::Db>::new(pool.clone());
    let report = transactor.run_batch("panics", &chunks_of(6), ids, body).await;
    let failed: Vec<i64> = report.failed.iter().map(|failed| failed.item).collect();
    assert_eq!((report.processed, failed), (5, vec![4]));
    assert!(matches!(*report.failed[0].error, TxnError::Panicked { .. }));
    assert_eq!(R::int(&pool, "SELECT count(*) FROM item").await, 5);
}

/// A body that swallows the error of one item must not have the others counted for nothing.
async fn a_swallowed_error_is_not_counted_as_success<R: Rig>() {
    let (_rig, pool) = items::<R>().await;
    let body = work!(|tx: R::Db, ids: i64| {
        for id in ids.iter() {
            let n = if *id == 2 { "NULL" } else { "0" };
            let sql = format!("INSERT INTO item VALUES ({id}, {n})");
            drop(tx.execute(AssertSqlSafe(sql)).await);
        }
        Ok(())
    });
    let transactor = Transactor::<R::Db>::new(pool.clone());
    let report = transactor.run_batch("swallows", &chunks_of(5), (0..5).collect(), body).await;
    let failed: Vec<i64> = report.failed.iter().map(|failed| failed.item).collect();
    assert_eq!((report.processed, failed), (4, vec![2]));
    assert_eq!(R::int(&pool, "SELECT count(*) FROM item").await, 4);
    assert!(matches!(*report.failed[0].error, TxnError::Poisoned { .. }));
}

async fn a_conflict_is_retried_unsplit<R: Rig>() {
    let (_rig, pool) = items::<R>().await;
    let runs = Arc::new(AtomicU32::new(0));
    let body = work!([runs] => |tx: R::Db, ids: i64| {
        assert_eq!(ids.len(), 4, "never divided");
        tx.execute("INSERT INTO item VALUES (1, 1)").await?;
        match runs.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Err(BodyError::conflict("forced")),
            _ => Ok(()),
        }
    });
    let transactor = Transactor::<R::Db>::new(pool.clone());
    let report = transactor.run_batch("conflict", &chunks_of(4), (0..4).collect(), body).await;
    assert!(report.is_complete());
    assert_eq!((report.processed, report.attempts, report.transactions), (4, 3, 1));

    let never = work!(|tx: R::Db, ids: i64| {
        assert_eq!(ids.len(), 2, "never divided");
        tx.execute("SELECT 1").await?;
        Err(BodyError::conflict("forced"))
    });
    let batch = Batch { options: TxnOptions { attempts: 2, ..quick() }, ..chunks_of(2) };
    let report = transactor.run_batch("conflict", &batch, (0..4_i64).collect(), never).await;
    assert_eq!((report.processed, report.failed.len(), report.attempts), (0, 4, 4));
    assert!(report.stopped.is_none(), "the next chunk may do better");
}

async fn a_deadline_says_what_was_not_tried<R: Rig>() {
    let (_rig, pool) = items::<R>().await;
    let batch = Batch { deadline: Some(Duration::ZERO), ..chunks_of(2) };
    let body = work!(|tx: R::Db, ids: i64| {
        drop(ids);
        tx.execute("SELECT 1").await?;
        Ok(())
    });
    let transactor = Transactor::<R::Db>::new(pool);
    let report = transactor.run_batch("late", &batch, vec![7, 8, 9], body).await;
    let stopped = report.stopped.expect("there was no time");
    assert!(stopped.error.is_none());
    assert_eq!((report.processed, stopped.not_tried), (0, vec![7, 8, 9]));
}

on_all!(
    all_good_items_are_written_a_transaction_a_chunk,
    bisection_finds_exactly_the_bad_items,
    a_panic_is_the_item_that_causes_it,
    a_swallowed_error_is_not_counted_as_success,
    a_conflict_is_retried_unsplit,
    a_deadline_says_what_was_not_tried,
);

/// Two batches over the same rows in opposite orders: they deadlock for real, and lose nothing.
async fn deadlocks_between_batches_lose_nothing<R: Rig>() {
    let (_rig, pool) = items::<R>().await;
    R::sql(&pool, "INSERT INTO item VALUES (1, 0), (2, 0)").await;
    let (barrier, met) = (Arc::new(Barrier::new(2)), Arc::new(AtomicU32::new(0)));
    let run = |ids: Vec<i64>| {
        let (transactor, barrier, met) =
            (Transactor::<R::Db>::new(pool.clone()), barrier.clone(), met.clone());
        async move {
            let body = work!([barrier, met] => |tx: R::Db, ids: i64| {
                let meets = met.fetch_add(1, Ordering::SeqCst) < 2;
                for (at, id) in ids.iter().enumerate() {
                    let sql = format!("UPDATE item SET n = n + 1 WHERE id = {id}");
                    tx.execute(AssertSqlSafe(sql)).await?;
                    if at == 0 && meets {
                        barrier.wait().await;
                    }
                }
                Ok(())
            });
            transactor.run_batch("cross", &chunks_of(2), ids, body).await
        }
    };
    let (one, other) = tokio::join!(run(vec![1, 2]), run(vec![2, 1]));
    assert_eq!((one.processed, other.processed), (2, 2));
    assert!(one.attempts + other.attempts >= 3, "they were made to deadlock");
    assert_eq!(R::int(&pool, "SELECT sum(n) FROM item").await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlocks_between_batches_lose_nothing_on_postgres() {
    deadlocks_between_batches_lose_nothing::<OnPostgres>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlocks_between_batches_lose_nothing_on_mariadb() {
    deadlocks_between_batches_lose_nothing::<OnMaria>().await;
}

/// A pool through a proxy, on a fresh PostgreSQL database.
async fn through_a_proxy() -> (PostgresDatabase, sqlx::PgPool, Proxy, sqlx::PgPool) {
    let database = PostgresDatabase::create().await;
    let direct = database.pool(1).await;
    OnPostgres::sql(&direct, "CREATE TABLE item (id bigint PRIMARY KEY, n int NOT NULL)").await;
    let options = database.options();
    let proxy = Proxy::start(&format!("{}:{}", options.get_host(), options.get_port())).await;
    let options = options.host("127.0.0.1").port(proxy.address.port());
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await;
    (database, direct, proxy, pool.expect("PostgreSQL answers through the proxy"))
}

#[tokio::test]
async fn an_outage_stops_the_batch_and_says_what_was_not_tried() {
    let (_database, direct, proxy, pool) = through_a_proxy().await;
    let proxy = Arc::new(proxy);
    let body = work!([proxy] => |tx: sqlx::Postgres, ids: i64| {
        if ids.contains(&2) {
            proxy.refuse();
            proxy.cut();
        }
        for id in ids.iter() {
            tx.execute(sqlx::query("INSERT INTO item VALUES ($1, 0)").bind(*id)).await?;
        }
        Ok(())
    });
    let batch = Batch { options: TxnOptions { attempts: 2, ..quick() }, ..chunks_of(2) };
    let ids: Vec<i64> = (0..6).collect();
    let report = Transactor::new(pool).run_batch("outage", &batch, ids, body).await;
    let stopped = report.stopped.expect("the server is out of reach");
    assert!(stopped.error.is_some_and(|error| error.retryability().is_outage()));
    assert_eq!((report.processed, report.failed.len()), (2, 0));
    assert_eq!((stopped.unknown, stopped.not_tried), (vec![], vec![2, 3, 4, 5]));
    assert_eq!(OnPostgres::int(&direct, "SELECT count(*) FROM item").await, 2);
}

#[tokio::test]
async fn an_unknown_outcome_stops_the_batch_and_is_counted_neither_way() {
    let (_database, _direct, proxy, pool) = through_a_proxy().await;
    let proxy = Arc::new(proxy);
    let body = work!([proxy] => |tx: sqlx::Postgres, ids: i64| {
        for id in ids.iter() {
            tx.execute(sqlx::query("INSERT INTO item VALUES ($1, 0)").bind(*id)).await?;
        }
        if ids.contains(&2) {
            proxy.cut_at(b"COMMIT", Fate::Delivered);
        }
        Ok(())
    });
    let options = TxnOptions { resolve_commit: false, ..quick() };
    let batch = Batch { options, ..chunks_of(2) };
    let ids: Vec<i64> = (0..6).collect();
    let report = Transactor::new(pool).run_batch("unknown", &batch, ids, body).await;
    let stopped = report.stopped.expect("nobody knows");
    assert!(matches!(stopped.error, Some(TxnError::OutcomeUnknown { .. })));
    assert_eq!((report.processed, report.failed.len()), (2, 0));
    assert_eq!((stopped.unknown, stopped.not_tried), (vec![2, 3], vec![4, 5]));
}
