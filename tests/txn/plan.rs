//! Row locks by plan, on all three databases.

use crate::rig::{OnMaria, OnPostgres, Rig, on_all, once, quick};
use crate::support::eventually;
use cupping::resilience::retryability::Reason;
use cupping::txn::{
    Dialect, LockIds, LockPlan, Strength, TableRank, Transactor, TryLocked, TxnError, work,
};
use sqlx::{MySql, Pool, Postgres};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Barrier, Notify, oneshot};

const REGION: TableRank = TableRank::new(1, "region", "id");
const BEAN: TableRank = TableRank::new(2, "bean", "id");

/// Regions 0 to 8 and a bean of each, whose other index runs the other way.
async fn catalogue<R: Rig>() -> (R, Pool<R::Db>) {
    let rig = R::create().await;
    let pool = rig.pool(8).await;
    let setup = "CREATE TABLE region (id bigint PRIMARY KEY, n int NOT NULL);
         CREATE TABLE bean (id bigint PRIMARY KEY, n int NOT NULL);
         CREATE INDEX bean_n ON bean (n);
         CREATE INDEX region_n ON region (n)";
    R::sql(&pool, setup).await;
    for id in 0..9 {
        let rows = format!(
            "INSERT INTO region VALUES ({id}, {n}); INSERT INTO bean VALUES ({id}, {n})",
            n = 9 - id
        );
        R::sql(&pool, &rows).await;
    }
    (rig, pool)
}

async fn a_plan_reports_the_rows_that_are_there<R: Rig>() {
    let (_rig, pool) = catalogue::<R>().await;
    let plan = LockPlan::new().rows(BEAN, vec![4_i64, 99, 2, 4]).rows_for(
        Strength::Share,
        REGION,
        vec![7_i64],
    );
    let body = work!([plan] => |tx: R::Db| { tx.lock_rows(&plan).await });
    let locked = Transactor::<R::Db>::new(pool).run("plan", &once(), body).await.expect("locked");
    assert_eq!(locked.existing(&BEAN).map(LockIds::ints), Some(&[2, 4][..]));
    assert_eq!(locked.missing(&BEAN), Some(LockIds::from(vec![99_i64])));
    assert_eq!(locked.existing(&REGION).map(LockIds::ints), Some(&[7][..]));
    assert!(!locked.is_complete());
    let other = TableRank::new(3, "roast", "id");
    assert_eq!(locked.existing(&other), None);
}

async fn a_plan_of_thousands_of_ids_is_one_plan<R: Rig>() {
    let (_rig, pool) = catalogue::<R>().await;
    let plan = LockPlan::new().rows(BEAN, (0..2500_i64).rev().collect::<Vec<_>>());
    let body = work!([plan] => |tx: R::Db| { tx.lock_rows(&plan).await });
    let locked = Transactor::<R::Db>::new(pool).run("plan", &once(), body).await.expect("locked");
    assert_eq!(locked.existing(&BEAN).map(LockIds::len), Some(9));
}

async fn a_row_lock_prevents_a_lost_update<R: Rig>() {
    let (_rig, pool) = catalogue::<R>().await;
    let transactor = Transactor::<R::Db>::new(pool.clone());
    let mut tasks = Vec::new();
    for _ in 0..6 {
        let transactor = transactor.clone();
        tasks.push(tokio::spawn(async move {
            let body = work!(|tx: R::Db| {
                tx.lock_rows(&LockPlan::new().rows(REGION, vec![1_i64])).await?;
                // Read, think, write: what was read must still be so.
                let rows =
                    tx.fetch_all("SELECT CAST(n AS CHAR(9)) FROM region WHERE id = 1").await?;
                let n = <R::Db as Dialect>::text(&rows[0], 0)?.expect("a number");
                let n: i64 = n.trim().parse()?;
                tokio::task::yield_now().await;
                let write = format!("UPDATE region SET n = {} WHERE id = 1", n + 1);
                tx.execute(sqlx::AssertSqlSafe(write)).await?;
                Ok(())
            });
            transactor.run("increment", &quick(), body).await
        }));
    }
    for task in tasks {
        task.await.expect("no panic").expect("each commits");
    }
    assert_eq!(R::int(&pool, "SELECT n FROM region WHERE id = 1").await, 8 + 6);
}

