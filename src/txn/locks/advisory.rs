//! Advisory locks of PostgreSQL that end with their transaction, and the gate.
//!
//! Decides: the statements, and that the gate's timeout is a pause. Never does: take a lock that
//! outlives its transaction.

use super::keys::LockKeys;
use crate::txn::body::{BodyError, Cause};
use crate::txn::events;
use crate::txn::transaction::Tx;
use sqlx::Postgres;
use std::time::Instant;

/// A lock that ordinary transactions share and structural ones (a cascading delete) take alone,
/// before any key. It lives in PostgreSQL's space of two 32-bit keys, which no `lock_key` meets.
///
/// ```no_run
/// # async fn example(tx: &mut cupping::txn::Tx<sqlx::Postgres>)
/// # -> Result<(), cupping::txn::BodyError> {
/// use cupping::txn::GateLock;
///
/// const CATALOGUE: GateLock = GateLock { class: 4711, object: 1 };
///
/// // Ordinary units: tx.gate_shared(CATALOGUE).await?;
/// tx.gate_exclusive(CATALOGUE).await?;
/// tx.execute("DELETE FROM coffee_bean WHERE roaster_id = 7").await?; // cascades
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateLock {
    /// The first key.
    pub class: i32,
    /// The second key.
    pub object: i32,
}

impl Tx<Postgres> {
    /// Locks every key until the transaction ends, ascending, in a statement of its own.
    ///
    /// ```no_run
    /// # async fn example(tx: &mut cupping::txn::Tx<sqlx::Postgres>, ids: &[i64])
    /// # -> Result<(), cupping::txn::BodyError> {
    /// use cupping::txn::{LockKeys, lock_key};
    ///
    /// let keys = ids.iter().map(|id| lock_key("bean", &id.to_string()));
    /// tx.advisory_xact_locks(&LockKeys::new(keys)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Hazards
    /// A key keeps out those who take it, and nobody else. Each takes a place in the server's lock
    /// table until the transaction ends (`max_locks_per_transaction` × connections): lock one key a
    /// thing that is replaced, not one a row.
    ///
    /// # Errors
    /// When a lock is not granted in time, or a key is not above all those already held.
    pub async fn advisory_xact_locks(&mut self, keys: &LockKeys) -> Result<(), BodyError> {
        self.held.admit_keys(keys)?;
        if keys.as_slice().is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        // A function scan gives the elements in the array's order, and the volatile function is
        // called row by row.
        let statement = "SELECT pg_advisory_xact_lock(k) FROM unnest($1::bigint[]) AS keys(k)";
        let locked = self.execute(sqlx::query(statement).bind(keys.as_slice())).await;
        events::lock_wait(started.elapsed());
        locked.map(drop)
    }

    /// Locks a key until the transaction ends if nobody else has it; whether that was so. Never
    /// waits, so it may be asked for in any order; what it got counts as held.
    ///
    /// ```no_run
    /// # async fn example(tx: &mut cupping::txn::Tx<sqlx::Postgres>)
    /// # -> Result<(), cupping::txn::BodyError> {
    /// use cupping::txn::lock_key;
    ///
    /// if !tx.try_advisory_xact_lock(lock_key("report", "daily")).await? {
    ///     // Somebody else is at it.
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tx::execute`].
    pub async fn try_advisory_xact_lock(&mut self, key: i64) -> Result<bool, BodyError> {
        let query = sqlx::query("SELECT pg_try_advisory_xact_lock($1)").bind(key);
        let (granted,): (bool,) = self.fetch_one_as(query).await?;
        if granted {
            self.held.hold_keys(&LockKeys::new([key]));
        }
        Ok(granted)
    }

    /// Shares a gate until the transaction ends. Must be its first lock. Example: see [`GateLock`].
    ///
    /// # Errors
    /// When the gate is not granted in time (the unit then fails as `GateBusy`, without a retry of
    /// its own), or a lock is held already.
    pub async fn gate_shared(&mut self, gate: GateLock) -> Result<(), BodyError> {
        self.held.admit_gate(false)?;
        self.gate(gate, "SELECT pg_advisory_xact_lock_shared($1, $2)").await
    }

    /// Takes a gate alone until the transaction ends. Must be its first lock.
    /// Example: see [`GateLock`].
    ///
    /// # Errors
    /// As [`Tx::gate_shared`].
    pub async fn gate_exclusive(&mut self, gate: GateLock) -> Result<(), BodyError> {
        self.held.admit_gate(true)?;
        self.gate(gate, "SELECT pg_advisory_xact_lock($1, $2)").await
    }

    async fn gate(&mut self, gate: GateLock, statement: &'static str) -> Result<(), BodyError> {
        let started = Instant::now();
        let query = sqlx::query(statement).bind(gate.class).bind(gate.object);
        let locked = self.execute(query).await;
        events::lock_wait(started.elapsed());
        match locked {
            Err(BodyError(Cause::Database(error))) if is_lock_timeout(&error) => {
                Err(BodyError(Cause::Gate(error)))
            }
            other => other.map(drop),
        }
    }
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    crate::txn::error::code_of(error).as_deref() == Some("55P03")
}
