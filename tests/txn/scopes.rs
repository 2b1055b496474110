//! Scopes on real databases: what is rolled back alone, and what takes the whole unit with it.

use crate::support::databases::PostgresDatabase;
use crate::support::sqlite::SqliteDatabase;
use cupping::resilience::retryability::Reason;
use cupping::txn::{Transactor, TxnError, TxnOptions, work};
use sqlx::{Executor, PgPool, Postgres, Sqlite};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

fn quick() -> TxnOptions {
    TxnOptions { base_delay: Duration::from_millis(1), ..TxnOptions::default() }
}

const TABLE: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY)";

async fn ids(pool: &PgPool) -> Vec<i32> {
    let rows: Vec<(i32,)> =
        sqlx::query_as("SELECT id FROM t ORDER BY id").fetch_all(pool).await.expect("rows");
    rows.into_iter().map(|(id,)| id).collect()
}

#[tokio::test]
async fn a_duplicate_in_a_scope_is_undone_alone() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(2).await;
    pool.execute(TABLE).await.expect("a table");
    let body = work!(|tx: Postgres| {
        tx.execute("INSERT INTO t VALUES (1)").await?;
        let inner = work!(|tx: Postgres| {
            tx.execute("INSERT INTO t VALUES (2)").await?;
            tx.execute("INSERT INTO t VALUES (1)").await?;
            Ok(())
        });
        let error = tx.scope(inner).await.expect_err("a duplicate");
        assert_eq!(error.code().as_deref(), Some("23505"));
        tx.execute("INSERT INTO t VALUES (3)").await?;
        Ok(())
    });
    Transactor::new(pool.clone()).run("scoped", &quick(), body).await.expect("it commits");
    assert_eq!(ids(&pool).await, [1, 3]);
}

#[tokio::test]
async fn scopes_nest_and_an_inner_failure_leaves_the_outer_one_standing() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(2).await;
    pool.execute(TABLE).await.expect("a table");
    let body = work!(|tx: Postgres| {
        let outer = work!(|tx: Postgres| {
            tx.execute("INSERT INTO t VALUES (1)").await?;
            let inner = work!(|tx: Postgres| {
                tx.execute("INSERT INTO t VALUES (2)").await?;
                let refused: Result<(), _> = Err(cupping::txn::BodyError::own("not this one"));
                refused
            });
            assert!(tx.scope(inner).await.is_err());
            tx.execute("INSERT INTO t VALUES (4)").await?;
            Ok(7)
        });
        tx.scope(outer).await
    });
    let value = Transactor::new(pool.clone()).run("nested", &quick(), body).await;
    assert_eq!(value.expect("it commits"), 7);
    assert_eq!(ids(&pool).await, [1, 4]);
}

#[tokio::test]
async fn an_error_swallowed_inside_a_scope_is_given_back_and_undone() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(2).await;
    pool.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await.expect("t");
    let body = work!(|tx: Postgres| {
        let swallowing = work!(|tx: Postgres| {
            tx.execute("INSERT INTO t VALUES (2)").await?;
            assert!(tx.execute("INSERT INTO t VALUES (1)").await.is_err());
            Ok(())
        });
        let error = tx.scope(swallowing).await.expect_err("the swallowed error");
        assert_eq!(error.code().as_deref(), Some("23505"));
        tx.execute("INSERT INTO t VALUES (3)").await?;
        Ok(())
    });
    Transactor::new(pool.clone()).run("swallow", &quick(), body).await.expect("it commits");
    assert_eq!(ids(&pool).await, [1, 3]);
}

/// A table whose second insert deadlocks, as far as anybody can tell, the first time.
async fn deadlocking_once(pool: &PgPool) {
    let setup = "CREATE SEQUENCE tries; CREATE TABLE t (id int PRIMARY KEY);
         CREATE FUNCTION once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF NEW.id = 2 AND nextval('tries') = 1 THEN
             RAISE EXCEPTION 'forced' USING ERRCODE = '40P01';
           END IF; RETURN NEW; END $$;
         CREATE TRIGGER once BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION once()";
    pool.execute(setup).await.expect("the table is made");
}

#[tokio::test]
async fn a_deadlock_inside_a_scope_runs_the_whole_unit_again_though_swallowed() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(2).await;
    deadlocking_once(&pool).await;
    let runs = Arc::new(AtomicU32::new(0));
    let body = work!([runs] => |tx: Postgres| {
        runs.fetch_add(1, Ordering::SeqCst);
        tx.execute("INSERT INTO t VALUES (1)").await?;
        let inner = work!(|tx: Postgres| {
            tx.execute("INSERT INTO t VALUES (2)").await?;
            Ok(())
        });
        // Treated as optional by the caller; a conflict is not.
        let optional = tx.scope(inner).await;
        drop(optional);
        Ok(())
    });
    Transactor::new(pool.clone()).run("optional", &quick(), body).await.expect("it commits");
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert_eq!(ids(&pool).await, [1, 2], "the second run is whole");
}

#[tokio::test]
async fn a_conflict_found_by_the_body_runs_the_unit_again_until_attempts_end() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(2).await;
    pool.execute(TABLE).await.expect("a table");
    let runs = Arc::new(AtomicU32::new(0));
    let body = work!([runs] => |tx: Postgres| {
        tx.execute("INSERT INTO t VALUES (1)").await?;
        if runs.fetch_add(1, Ordering::SeqCst) < 1 {
            return Err(cupping::txn::BodyError::conflict("it has moved on"));
        }
        Ok(())
    });
    let transactor = Transactor::new(pool.clone());
    transactor.run("moved", &quick(), body).await.expect("the second run commits");
    let body = work!(|tx: Postgres| {
        tx.execute("SELECT 1").await?;
        let never: Result<(), _> = Err(cupping::txn::BodyError::conflict("it moves on and on"));
        never
    });
    let error = transactor.run("moving", &quick(), body).await.expect_err("it never settles");
    assert!(
        matches!(error, TxnError::Exhausted { attempts: 3, reason: Reason::Serialization, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("it moves on and on"), "{error}");
    assert_eq!(ids(&pool).await, [1]);
}

#[tokio::test]
async fn sqlite_scopes_are_undone_alone_too() {
    let database = SqliteDatabase::create(2).await;
    database.pool.execute(TABLE).await.expect("a table");
    let body = work!(|tx: Sqlite| {
        tx.execute("INSERT INTO t VALUES (1)").await?;
        let inner = work!(|tx: Sqlite| {
            tx.execute("INSERT INTO t VALUES (2)").await?;
            tx.execute("INSERT INTO t VALUES (1)").await?;
            Ok(())
        });
        assert!(tx.scope(inner).await.is_err());
        tx.execute("INSERT INTO t VALUES (3)").await?;
        Ok(())
    });
    let transactor = Transactor::new(database.pool.clone());
    transactor.run("scoped", &quick(), body).await.expect("it commits");
    let rows: Vec<(i64,)> =
        sqlx::query_as("SELECT id FROM t").fetch_all(&database.pool).await.expect("rows");
    assert_eq!(rows, [(1,), (3,)]);
}
