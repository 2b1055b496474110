//! The same request, four times: ignoring a deadlock, retrying, avoiding it in two ways.
//!
//! Decides: what each form promises. Never does: coalesce requests (see `coalesced`).

use cupping::txn::{
    BodyError, LockPlan, OnDeadlock, TableRank, Transactor, Tx, TxnError, TxnOptions, work,
};
use sqlx::{AssertSqlSafe, MySql, MySqlPool};
use std::time::Duration;

const THING: TableRank = TableRank::new(1, "thing", "id");

/// Gives up when it is the victim of a deadlock: the twin that survived writes the same minute.
/// Only for writes of which the last one counts, and any one will do. `false`: given up.
pub async fn ignore(transactor: &Transactor<MySql>, rows: &[i64]) -> Result<bool, TxnError> {
    let rows = rows.to_vec();
    let written = transactor
        .on_deadlock(OnDeadlock::Ignore)
        .run("touch", &TxnOptions::default(), work!([rows] => |tx| { one_by_one(tx, &rows).await }))
        .await?;
    Ok(written.is_some())
}

/// Runs the whole transaction again when it is the victim of a deadlock.
pub async fn retry(transactor: &Transactor<MySql>, rows: &[i64]) -> Result<(), TxnError> {
    let (rows, base_delay) = (rows.to_vec(), Duration::from_millis(5));
    // So many deadlock here that three attempts are too few; that alone says: avoid them.
    let options = TxnOptions { attempts: 12, base_delay, ..TxnOptions::default() };
    transactor.run("touch", &options, work!([rows] => |tx| { one_by_one(tx, &rows).await })).await
}

/// Locks its rows in one order first. Then one statement writes them all.
pub async fn in_order(transactor: &Transactor<MySql>, rows: &[i64]) -> Result<(), TxnError> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows = rows.to_vec();
    let options = TxnOptions::default();
    transactor.run("touch", &options, work!([rows] => |tx| { at_once(tx, rows).await })).await
}

/// Looks first, which locks nothing, and leaves only what was not written within the last second:
/// a timestamp that is shown in minutes need not be exact to the microsecond.
pub async fn stale(pool: &MySqlPool, rows: &[i64]) -> Result<Vec<i64>, sqlx::Error> {
    let sql = format!(
        "SELECT id FROM thing WHERE id IN ({})
         AND (last_seen IS NULL OR last_seen < NOW(6) - INTERVAL 1 SECOND)",
        placeholders(rows),
    );
    let mut look = sqlx::query_scalar(AssertSqlSafe(sql));
    for row in rows {
        look = look.bind(row);
    }
    look.fetch_all(pool).await
}

async fn one_by_one(tx: &mut Tx<MySql>, rows: &[i64]) -> Result<(), BodyError> {
    for row in rows {
        let update = sqlx::query("UPDATE thing SET last_seen = NOW(6) WHERE id = ?");
        tx.execute(update.bind(row)).await?;
    }
    Ok(())
}

/// Marks rows as seen, locked in order.
pub async fn at_once(tx: &mut Tx<MySql>, rows: Vec<i64>) -> Result<(), BodyError> {
    tx.lock_rows(&LockPlan::new().rows(THING, rows.clone())).await?;
    let sql = format!("UPDATE thing SET last_seen = NOW(6) WHERE id IN ({})", placeholders(&rows));
    let mut update = sqlx::query(AssertSqlSafe(sql));
    for row in rows {
        update = update.bind(row);
    }
    tx.execute(update).await.map(drop)
}

fn placeholders(rows: &[i64]) -> String {
    vec!["?"; rows.len()].join(", ")
}
