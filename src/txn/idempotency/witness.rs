//! What became of a COMMIT whose answer was lost, told by the record that it wrote.
//!
//! Decides: how each database is made to wait for a transaction that may still be under way.
//! Never does: leave anything behind: it asks in a transaction that is rolled back.
//!
//! A reader does not see a row that is being inserted, and does not wait for it on PostgreSQL; so
//! there another row of the same key is inserted, which waits. InnoDB's locking read waits. SQLite
//! has one writer: whoever has begun to write knows that nobody else is at it.

use super::records::Record;
use crate::txn::dialect::{Dialect, Family};
use crate::txn::statement::Statement;
use crate::txn::witness::Witness;
use sqlx::{Connection, Pool};
use std::sync::Arc;

/// Bounds the wait; whoever asks will ask again.
fn begin(family: Family) -> &'static str {
    match family {
        Family::Postgres => "BEGIN; SET LOCAL lock_timeout = '5s'",
        Family::MySql => {
            "SET SESSION innodb_lock_wait_timeout = 5; \
             SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION"
        }
        Family::Sqlite => "PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE",
    }
}

pub(super) fn of<DB: Dialect>(record: &Record) -> Witness<DB> {
    let record = record.clone();
    Witness(Arc::new(move |pool| {
        let record = record.clone();
        Box::pin(async move { ask(&pool, &record).await })
    }))
}

/// On a connection of its own: one of the pool's may be as dead as the one that was lost.
async fn ask<DB: Dialect>(pool: &Pool<DB>, record: &Record) -> Result<bool, sqlx::Error> {
    let mut side = DB::Connection::connect_with(&pool.connect_options()).await?;
    let told = testify::<DB>(&mut side, record).await;
    // Closing rolls back; nothing depends on a polite farewell.
    drop(side.close().await);
    told
}

async fn testify<DB: Dialect>(
    side: &mut DB::Connection,
    record: &Record,
) -> Result<bool, sqlx::Error> {
    DB::send(side, begin(DB::FAMILY).into()).await?;
    if DB::FAMILY == Family::Postgres {
        let (sql, values) = record.probe::<DB>().into_parts();
        if DB::tell(side, sql, values).await? == 1 {
            return Ok(false);
        }
    }
    let statement: Statement<DB> = record.is_ours();
    let (sql, values) = statement.into_parts();
    let rows = DB::ask(side, sql, values, false).await?;
    let ours = rows.first().map(|row| DB::text(row, 0)).transpose()?.flatten();
    Ok(ours.as_deref() == Some("y"))
}
