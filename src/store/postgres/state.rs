//! Our own state: whom it belongs to, small notes, and how far back the log reaches.
//!
//! Decides: when state is reset (another database, other score settings). Never does: touch the
//! catalogue or the lists.

use super::PostgresStore;
use super::snapshot::failed;
use crate::store::{StateCheck, StoreError};
use crate::txn::{BodyError, LockKeys, Tx, lock_key, work};
use sqlx::Postgres;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The database this is: the cluster's identity, and the database's in it.
const IDENTITY: &str = "\
    SELECT system_identifier::text || '/' || \
           (SELECT oid::text FROM pg_catalog.pg_database WHERE datname = current_database()) \
    FROM pg_control_system()";

/// The same where the control file may not be read.
const IDENTITY_WITHOUT_CONTROL: &str = "\
    SELECT 'database/' || oid::text FROM pg_catalog.pg_database \
    WHERE datname = current_database()";

const SET: &str = "\
    INSERT INTO cupping.state (key, value) VALUES ($1, $2) \
    ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value";

/// Rows of transactions that every later snapshot sees: a reader whose mark is up to date never
/// needs them, however long some transaction has been running.
const PRUNE: &str = "\
    WITH pruned AS ( \
        DELETE FROM cupping.change_log WHERE seq IN ( \
            SELECT seq FROM cupping.change_log \
            WHERE at < clock_timestamp() - $1::text::interval \
              AND xid < pg_snapshot_xmin(pg_current_snapshot()) \
            ORDER BY at LIMIT $2) \
        RETURNING xid \
    ), mark AS ( \
        INSERT INTO cupping.state (key, value) \
        SELECT 'pruned_below', ((xid::text::numeric + 1)::text) \
        FROM pruned ORDER BY xid DESC LIMIT 1 \
        ON CONFLICT (key) DO UPDATE \
        SET value = GREATEST(cupping.state.value::xid8, EXCLUDED.value::xid8)::text \
    ) \
    SELECT count(*) FROM pruned";

/// Rows pruned in one transaction, at most.
const PRUNED_AT_ONCE: i64 = 10_000;

/// Forgets everything that was logged, and how far it was pruned: the transaction ids are another
/// cluster's. Marks taken before now are told to reload, by an epoch: unlike a pruning mark it
/// does not tell later ones so too for as long as an older transaction runs.
const FORGET_LOG: &str = "\
    WITH emptied AS (DELETE FROM cupping.change_log), \
         unpruned AS (DELETE FROM cupping.state WHERE key = 'pruned_below') \
    INSERT INTO cupping.change_log (kind) VALUES ('epoch')";

/// Taken before our state is emptied. Writers lock its rows by source, under their sources' keys;
/// emptying it row by row, in another order, could deadlock with them.
const LOCK_STATE: &str = "LOCK TABLE cupping.source_state IN SHARE ROW EXCLUSIVE MODE";

impl PostgresStore {
    pub(super) async fn check_state(&self, fingerprint: &str) -> Result<StateCheck, StoreError> {
        self.ensure_migrated().await?;
        let known: Arc<[(&'static str, String)]> =
            [("database", self.identity().await?), ("fingerprint", fingerprint.to_owned())].into();
        let options = &self.settings.transaction;
        let opened = self
            .transactor
            .run("open_state", options, work!([known] => |tx| { open(tx, &known).await }))
            .await?;
        Ok(opened)
    }

    async fn identity(&self) -> Result<String, StoreError> {
        let read: Result<String, sqlx::Error> =
            sqlx::query_scalar(IDENTITY).fetch_one(&self.pool).await;
        match read {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42501") => {
                sqlx::query_scalar(IDENTITY_WITHOUT_CONTROL).fetch_one(&self.pool).await
            }
            other => other,
        }
        .map_err(failed("asking the database who it is"))
    }

    pub(super) async fn read_note(&self, name: &str) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar("SELECT value FROM cupping.note WHERE name = $1")
            .bind(name.to_owned())
            .fetch_optional(&self.pool)
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
                "INSERT INTO cupping.note (name, value) VALUES ($1, $2) \
                 ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value",
            )
            .bind(name.to_owned())
            .bind(value.to_owned()),
            None => sqlx::query("DELETE FROM cupping.note WHERE name = $1").bind(name.to_owned()),
        };
        query.execute(&self.pool).await.map(drop).map_err(failed("writing a note"))
    }

    pub(super) async fn prune(&self, keep: Duration) -> Result<u64, StoreError> {
        let keep = Arc::new(format!("{} milliseconds", keep.as_millis()));
        let mut pruned = 0;
        loop {
            let options = &self.settings.transaction;
            let count = self
                .transactor
                .run("prune_log", options, work!([keep] => |tx| { prune_some(tx, &keep).await }))
                .await?;
            pruned += count.unsigned_abs();
            if count < PRUNED_AT_ONCE {
                return Ok(pruned);
            }
        }
    }
}

async fn prune_some(tx: &mut Tx<Postgres>, keep: &str) -> Result<i64, BodyError> {
    tx.advisory_xact_locks(&state_key()).await?;
    let query = sqlx::query(PRUNE).bind(keep.to_owned()).bind(PRUNED_AT_ONCE);
    let row: Option<(i64,)> = tx.fetch_optional_as(query).await?;
    Ok(row.map_or(0, |(count,)| count))
}

/// Whoever sets the state does so alone.
fn state_key() -> LockKeys {
    LockKeys::new([lock_key("cupping.state", "")])
}

async fn open(
    tx: &mut Tx<Postgres>,
    known: &[(&'static str, String)],
) -> Result<StateCheck, BodyError> {
    tx.advisory_xact_locks(&state_key()).await?;
    let stored: Vec<(String, String)> =
        tx.fetch_all_as(sqlx::query("SELECT key, value FROM cupping.state")).await?;
    let stored: HashMap<String, String> = stored.into_iter().collect();
    let differs = |key: &str| {
        let now = known.iter().find(|(name, _)| *name == key).map(|(_, value)| value);
        stored.get(key).is_some_and(|value| Some(value) != now)
    };
    let moved = differs("database");
    let check = if moved {
        StateCheck::Reset("our state belongs to another database (a copy or a restore)".into())
    } else if differs("fingerprint") {
        StateCheck::Reset("the score settings have changed".into())
    } else if known.iter().all(|(key, _)| stored.contains_key(*key)) {
        return Ok(StateCheck::Same);
    } else {
        StateCheck::Fresh
    };
    if moved {
        tx.execute(sqlx::query(FORGET_LOG)).await?;
    }
    if check != StateCheck::Fresh {
        tx.execute(sqlx::query(LOCK_STATE)).await?;
        tx.execute(sqlx::query("DELETE FROM cupping.source_state")).await?;
        tx.execute(sqlx::query("DELETE FROM cupping.note")).await?;
    }
    for (key, value) in known {
        tx.execute(sqlx::query(SET).bind(*key).bind(value.clone())).await?;
    }
    Ok(check)
}
