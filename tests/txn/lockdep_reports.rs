//! Lockdep as its user meets it: what a report says, what fails and what does not, and how ids are
//! seen.
//!
//! Decides: nothing. Never does: let two transactions run at the same time.

use crate::lockdep_rig::{Story, mariadb, postgres};
use crate::support::databases::PostgresDatabase;
use cupping::resilience::retryability::Retryability;
use cupping::txn::lockdep::{Class, Mode};
use cupping::txn::{LockKeys, Lockdep, Transactor, TxnError, TxnOptions, work};
use sqlx::{Executor, PgPool, Postgres};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const TABLES: &str = "
    CREATE TABLE region (id bigint PRIMARY KEY, name text UNIQUE, n int NOT NULL DEFAULT 0);
    CREATE TABLE bean (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0);
    INSERT INTO region (id, name) SELECT i, 'r' || i FROM generate_series(1, 9) i;
    INSERT INTO bean (id) VALUES (1), (2)";

const UPDATE: &str = "UPDATE region SET n = n + 1 WHERE id = $1";

fn once() -> TxnOptions {
    TxnOptions { attempts: 1, ..TxnOptions::default() }
}

async fn in_order(transactor: &Transactor<Postgres>, ids: [i64; 2]) -> Result<(), TxnError> {
    let body = work!([ids] => |tx: Postgres| {
        for id in ids {
            tx.execute(sqlx::query(UPDATE).bind(id)).await?;
        }
        Ok(())
    });
    transactor.run("in_order", &once(), body).await
}

async fn counts(pool: &PgPool) -> i64 {
    let sum = sqlx::query_scalar("SELECT sum(n) FROM region").fetch_one(pool).await;
    sum.expect("PostgreSQL answers")
}

#[tokio::test]
async fn a_report_names_both_transactions_and_all_four_places() {
    let rig = postgres(TABLES).await;
    let line = line!();
    let first = work!(|tx: Postgres| {
        tx.execute("UPDATE region SET n = 1 WHERE id = 1").await?;
        tx.execute("UPDATE bean SET n = 1 WHERE id = 1").await?;
        Ok(())
    });
    rig.transactor.run("first", &once(), first).await.expect("nothing contradicts it");
    let second = work!(|tx: Postgres| {
        tx.fetch_all_as::<(i64,), _>("SELECT id FROM bean WHERE id = 2 FOR UPDATE").await?;
        tx.fetch_one_as::<(i64,), _>("SELECT id FROM region WHERE id = 2 FOR UPDATE").await?;
        Ok(())
    });
    let error = rig.transactor.run("second", &once(), second).await.expect_err("an inversion");
    assert_eq!(error.retryability(), Retryability::Permanent);
    let TxnError::LockOrderInversion { name: "second", report } = error else { panic!("{error}") };
    for at in [2, 3, 8, 9] {
        assert!(report.contains(&format!("lockdep_reports.rs:{}:", line + at)), "{at}: {report}");
    }
    for part in [
        "transactions second and first can deadlock",
        "transaction first holds rows of region (NO KEY UPDATE)",
        "asks for rows of bean (NO KEY UPDATE)",
        "transaction second holds rows of bean (UPDATE)",
        "asks for rows of region (UPDATE)",
        "UPDATE region SET n = 1 WHERE id = 1",
        "what to do: let every transaction lock these in the same order",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    let found = rig.lockdep.inversions();
    assert_eq!(found[0].transactions, ["second", "first"]);
    assert!(found[0].classes.contains(&Class::Rows("region".into())));
}

#[tokio::test]
async fn an_inversion_is_not_retried_nor_committed_and_the_other_order_goes_on() {
    let rig = postgres(TABLES).await;
    in_order(&rig.transactor, [1, 3]).await.expect("nothing contradicts it");
    let runs = Arc::new(AtomicU32::new(0));
    let swallows = work!([runs] => |tx: Postgres| {
        runs.fetch_add(1, Ordering::SeqCst);
        tx.execute(sqlx::query(UPDATE).bind(4_i64)).await?;
        let swallowed = tx.execute(sqlx::query(UPDATE).bind(2_i64)).await;
        assert!(swallowed.is_err(), "it is told at once");
        Ok(())
    });
    for _ in 0..2 {
        let error = rig.transactor.run("swallows", &TxnOptions::default(), swallows.clone()).await;
        assert!(matches!(error, Err(TxnError::LockOrderInversion { .. })), "{error:?}");
    }
    assert_eq!(runs.load(Ordering::SeqCst), 2, "once each");
    in_order(&rig.transactor, [2, 5]).await.expect("who came first is not blamed");
    assert_eq!(counts(rig.transactor.pool()).await, 4, "what was inverted was rolled back");
    assert_eq!(rig.lockdep.inversions().len(), 1, "told once");
}

#[tokio::test]
async fn inversions_can_be_collected_instead() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(2).await;
    pool.execute(TABLES).await.expect("the tables are made");
    let lockdep = Lockdep::new().reporting();
    let transactor = Transactor::new(pool.clone()).with_lockdep(&lockdep);
    in_order(&transactor, [1, 2]).await.expect("it commits");
    in_order(&transactor, [2, 1]).await.expect("it commits");
    assert_eq!(counts(&pool).await, 4);
    let panicked = std::panic::catch_unwind(|| lockdep.assert_clean()).expect_err("it is not");
    let message = panicked.downcast_ref::<String>().expect("a message");
    assert!(message.contains("in_order can deadlock with another run of itself"), "{message}");
    let own = Transactor::new(pool);
    in_order(&own, [2, 1]).await.expect("without a lockdep nothing is watched");
}

