//! Our own state in PostgreSQL after a move or a restore, and while others work.

use crate::pg_support::{Shop, batch, item, list};
use crate::support::eventually;
use cupping::store::{Catalogue, LogMark, ReloadReason, SimilarityStore, StateCheck, WriteOutcome};
use sqlx::{Connection, Executor, PgConnection};
use std::time::Duration;

const MOVED: &str = "UPDATE cupping.state SET value = 'another' WHERE key = 'database'";

#[tokio::test]
async fn after_a_move_old_marks_reload_and_new_ones_do_not_however_long_a_transaction_runs() {
    let shop = Shop::open().await;
    shop.beans(3).await;
    assert_eq!(shop.store.open_state("f").await.expect("opens"), StateCheck::Fresh);
    // As restored from a cluster whose transactions were counted much further.
    shop.sql("INSERT INTO cupping.state VALUES ('pruned_below', '4000000000')").await;
    let mut long = PgConnection::connect(&shop.database.url()).await.expect("connects");
    let begin = "BEGIN; SELECT pg_current_xact_id()";
    long.execute(sqlx::raw_sql(begin)).await.expect("an old transaction");
    let old = shop.store.load(&mut |_| {}).await.expect("loads");
    shop.sql(MOVED).await;
    let check = shop.store.open_state("f").await.expect("opens");
    assert!(matches!(check, StateCheck::Reset(_)));
    let since = shop.store.changes(&old).await.expect("reads");
    assert!(since.reload.is_some(), "what was logged before is forgotten");
    let new = shop.store.load(&mut |_| {}).await.expect("loads");
    let since = shop.store.changes(&new).await.expect("reads");
    assert_eq!(since.reload, None, "or every batch would reload everything");
    let write = |at| batch(vec![item(1, list(&[(2, 5)]))], at);
    let report = shop.store.write(write(&old)).await.expect("commits");
    assert_eq!(report.outcomes, [WriteOutcome::Outdated]);
    let report = shop.store.write(write(&new)).await.expect("commits");
    assert_eq!(report.outcomes, [WriteOutcome::Written { deleted: 0, inserted: 1 }]);
    long.close().await.expect("ends");
}

#[tokio::test]
async fn a_mark_from_before_the_server_was_put_back_in_time_reloads() {
    let shop = Shop::open().await;
    shop.beans(1).await;
    let future = LogMark("4000000000:4000000000:".into());
    let since = shop.store.changes(&future).await.expect("reads");
    assert_eq!(since.reload, Some(ReloadReason::Pruned));
    assert!(shop.store.changes(&since.mark).await.expect("reads").reload.is_none());
}

/// A worker with other settings starts and resets the thresholds, while a writer holds one and is
/// about to take another.
#[tokio::test]
async fn a_reset_does_not_deadlock_with_a_writer() {
    let shop = Shop::open().await;
    shop.store.open_state("before").await.expect("opens");
    shop.sql("INSERT INTO cupping.source_state (source_id, count) VALUES ('a', 1), ('b', 1)").await;
    let mut writer = PgConnection::connect(&shop.database.url()).await.expect("connects");
    let touch = |id| format!("UPDATE cupping.source_state SET count = 2 WHERE source_id = '{id}'");
    writer.execute("BEGIN").await.expect("begins");
    writer.execute(sqlx::AssertSqlSafe(touch("b"))).await.expect("updates");
    let store = shop.store.clone();
    let reset = tokio::spawn(async move { store.open_state("after").await });
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("the reset waits", Duration::from_secs(20), || async {
        shop.number(waiting).await == 1
    })
    .await;
    writer.execute(sqlx::AssertSqlSafe(touch("a"))).await.expect("no deadlock");
    writer.execute("COMMIT").await.expect("commits");
    let check = reset.await.expect("no panic").expect("opens");
    assert!(matches!(check, StateCheck::Reset(_)));
    assert_eq!(shop.number("SELECT count(*) FROM cupping.source_state").await, 0);
    writer.close().await.expect("closes");
    assert_eq!(shop.deadlocks().await, 0);
}
