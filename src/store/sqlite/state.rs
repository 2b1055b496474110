//! Our own state: whom it belongs to, small notes, and how far back the log reaches.
//!
//! Decides: when state is reset (other score settings). Never does: touch the catalogue or the
//! lists. A copied file is the same database with the same log, so only settings can differ.

use super::{SqliteStore, failed};
use crate::store::{StateCheck, StoreError};
use crate::txn::{BodyError, Tx, work};
use sqlx::Sqlite;
use std::sync::Arc;
use std::time::Duration;

const SET: &str = "INSERT INTO cupping_state (key, value) VALUES (?1, ?2) \
                   ON CONFLICT (key) DO UPDATE SET value = excluded.value";

/// Rows pruned in one transaction, at most.
const PRUNED_AT_ONCE: i64 = 10_000;

/// Numbers and times rise together, but a clock may be set back: what is pruned is a prefix.
const PRUNE_TO: &str = "\
    SELECT max(seq) FROM (SELECT seq FROM cupping_change_log \
     WHERE seq < coalesce((SELECT min(seq) FROM cupping_change_log \
        WHERE at >= CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) - ?1), \
        9223372036854775807) \
     ORDER BY seq LIMIT ?2)";

impl SqliteStore {
    pub(super) async fn check_state(&self, fingerprint: &str) -> Result<StateCheck, StoreError> {
        let fingerprint: Arc<str> = fingerprint.into();
        let options = &self.settings.transaction;
        let body = work!([fingerprint] => |tx: Sqlite| { open(tx, &fingerprint).await });
        Ok(self.writer.run("open_state", options, body).await?)
    }

    pub(super) async fn read_note(&self, name: &str) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar("SELECT value FROM cupping_note WHERE name = ?1")
            .bind(name.to_owned())
            .fetch_optional(&self.read_pool)
            .await
            .map_err(failed("reading a note"))
    }

    pub(super) async fn write_note(
        &self,
        name: &str,
        value: Option<&str>,
    ) -> Result<(), StoreError> {
        let query = match value {
            Some(value) => sqlx::query(
                "INSERT INTO cupping_note (name, value) VALUES (?1, ?2) \
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )
            .bind(name.to_owned())
            .bind(value.to_owned()),
            None => sqlx::query("DELETE FROM cupping_note WHERE name = ?1").bind(name.to_owned()),
        };
        query.execute(&self.write_pool).await.map(drop).map_err(failed("writing a note"))
    }

    pub(super) async fn prune(&self, keep: Duration) -> Result<u64, StoreError> {
        let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX / 2);
        let mut pruned = 0;
        loop {
            let options = &self.settings.transaction;
            let body = work!(|tx: Sqlite| { prune_some(tx, keep).await });
            let count = self.writer.run("prune_log", options, body).await?;
            pruned += count;
            if count < PRUNED_AT_ONCE.unsigned_abs() {
                return Ok(pruned);
            }
        }
    }
}

async fn prune_some(tx: &mut Tx<Sqlite>, keep: i64) -> Result<u64, BodyError> {
    let query = sqlx::query(PRUNE_TO).bind(keep).bind(PRUNED_AT_ONCE);
    let row: Option<(Option<i64>,)> = tx.fetch_optional_as(query).await?;
    let Some((Some(to),)) = row else { return Ok(0) };
    let delete = sqlx::query("DELETE FROM cupping_change_log WHERE seq <= ?1").bind(to);
    let pruned = tx.execute(delete).await?.rows_affected();
    tx.execute(sqlx::query(SET).bind("pruned_to").bind(to.to_string())).await?;
    Ok(pruned)
}

async fn open(tx: &mut Tx<Sqlite>, fingerprint: &str) -> Result<StateCheck, BodyError> {
    let query = sqlx::query("SELECT value FROM cupping_state WHERE key = 'fingerprint'");
    let stored: Option<(String,)> = tx.fetch_optional_as(query).await?;
    let check = match stored {
        Some((stored,)) if stored == fingerprint => return Ok(StateCheck::Same),
        Some(_) => StateCheck::Reset("the score settings have changed".into()),
        None => StateCheck::Fresh,
    };
    if check != StateCheck::Fresh {
        tx.execute(sqlx::query("DELETE FROM cupping_source_state")).await?;
        tx.execute(sqlx::query("DELETE FROM cupping_note")).await?;
    }
    tx.execute(sqlx::query(SET).bind("fingerprint").bind(fingerprint.to_owned())).await?;
    Ok(check)
}
