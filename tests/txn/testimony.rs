//! A lost COMMIT told by the record that it wrote, on MariaDB and PostgreSQL.

use crate::idempotency::{charge, key, ledger, rows};
use crate::rig::{OnMaria, OnPostgres, Rig, once, quick};
use crate::support::eventually;
use crate::support::proxy::{Fate, Proxy};
use cupping::txn::{BodyError, Once, Transactor, TxnError, TxnOptions, work};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::PgPoolOptions;
use sqlx::{MySql, MySqlPool, PgPool, Pool};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A pool through a proxy in front of MariaDB, and one beside it.
async fn maria_through_a_proxy() -> (OnMaria, MySqlPool, Proxy, MySqlPool) {
    let (rig, direct) = ledger::<OnMaria>().await;
    let proxy = Proxy::start(&rig.0.address()).await;
    let options = rig.0.options().host("127.0.0.1").port(proxy.address.port());
    let pool = MySqlPoolOptions::new().max_connections(1).connect_with(options).await;
    (rig, direct, proxy, pool.expect("MariaDB answers through the proxy"))
}

async fn postgres_through_a_proxy() -> (OnPostgres, PgPool, Proxy, PgPool) {
    let (rig, direct) = ledger::<OnPostgres>().await;
    let options = rig.0.options();
    let proxy = Proxy::start(&format!("{}:{}", options.get_host(), options.get_port())).await;
    let options = options.host("127.0.0.1").port(proxy.address.port());
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await;
    (rig, direct, proxy, pool.expect("PostgreSQL answers through the proxy"))
}

/// Cuts the connection between COMMIT and its answer; the record tells what became of it, so the
/// work is done once, and its effect runs once.
async fn a_lost_commit_is_told_by_the_record<R: Rig>(
    (_rig, direct, proxy, pool): (R, Pool<R::Db>, Proxy, Pool<R::Db>),
    fate: Fate,
    in_the_end: Fate,
) {
    let (runs, effects) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let unit = tokio::spawn({
        let (runs, effects) = (runs.clone(), effects.clone());
        async move {
            let body = work!([runs, effects] => |tx: R::Db| {
                runs.fetch_add(1, Ordering::SeqCst);
                tx.execute("INSERT INTO ledger VALUES (1)").await?;
                tx.after_commit(move || async move { effects.fetch_add(1, Ordering::SeqCst); });
                Ok(7_u32)
            });
            // Without the number, PostgreSQL has nothing but the record either.
            let options = TxnOptions { resolve_commit: false, ..quick() };
            Transactor::<R::Db>::new(pool).once("charge", &options, &key(), body).await
        }
    });
    proxy.cut_at(b"COMMIT", fate);
    let cut = async || proxy.sprung() == 1;
    eventually("the connection is cut", Duration::from_secs(10), cut).await;
    if fate == Fate::Held {
        // The question waits for the transaction, which is still open.
        let asks = async || R::waiting(&direct).await == 1;
        eventually("the question waits", Duration::from_secs(10), asks).await;
        assert!(!unit.is_finished());
        proxy.settle(in_the_end);
    }
    let done = unit.await.expect("no panic").expect("it is known");
    assert_eq!(done, Once::Fresh(7));
    assert_eq!(rows::<R>(&direct).await, 1);
    let expected = if in_the_end == Fate::Delivered { 1 } else { 2 };
    assert_eq!(runs.load(Ordering::SeqCst), expected);
    assert_eq!(effects.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_commit_is_told_by_the_record_on_mariadb() {
    let (delivered, lost, held) = (Fate::Delivered, Fate::Lost, Fate::Held);
    for (fate, end) in [(delivered, delivered), (lost, lost), (held, delivered), (held, lost)] {
        let rig = maria_through_a_proxy().await;
        a_lost_commit_is_told_by_the_record::<OnMaria>(rig, fate, end).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_commit_is_told_by_the_record_on_postgres() {
    let (delivered, lost, held) = (Fate::Delivered, Fate::Lost, Fate::Held);
    for (fate, end) in [(delivered, delivered), (lost, lost), (held, delivered), (held, lost)] {
        let rig = postgres_through_a_proxy().await;
        a_lost_commit_is_told_by_the_record::<OnPostgres>(rig, fate, end).await;
    }
}

/// A record that was taken over tells too: its owner is another.
#[tokio::test]
async fn a_lost_takeover_is_told_by_its_owner() {
    for (fate, expected) in [(Fate::Delivered, 1), (Fate::Lost, 2)] {
        let (_rig, direct, proxy, pool) = maria_through_a_proxy().await;
        let old = key().ttl(Duration::ZERO);
        charge::<OnMaria>(&direct, &once(), &old).await.expect("it is done");
        let runs = Arc::new(AtomicU32::new(0));
        let body = work!([runs] => |tx: MySql| {
            runs.fetch_add(1, Ordering::SeqCst);
            tx.execute("INSERT INTO ledger VALUES (2)").await?;
            Ok(7_u32)
        });
        proxy.cut_at(b"COMMIT", fate);
        let done = Transactor::new(pool).once("charge", &quick(), &key(), body).await;
        assert_eq!(done.expect("it is known"), Once::Fresh(7));
        assert_eq!(runs.load(Ordering::SeqCst), expected);
        assert_eq!(rows::<OnMaria>(&direct).await, 2);
    }
}

/// A record that a scope took back says nothing about the rest: nobody may conclude from it.
#[tokio::test]
async fn a_record_that_was_taken_back_does_not_testify() {
    let (_rig, direct, proxy, pool) = maria_through_a_proxy().await;
    let runs = Arc::new(AtomicU32::new(0));
    let body = work!([runs] => |tx: MySql| {
        runs.fetch_add(1, Ordering::SeqCst);
        let failed = tx
            .scope(work!(|tx: MySql| {
                let inner = work!(|tx: MySql| { tx.execute("SELECT 1").await.map(|_| 1_u32) });
                tx.once(&key(), inner).await?;
                Err::<(), _>(BodyError::own("no"))
            }))
            .await;
        assert!(failed.is_err());
        tx.execute("INSERT INTO ledger VALUES (1)").await?;
        Ok(())
    });
    proxy.cut_at(b"COMMIT", Fate::Delivered);
    let error = Transactor::new(pool).run("outer", &quick(), body).await.expect_err("unknown");
    assert!(matches!(error, TxnError::OutcomeUnknown { .. }), "{error}");
    assert_eq!((runs.load(Ordering::SeqCst), rows::<OnMaria>(&direct).await), (1, 1));
}