#[tokio::test]
async fn databases_share_a_graph_unless_each_is_to_have_its_own() {
    for (lockdep, shared) in [(Lockdep::new(), true), (Lockdep::new().per_database(), false)] {
        let mut results = Vec::new();
        for ids in [[1, 2], [2, 1]] {
            let database = PostgresDatabase::create().await;
            let pool = database.pool(2).await;
            pool.execute(TABLES).await.expect("the tables are made");
            let transactor = Transactor::new(pool).with_lockdep(&lockdep);
            results.push(in_order(&transactor, ids).await.is_ok());
        }
        assert_eq!(results, [true, !shared]);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_sent_all_the_same_and_said() {
    let rig = postgres(TABLES).await;
    let body = work!(|tx: Postgres| {
        tx.execute(sqlx::raw_sql("VACUUM_LIKE_NOTHING")).await.expect_err("no SQL at all");
        Ok(())
    });
    let error = rig.transactor.run("unread", &once(), body).await.expect_err("it is poisoned");
    assert_eq!(error.code().as_deref(), Some("42601"), "as the server says it: {error}");
    let unseen = work!(|tx: Postgres| {
        tx.with_connection(|connection| {
            Box::pin(async move { connection.execute("SELECT 1").await.map(drop) })
        })
        .await
    });
    rig.transactor.run("unseen", &once(), unseen).await.expect("it commits");
    let unread: Vec<String> = rig.lockdep.unread().into_iter().map(|(what, _)| what).collect();
    assert_eq!(unread.len(), 2, "{unread:?}");
    assert!(unread.contains(&"VACUUM_LIKE_NOTHING".to_owned()), "{unread:?}");
    assert!(unread.iter().any(|what| what.contains("lockdep_reports.rs:")), "{unread:?}");
}

#[tokio::test]
async fn statements_arrive_as_they_were_sent() {
    let rig = postgres(TABLES).await;
    let mut connection = rig.transactor.pool().acquire().await.expect("a connection");
    let sql = sqlx::SqlSafeStr::into_sql_str("SELECT n + $1 FROM region WHERE name = $2");
    let prepared = connection.prepare(sql).await.expect("it is prepared");
    drop(connection);
    let prepared = Arc::new(prepared);
    let body = work!([prepared] => |tx: Postgres| {
        let query = sqlx::Statement::query(&*prepared).bind(5).bind("r3");
        let by_statement: (i32,) = tx.fetch_one_as(query).await?;
        let query = sqlx::query("SELECT $1::text, $2::int8[]").persistent(false);
        let bound: (String, Vec<i64>) =
            tx.fetch_one_as(query.bind("ä").bind(vec![3_i64, 1])).await?;
        let cached = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%int8[]'";
        let cached: (i64,) = tx.fetch_one_as(cached).await?;
        tx.execute(sqlx::raw_sql("UPDATE bean SET n = 1; UPDATE region SET n = 2")).await?;
        Ok((by_statement, bound, cached))
    });
    let (by_statement, bound, cached) =
        rig.transactor.run("as_sent", &once(), body).await.expect("it commits");
    assert_eq!((by_statement, bound), ((5,), ("ä".to_owned(), vec![3, 1])));
    assert_eq!(cached, (0,), "what is not to be kept is not kept");
    assert_eq!(counts(rig.transactor.pool()).await, 18);
}

#[tokio::test]
async fn ids_are_seen_in_arguments_lists_and_rows() {
    let up = work!(|tx: Postgres| {
        tx.execute(sqlx::query(UPDATE).bind(1_i64)).await?;
        tx.execute(sqlx::query(UPDATE).bind(2_i64)).await?;
        Ok(())
    });
    let unnested = work!(|tx: Postgres| {
        let update = "UPDATE region SET n = 0 FROM unnest($1::bigint[]) AS x(id) \
                      WHERE region.id = x.id";
        tx.execute(sqlx::query(update).bind(vec![5_i64, 2])).await?;
        Ok(())
    });
    let upserted = work!(|tx: Postgres| {
        let upsert =
            "INSERT INTO region (id) VALUES ($1), ($2) ON CONFLICT (id) DO UPDATE SET n = 0";
        tx.execute(sqlx::query(upsert).bind(9_i64).bind(8_i64)).await?;
        Ok(())
    });
    let by_rows = work!(|tx: Postgres| {
        for name in ["r7", "r6"] {
            let lock = "SELECT n, id FROM region WHERE name = $1 FOR NO KEY UPDATE";
            tx.fetch_optional(sqlx::query(lock).bind(name)).await?;
        }
        Ok(())
    });
    let by_plan = work!(|tx: Postgres| {
        tx.execute(sqlx::query("UPDATE region SET n = 0 WHERE id = ANY($1)").bind(vec![1_i64, 2]))
            .await?;
        Ok(())
    });
    macro_rules! inverts {
        ($($body:ident)*) => {$(
            let rig = postgres(TABLES).await;
            rig.transactor.run("up", &once(), up.clone()).await.expect("nothing contradicts it");
            let error = rig.transactor.run(stringify!($body), &once(), $body.clone()).await;
            assert!(
                matches!(error, Err(TxnError::LockOrderInversion { .. })),
                "{}: {error:?}", stringify!($body)
            );
        )*};
    }
    inverts!(unnested upserted by_rows by_plan);
}

#[tokio::test]
async fn a_row_found_by_name_and_updated_by_id_is_one_row() {
    let rig = postgres(TABLES).await;
    let body = work!(|tx: Postgres| {
        let lock = "SELECT id, n FROM region WHERE name = 'r7' FOR UPDATE";
        let (id, _): (i64, i32) = tx.fetch_one_as(lock).await?;
        tx.execute(sqlx::query(UPDATE).bind(id)).await?;
        tx.execute("UPDATE bean SET n = 1 WHERE id = 1").await?;
        tx.execute(sqlx::query(UPDATE).bind(id)).await?;
        Ok(())
    });
    rig.transactor.run("by_name", &once(), body).await.expect("it is held already");
}

#[tokio::test]
async fn what_does_not_wait_closes_no_cycle() {
    const CLAIM: &str = "SELECT id FROM region ORDER BY id LIMIT 2 FOR UPDATE SKIP LOCKED";
    const BEAN: &str = "UPDATE bean SET n = 1 WHERE id = 1";
    const DONE: &str = "UPDATE region SET n = 1 WHERE id IN (1, 2)";
    let stories: [Story; 3] = [
        ("worker", &[CLAIM, BEAN, DONE]),
        ("claims_late", &[BEAN, CLAIM, DONE]),
        ("asks", &["SELECT pg_try_advisory_xact_lock(1)", "SELECT pg_try_advisory_xact_lock(0)"]),
    ];
    postgres(TABLES).await.agrees(&stories).await;
    let waits: [Story; 2] = [("worker", &[CLAIM, BEAN]), ("waits", &[BEAN, DONE])];
    postgres(TABLES).await.inverts(&waits).await;
}

#[tokio::test]
async fn tables_locked_whole_are_part_of_the_order() {
    const BEAN: &str = "UPDATE bean SET n = 1 WHERE id = 1";
    const REGION: &str = "UPDATE region SET n = 1 WHERE id = 1";
    const LOCK: &str = "LOCK TABLE region IN SHARE ROW EXCLUSIVE MODE";
    let before: [Story; 2] = [("import", &[LOCK, BEAN]), ("edit", &[BEAN, REGION])];
    postgres(TABLES).await.inverts(&before).await;
    let upgrade: [Story; 1] = [("edit", &[REGION, "LOCK TABLE region IN EXCLUSIVE MODE"])];
    postgres(TABLES).await.inverts(&upgrade).await;
    let after: [Story; 2] = [("import", &[LOCK, BEAN]), ("edit", &[REGION, BEAN])];
    postgres(TABLES).await.agrees(&after).await;
}

#[tokio::test]
async fn keys_locked_by_a_plan_agree_whatever_the_rows_below_them_do() {
    let rig = postgres(TABLES).await;
    rig.lockdep.guarded("region", Class::Advisory(None));
    for ids in [[1_i64, 2], [2, 1]] {
        let body = work!([ids] => |tx: Postgres| {
            tx.advisory_xact_locks(&LockKeys::new(ids)).await?;
            for id in ids {
                tx.execute(sqlx::query(UPDATE).bind(id)).await?;
            }
            Ok(())
        });
        rig.transactor.run("guarded", &once(), body).await.expect("the keys are sorted");
    }
    let error = in_order(&rig.transactor, [2, 1]).await.expect_err("not everybody has the keys");
    assert!(matches!(error, TxnError::LockOrderInversion { .. }), "{error}");
}

#[tokio::test]
async fn rows_locked_out_of_sight_can_be_told() {
    let rig = postgres(TABLES).await;
    in_order(&rig.transactor, [1, 2]).await.expect("nothing contradicts it");
    let body = work!(|tx: Postgres| { tx.record_rows("region", Mode::NoKeyUpdate, [7_i64, 3]) });
    let error = rig.transactor.run("by_hand", &once(), body).await.expect_err("downwards");
    let TxnError::LockOrderInversion { report, .. } = error else { panic!("{error}") };
    assert!(report.contains("rows of region recorded by hand"), "{report}");
}

#[tokio::test]
async fn tables_made_after_the_first_look_are_looked_up_later() {
    let rig = postgres("SELECT 1").await;
    let pool = rig.transactor.pool().clone();
    rig.run(("nothing", &["SELECT 1"])).await.expect("it commits");
    pool.execute(
        "CREATE TABLE parent (code text PRIMARY KEY, n int);
         CREATE TABLE child (id int PRIMARY KEY, code text REFERENCES parent ON DELETE CASCADE);
         INSERT INTO parent VALUES ('a'), ('b'); INSERT INTO child VALUES (1, 'a'), (2, 'b')",
    )
    .await
    .expect("the tables are made");
    rig.run(("first", &["UPDATE child SET id = 3 WHERE id = 1"])).await.expect("it commits");
    let stories: [Story; 2] = [
        ("delete", &["DELETE FROM parent WHERE code = 'a'"]),
        ("other", &["UPDATE child SET id = 4 WHERE id = 2", "DELETE FROM parent WHERE code = 'b'"]),
    ];
    rig.inverts(&stories).await;
}

#[tokio::test]
async fn mariadb_ids_are_seen_in_arguments() {
    let rig = mariadb(
        "CREATE TABLE region (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0);
         INSERT INTO region (id) VALUES (1), (2), (3)",
    )
    .await;
    let run = async |ids: [i64; 2]| {
        let body = work!([ids] => |tx: sqlx::MySql| {
            for id in ids {
                let update = "UPDATE region SET n = ? + n WHERE id = ?";
                tx.execute(sqlx::query(update).bind("1").bind(id)).await?;
            }
            Ok(())
        });
        rig.transactor.run("in_order", &once(), body).await
    };
    run([1, 2]).await.expect("nothing contradicts it");
    run([2, 3]).await.expect("nothing contradicts it");
    let error = run([3, 1]).await.expect_err("downwards");
    assert!(matches!(error, TxnError::LockOrderInversion { .. }), "{error}");
}
