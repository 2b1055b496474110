//! Fencing: a holder that does not know that its lock has expired cannot write after a newer one.

use crate::support::databases::PostgresDatabase;
use crate::support::mariadb::MariaDatabase;
use crate::support::redis::{link_with, settings};
use crate::support::sqlite::SqliteDatabase;
use cupping::txn::redis::{FenceRefused, Fenced, FencingToken, LockSettings, RedisLock, fence};
use cupping::txn::{Isolation, Transactor, TxnError, TxnOptions, work};
use sqlx::{Executor, MySql, MySqlPool, PgPool, Postgres, Sqlite};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

const TABLE: &str = "CREATE TABLE note (writer varchar(50) NOT NULL)";

async fn postgres(database: &PostgresDatabase) -> PgPool {
    let pool = database.pool(4).await;
    for sql in [<Postgres as Fenced>::DDL, <Postgres as Fenced>::DDL, TABLE] {
        pool.execute(sql).await.expect("a table, and the fence's twice");
    }
    pool
}

async fn sqlite() -> SqliteDatabase {
    let database = SqliteDatabase::create(4).await;
    for sql in [<Sqlite as Fenced>::DDL, <Sqlite as Fenced>::DDL, TABLE] {
        database.pool.execute(sql).await.expect("a table, and the fence's twice");
    }
    database
}

async fn mariadb(database: &MariaDatabase) -> MySqlPool {
    let pool = database.pool(4).await;
    for sql in [<MySql as Fenced>::DDL, <MySql as Fenced>::DDL, TABLE] {
        pool.execute(sql).await.expect("a table, and the fence's twice");
    }
    pool
}

/// Writes as a holder does.
macro_rules! write_as {
    ($pool:expr, $writer:literal, $token:expr) => {{
        let token: FencingToken = $token;
        let transactor = Transactor::new($pool.clone());
        transactor
            .run("write", &TxnOptions::default(), work!([token] => |tx| {
                fence(tx, "note/1", token).await?;
                tx.execute(concat!("INSERT INTO note VALUES ('", $writer, "')")).await?;
                Ok(())
            }))
            .await
    }};
}

fn refusal(error: TxnError) -> FenceRefused {
    assert_eq!(error.retryability(), cupping::resilience::retryability::Retryability::Permanent);
    let TxnError::Body { source, .. } = error else { panic!("{error}") };
    *source.downcast::<FenceRefused>().expect("the fence refuses")
}

/// An old holder that was paused till its lock expired, and the new holder: their tokens.
async fn paused_and_newer() -> (FencingToken, FencingToken) {
    let settings = settings();
    let brief = LockSettings {
        ttl: Duration::from_millis(50),
        heartbeat: false,
        ..LockSettings::default()
    };
    let old = RedisLock::new(link_with(settings.clone()), brief);
    let old = old.acquire("note", "1").await.expect("free");
    let new = RedisLock::new(link_with(settings), LockSettings::default());
    let new = new.acquire("note", "1").await.expect("the old lock expires");
    (old.token(), new.token())
}

macro_rules! a_paused_holder_is_refused {
    ($pool:expr) => {{
        let pool = $pool;
        let (old, new) = paused_and_newer().await;
        write_as!(pool, "old, in time", old).expect("nobody newer has been here");
        write_as!(pool, "new", new).expect("newer");
        write_as!(pool, "new, again", new).expect("the same holder");
        let error = write_as!(pool, "old, too late", old).expect_err("refused");
        assert!(error.to_string().contains(&format!("{old} for note/1 is older than {new}")));
        let refused = refusal(error);
        assert_eq!((refused.presented, refused.newest), (old, new));
        let writers: Vec<(String,)> =
            sqlx::query_as("SELECT writer FROM note").fetch_all(&pool).await.expect("rows");
        let writers: Vec<&str> = writers.iter().map(|(writer,)| writer.as_str()).collect();
        assert_eq!(writers, ["old, in time", "new", "new, again"]);
    }};
}

#[tokio::test]
async fn a_paused_holder_cannot_write_after_a_newer_one_on_postgres() {
    let database = PostgresDatabase::create().await;
    a_paused_holder_is_refused!(postgres(&database).await);
}

#[tokio::test]
async fn a_paused_holder_cannot_write_after_a_newer_one_on_mariadb() {
    let database = MariaDatabase::create().await;
    a_paused_holder_is_refused!(mariadb(&database).await);
}

#[tokio::test]
async fn a_paused_holder_cannot_write_after_a_newer_one_on_sqlite() {
    let database = sqlite().await;
    a_paused_holder_is_refused!(database.pool.clone());
}

/// A snapshot older than the newer holder's commit must not hide its token.
#[tokio::test]
async fn an_old_snapshot_does_not_let_a_late_holder_through_on_mariadb() {
    let database = MariaDatabase::create().await;
    let pool = mariadb(&database).await;
    let (old, new) = (FencingToken::new(1), FencingToken::new(2));
    write_as!(pool, "old", old).expect("the first");
    let (looked, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let late = tokio::spawn({
        let transactor = Transactor::new(pool.clone());
        let body = work!([looked, go_on] => |tx: MySql| {
            tx.fetch_all("SELECT * FROM note").await?;
            looked.notify_one();
            go_on.notified().await;
            fence(tx, "note/1", old).await?;
            tx.execute("INSERT INTO note VALUES ('late')").await?;
            Ok(())
        });
        let options = TxnOptions { isolation: Isolation::RepeatableRead, ..Default::default() };
        async move { transactor.run("late", &options, body).await }
    });
    looked.notified().await;
    write_as!(pool, "new", new).expect("newer");
    go_on.notify_one();
    let refused = refusal(late.await.expect("no panic").expect_err("too late"));
    assert_eq!((refused.presented, refused.newest), (old, new));
}

#[tokio::test]
async fn a_newer_holder_waits_for_the_transaction_of_the_older_one() {
    let database = PostgresDatabase::create().await;
    let pool = postgres(&database).await;
    let (old, new) = (FencingToken::new(1), FencingToken::new(2));
    let (fenced, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let body = work!([fenced, go_on] => |tx: Postgres| {
        fence(tx, "note/1", old).await?;
        fenced.notify_one();
        go_on.notified().await;
        tx.execute("INSERT INTO note VALUES ('old')").await?;
        Ok(())
    });
    let older = tokio::spawn({
        let transactor = Transactor::new(pool.clone());
        async move { transactor.run("old", &TxnOptions::default(), body).await }
    });
    fenced.notified().await;
    let newer = tokio::spawn({
        let pool = pool.clone();
        async move { write_as!(pool, "new", new) }
    });
    let waits = "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'";
    crate::support::eventually("the newer waits", Duration::from_secs(20), async || {
        let waiting: i64 = sqlx::query_scalar(waits).fetch_one(&pool).await.expect("a count");
        waiting == 1
    })
    .await;
    go_on.notify_one();
    older.await.expect("no panic").expect("it was in time");
    newer.await.expect("no panic").expect("it is newer");
    let error = write_as!(pool, "old, again", old).expect_err("too late now");
    assert_eq!(refusal(error).newest, new);
}

#[tokio::test]
async fn resources_are_fenced_apart() {
    let database = PostgresDatabase::create().await;
    let transactor = Transactor::new(postgres(&database).await);
    let body = work!(|tx: Postgres| {
        fence(tx, "a", FencingToken::new(9)).await?;
        fence(tx, "b", FencingToken::new(1)).await
    });
    transactor.run("both", &TxnOptions::default(), body).await.expect("two resources");
}