async fn a_second_plan_below_the_first_is_refused<R: Rig>() {
    let (_rig, pool) = catalogue::<R>().await;
    let transactor = Transactor::<R::Db>::new(pool);
    let body = work!(|tx: R::Db| {
        tx.lock_rows(&LockPlan::new().rows(BEAN, vec![4_i64])).await?;
        tx.lock_rows(&LockPlan::new().rows(BEAN, vec![5_i64, 6])).await?;
        tx.lock_rows(&LockPlan::new().rows(REGION, vec![8_i64])).await
    });
    let error = transactor.run("twice", &quick(), body).await.expect_err("a lower rank");
    assert!(matches!(error, TxnError::LockOrder { .. }), "{error}");
    let told = error.to_string();
    assert!(told.contains("region") && told.contains("id 8") && told.contains("bean"), "{told}");
    let body = work!(|tx: R::Db| {
        tx.lock_rows(&LockPlan::new().rows(BEAN, vec![4_i64])).await?;
        tx.lock_rows(&LockPlan::new().rows(BEAN, vec![4_i64, 7])).await
    });
    let error = transactor.run("twice", &quick(), body).await.expect_err("not above");
    assert!(matches!(error, TxnError::LockOrder { .. }), "{error}");
}

async fn texts_and_uuids_are_ids_too<R: Rig>() {
    let rig = R::create().await;
    let pool = rig.pool(2).await;
    let uuid = match R::Db::SYSTEM {
        "postgresql" => "uuid",
        "mysql" => "BINARY(16)",
        _ => "blob",
    };
    let setup = format!(
        "CREATE TABLE named (id varchar(40) PRIMARY KEY);
         CREATE TABLE tagged (id {uuid} PRIMARY KEY);
         INSERT INTO named VALUES ('a\"b'), ('c''d,{{}}'), ('e')"
    );
    R::sql(&pool, &setup).await;
    let hex = "00112233445566778899aabbccddeeff";
    let value = if uuid == "uuid" { format!("'{hex}'") } else { format!("X'{hex}'") };
    R::sql(&pool, &format!("INSERT INTO tagged VALUES ({value})")).await;
    let named = TableRank::new(1, "named", "id");
    let tagged = TableRank::new(2, "tagged", "id");
    let id = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128.to_be_bytes();
    let plan = LockPlan::new()
        .rows(named, vec!["e", "c'd,{}", "a\"b", "missing"])
        .rows(tagged, vec![id, [7; 16]]);
    let body = work!([plan] => |tx: R::Db| { tx.lock_rows(&plan).await });
    let locked = Transactor::<R::Db>::new(pool).run("plan", &once(), body).await.expect("locked");
    let texts = locked.existing(&named).expect("it was asked for").texts();
    assert_eq!(texts, ["a\"b", "c'd,{}", "e"]);
    assert_eq!(locked.existing(&tagged).expect("it was asked for").uuids(), [id]);
}

on_all!(
    a_plan_reports_the_rows_that_are_there,
    a_plan_of_thousands_of_ids_is_one_plan,
    a_row_lock_prevents_a_lost_update,
    a_second_plan_below_the_first_is_refused,
    texts_and_uuids_are_ids_too,
);

