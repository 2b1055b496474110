//! Optimistic versions, on all three databases.

use crate::rig::{Rig, on_all, once, quick};
use cupping::txn::{Dialect, Transactor, TxnError, TxnOptions, VersionConflict, Versioned, work};
use sqlx::Pool;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const ALERT: Versioned = Versioned { table: "alert", key: "id", version: "version" };

async fn alerts<R: Rig>() -> (R, Pool<R::Db>) {
    let rig = R::create().await;
    let pool = rig.pool(6).await;
    let setup = "CREATE TABLE alert (id varchar(9) PRIMARY KEY, level int, version int NOT NULL);
                 INSERT INTO alert VALUES ('a', 0, 1)";
    R::sql(&pool, setup).await;
    (rig, pool)
}

/// The level and the version, read without a lock.
async fn read<DB: Dialect>(
    tx: &mut cupping::txn::Tx<DB>,
) -> Result<(i64, i64), cupping::txn::BodyError> {
    let query = "SELECT CAST(level AS CHAR(9)), CAST(version AS CHAR(9)) FROM alert WHERE id = 'a'";
    let rows = tx.fetch_all(query).await?;
    let int = |column| -> Result<i64, cupping::txn::BodyError> {
        Ok(DB::text(&rows[0], column)?.unwrap_or_default().trim().parse()?)
    };
    Ok((int(0)?, int(1)?))
}

async fn concurrent_changes_lose_none<R: Rig>() {
    let (_rig, pool) = alerts::<R>().await;
    let runs = Arc::new(AtomicU32::new(0));
    let mut tasks = Vec::new();
    for _ in 0..5 {
        let (transactor, runs) = (Transactor::<R::Db>::new(pool.clone()), runs.clone());
        tasks.push(tokio::spawn(async move {
            let body = work!([runs] => |tx: R::Db| {
                runs.fetch_add(1, Ordering::SeqCst);
                let (level, version) = read(tx).await?;
                tx.advance_version(&ALERT.row("a", version)).await?;
                let write = format!("UPDATE alert SET level = {} WHERE id = 'a'", level + 1);
                tx.execute(sqlx::AssertSqlSafe(write)).await?;
                Ok(())
            });
            transactor.run("raise", &TxnOptions { attempts: 50, ..quick() }, body).await
        }));
    }
    for task in tasks {
        task.await.expect("no panic").expect("each commits in the end");
    }
    assert_eq!(R::int(&pool, "SELECT level FROM alert").await, 5);
    assert_eq!(R::int(&pool, "SELECT version FROM alert").await, 6);
    assert!(runs.load(Ordering::SeqCst) >= 5);
}

async fn a_conflict_runs_the_unit_again_as_often_as_its_options_say<R: Rig>() {
    let (_rig, pool) = alerts::<R>().await;
    let runs = Arc::new(AtomicU32::new(0));
    let body = work!([runs] => |tx: R::Db| {
        runs.fetch_add(1, Ordering::SeqCst);
        tx.advance_version(&ALERT.row("a", 7)).await
    });
    let options = TxnOptions { attempts: 3, ..quick() };
    let error = Transactor::<R::Db>::new(pool).run("stale", &options, body).await;
    let error = error.expect_err("it is at version 1");
    let TxnError::Exhausted { attempts: 3, source, .. } = &error else { panic!("{error}") };
    let conflict = source.downcast_ref::<VersionConflict>().expect("a version conflict");
    let expected = VersionConflict { table: "alert", id: "a".into(), expected: 7, found: Some(1) };
    assert_eq!(*conflict, expected);
    assert_eq!(runs.load(Ordering::SeqCst), 3);
}

async fn a_given_version_fails_at_once<R: Rig>() {
    let (_rig, pool) = alerts::<R>().await;
    let runs = Arc::new(AtomicU32::new(0));
    let body = work!([runs] => |tx: R::Db| {
        runs.fetch_add(1, Ordering::SeqCst);
        let update = "UPDATE alert SET version = version + 1 WHERE id = 'gone' AND version = 1";
        tx.compare_and_set(&ALERT.row("gone", 1).given(), update).await
    });
    let error = Transactor::<R::Db>::new(pool).run("given", &quick(), body).await;
    let error = error.expect_err("there is no such row");
    let TxnError::Body { source, .. } = &error else { panic!("{error}") };
    let conflict = source.downcast_ref::<VersionConflict>().expect("a version conflict");
    assert_eq!(conflict.found, None);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

async fn a_matching_version_is_set<R: Rig>() {
    let (_rig, pool) = alerts::<R>().await;
    let body = work!(|tx: R::Db| {
        let update = "UPDATE alert SET level = 9, version = version + 1
                      WHERE id = 'a' AND version = 1";
        tx.compare_and_set(&ALERT.row("a", 1), update).await?;
        tx.advance_version(&ALERT.row("a", 2)).await
    });
    let version = Transactor::<R::Db>::new(pool.clone()).run("set", &once(), body).await;
    assert_eq!(version.expect("it matches"), 3);
    assert_eq!(R::int(&pool, "SELECT level FROM alert").await, 9);
}

on_all!(
    concurrent_changes_lose_none,
    a_conflict_runs_the_unit_again_as_often_as_its_options_say,
    a_given_version_fails_at_once,
    a_matching_version_is_set,
);