/// Holds a row until told otherwise.
async fn rival<R: Rig>(
    pool: &Pool<R::Db>,
    table: TableRank,
    id: i64,
) -> (Arc<Notify>, tokio::task::JoinHandle<Result<(), TxnError>>) {
    let (held, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let transactor = Transactor::<R::Db>::new(pool.clone());
    let task = tokio::spawn({
        let (held, release) = (held.clone(), release.clone());
        async move {
            let body = work!([held, release] => |tx: R::Db| {
                tx.lock_rows(&LockPlan::new().rows(table, vec![id])).await?;
                held.notify_one();
                release.notified().await;
                Ok(())
            });
            transactor.run("rival", &once(), body).await
        }
    });
    held.notified().await;
    (release, task)
}

/// Whoever holds the n-th row of the order stops a unit that holds exactly the n rows below it.
async fn rows_are_locked_in_order<R: Rig>() {
    let (_rig, pool) = catalogue::<R>().await;
    let order: Vec<(TableRank, i64)> = [2_i64, 3, 5]
        .iter()
        .map(|id| (REGION, *id))
        .chain([0_i64, 1, 4, 7, 8].iter().map(|id| (BEAN, *id)))
        .collect();
    for (position, (table, id)) in order.iter().enumerate() {
        let (release, rival) = rival::<R>(&pool, *table, *id).await;
        let transactor = Transactor::<R::Db>::new(pool.clone());
        let unit = tokio::spawn(async move {
            let plan = LockPlan::new()
                .rows(BEAN, vec![8_i64, 0, 7, 1, 4, 7])
                .rows(REGION, vec![5_i64, 2, 3]);
            let body = work!([plan] => |tx: R::Db| { tx.lock_rows(&plan).await.map(drop) });
            transactor.run("ordered", &once(), body).await
        });
        let stopped = async || R::waiting(&pool).await == 1;
        eventually("the unit waits", Duration::from_secs(10), stopped).await;
        for (other, (table, id)) in order.iter().enumerate() {
            let expected = other <= position;
            assert_eq!(is_held::<R>(&pool, *table, *id).await, expected, "{position}: {other}");
        }
        release.notify_one();
        rival.await.expect("no panic").expect("the rival commits");
        unit.await.expect("no panic").expect("all rows are locked");
    }
}

async fn is_held<R: Rig>(pool: &Pool<R::Db>, table: TableRank, id: i64) -> bool {
    let body =
        work!(|tx: R::Db| { tx.try_lock_rows(&LockPlan::new().rows(table, vec![id])).await });
    let tried = Transactor::<R::Db>::new(pool.clone()).run("probe", &once(), body).await;
    matches!(tried.expect("an answer"), TryLocked::Busy { .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_locked_in_order_on_postgres() {
    rows_are_locked_in_order::<OnPostgres>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_locked_in_order_on_mariadb() {
    rows_are_locked_in_order::<OnMaria>().await;
}

/// Opposite orders asked for at the same moment, again and again.
async fn opposite_plans_do_not_deadlock<R: Rig>() {
    let (_rig, pool) = catalogue::<R>().await;
    let barrier = Arc::new(Barrier::new(4));
    let mut tasks = Vec::new();
    for worker in 0..4 {
        let (transactor, barrier) = (Transactor::<R::Db>::new(pool.clone()), barrier.clone());
        tasks.push(tokio::spawn(async move {
            for _ in 0..20 {
                barrier.wait().await;
                let mut ids: Vec<i64> = (0..9).collect();
                if worker % 2 == 0 {
                    ids.reverse();
                }
                let body = work!([ids] => |tx: R::Db| {
                    let plan = LockPlan::new().rows(REGION, ids.clone()).rows(BEAN, ids);
                    tx.lock_rows(&plan).await?;
                    tx.execute("UPDATE region SET n = n + 1").await?;
                    tx.execute("UPDATE bean SET n = n + 1").await?;
                    Ok(())
                });
                // One attempt: a deadlock would fail it.
                transactor.run("opposite", &once(), body).await.expect("no deadlock");
            }
        }));
    }
    for task in tasks {
        task.await.expect("no deadlock");
    }
    assert_eq!(R::int(&pool, "SELECT n FROM bean WHERE id = 0").await, 9 + 80);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opposite_plans_do_not_deadlock_on_postgres() {
    opposite_plans_do_not_deadlock::<OnPostgres>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opposite_plans_do_not_deadlock_on_mariadb() {
    opposite_plans_do_not_deadlock::<OnMaria>().await;
}

async fn a_row_not_granted_in_time_is_a_lock_timeout<R: Rig>() {
    let (_rig, pool) = catalogue::<R>().await;
    let (release, rival) = rival::<R>(&pool, BEAN, 3).await;
    let body = work!(|tx: R::Db| { tx.lock_rows(&LockPlan::new().rows(BEAN, vec![3_i64])).await });
    let options = cupping::txn::TxnOptions { lock_timeout: Duration::from_millis(50), ..once() };
    let error = Transactor::<R::Db>::new(pool).run("late", &options, body).await;
    let error = error.expect_err("it is held");
    assert!(matches!(error, TxnError::Exhausted { reason: Reason::LockTimeout, .. }), "{error}");
    release.notify_one();
    rival.await.expect("no panic").expect("the rival commits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_not_granted_in_time_is_a_lock_timeout_on_postgres() {
    a_row_not_granted_in_time_is_a_lock_timeout::<OnPostgres>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_not_granted_in_time_is_a_lock_timeout_on_mariadb() {
    a_row_not_granted_in_time_is_a_lock_timeout::<OnMaria>().await;
}

/// What a plan for changes leaves to others: PostgreSQL lets foreign keys through.
#[tokio::test]
async fn the_default_strength_lets_foreign_keys_through_on_postgres() {
    let (_rig, pool) = catalogue::<OnPostgres>().await;
    let (release, rival) = rival::<OnPostgres>(&pool, REGION, 3).await;
    let share = work!(|tx: Postgres| {
        let plan = LockPlan::new().rows_for(Strength::KeyShare, REGION, vec![3_i64]);
        tx.try_lock_rows(&plan).await
    });
    let tried = Transactor::new(pool.clone()).run("key_share", &once(), share).await;
    assert!(matches!(tried.expect("an answer"), TryLocked::Locked(_)));
    let share = work!(|tx: Postgres| {
        tx.try_lock_rows(&LockPlan::new().rows_for(Strength::Share, REGION, vec![3_i64])).await
    });
    let tried = Transactor::new(pool).run("share", &once(), share).await;
    assert!(matches!(tried.expect("an answer"), TryLocked::Busy { table: "region" }));
    release.notify_one();
    rival.await.expect("no panic").expect("the rival commits");
}

/// MariaDB reports a busy row by the number of a timeout; it must be neither waited for nor
/// retried, and the transaction goes on.
#[tokio::test]
async fn a_busy_row_is_a_value_on_mariadb_and_the_transaction_goes_on() {
    let (_rig, pool) = catalogue::<OnMaria>().await;
    let (release, rival) = rival::<OnMaria>(&pool, BEAN, 3).await;
    let body = work!(|tx: MySql| {
        tx.execute("UPDATE region SET n = 77 WHERE id = 0").await?;
        let tried = tx.try_lock_rows(&LockPlan::new().rows(BEAN, vec![2_i64, 3])).await?;
        assert!(matches!(tried, TryLocked::Busy { table: "bean" }), "{tried:?}");
        let shared = LockPlan::new().rows_for(Strength::Share, BEAN, vec![3_i64]);
        assert!(matches!(tx.try_lock_rows(&shared).await?, TryLocked::Busy { .. }));
        tx.execute("UPDATE region SET n = n + 1 WHERE id = 0").await?;
        Ok(())
    });
    let transactor = Transactor::new(pool.clone());
    transactor.run("try", &once(), body).await.expect("it commits");
    assert_eq!(transactor.stats().retries, 0);
    assert_eq!(OnMaria::int(&pool, "SELECT n FROM region WHERE id = 0").await, 78);
    release.notify_one();
    rival.await.expect("no panic").expect("the rival commits");
}

/// A scope of PostgreSQL gives back what it locked; the order still counts it as held.
#[tokio::test]
async fn what_a_scope_locked_still_counts() {
    let (_rig, pool) = catalogue::<OnPostgres>().await;
    let (sender, receiver) = oneshot::channel();
    let sender = Arc::new(std::sync::Mutex::new(Some(sender)));
    let body = work!([sender] => |tx: Postgres| {
        let failed = tx
            .scope(work!(|tx: Postgres| {
                tx.lock_rows(&LockPlan::new().rows(BEAN, vec![5_i64])).await?;
                tx.execute("INSERT INTO bean VALUES (5, 5)").await?;
                Ok(())
            }))
            .await;
        assert!(failed.is_err(), "a duplicate");
        let below = tx.lock_rows(&LockPlan::new().rows(BEAN, vec![4_i64])).await.map(drop);
        let told = below.expect_err("it is below").to_string();
        sender.lock().expect("no panic").take().expect("once").send(told).expect("heard");
        Ok(())
    });
    let unit = Transactor::new(pool).run("scoped", &once(), body).await;
    unit.expect("the refusal was survived");
    assert!(receiver.await.expect("it was told").contains("bean"));
}
