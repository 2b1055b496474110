//! Advisory locks of PostgreSQL that end with their transaction, in an order that cannot deadlock.
//!
//! Decides: the order (a gate before any key; keys ascending by the integer that is passed) and
//! that a lock out of order is refused. Never does: take a lock that outlives its transaction.
//!
//! Why it cannot deadlock: a transaction waits only for a key above all that it holds, so in a
//! cycle of waits the keys would have to rise for ever. Sorting by the *id* instead of by the
//! integer would break this, because the hash does not keep the order.

use super::body::{BodyError, Cause};
use super::events;
use super::transaction::Tx;
use sqlx::Postgres;
use std::time::Instant;

/// FNV-1a, 64 bits: a fixed hash, the same in every release and on every machine.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The integer to lock for an id: FNV-1a (64 bits) of `namespace`, a zero byte, and `id`.
///
/// Two ids may share an integer; they then exclude each other needlessly, and no more. The hash
/// never changes: workers of different releases must agree.
#[must_use]
pub fn lock_key(namespace: &str, id: &str) -> i64 {
    let bytes = [namespace.as_bytes(), &[0], id.as_bytes()].concat();
    fnv1a(&bytes).cast_signed()
}

/// Keys in the order in which they are locked: ascending, each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockKeys(Vec<i64>);

impl LockKeys {
    /// Sorts and de-duplicates by the integer.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = i64>) -> Self {
        let mut keys: Vec<i64> = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup();
        Self(keys)
    }

    /// The keys, ascending.
    #[must_use]
    pub fn as_slice(&self) -> &[i64] {
        &self.0
    }
}

/// A lock that ordinary transactions share and structural ones (a cascading delete) take alone,
/// before any key. It lives in PostgreSQL's space of two 32-bit keys, which no [`lock_key`] meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateLock {
    /// The first key.
    pub class: i32,
    /// The second key.
    pub object: i32,
}

/// What a transaction holds, to refuse a lock out of order.
#[derive(Debug, Default)]
pub(super) struct Held {
    highest: Option<i64>,
    gate: Option<bool>,
}

impl Held {
    fn admit_keys(&mut self, keys: &LockKeys) -> Result<(), BodyError> {
        let (Some(first), Some(last)) = (keys.0.first(), keys.0.last()) else { return Ok(()) };
        if let Some(highest) = self.highest.filter(|highest| highest >= first) {
            return Err(BodyError(Cause::LockOrder(format!(
                "the lock {first} was asked for while {highest} is held; locks must ascend: \
                 collect all keys into one LockKeys and take them in one call"
            ))));
        }
        self.highest = Some(*last);
        Ok(())
    }

    fn admit_gate(&mut self, exclusive: bool) -> Result<(), BodyError> {
        if self.highest.is_some() || self.gate.is_some() {
            return Err(BodyError(Cause::LockOrder(
                "a gate was asked for while locks are held; take one gate, first of all, in the \
                 mode that is needed in the end"
                    .into(),
            )));
        }
        self.gate = Some(exclusive);
        Ok(())
    }
}

impl Tx<Postgres> {
    /// Locks every key until the transaction ends, ascending, in a statement of its own.
    ///
    /// # Errors
    /// When a lock is not granted in time, or a key is not above all those already held.
    pub async fn advisory_xact_locks(&mut self, keys: &LockKeys) -> Result<(), BodyError> {
        self.held.admit_keys(keys)?;
        if keys.0.is_empty() {
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

    /// Shares a gate until the transaction ends. Must be its first lock.
    ///
    /// # Errors
    /// When the gate is not granted in time (the unit then fails as `GateBusy`, without a retry of
    /// its own), or a lock is held already.
    pub async fn gate_shared(&mut self, gate: GateLock) -> Result<(), BodyError> {
        self.held.admit_gate(false)?;
        self.gate(gate, "SELECT pg_advisory_xact_lock_shared($1, $2)").await
    }

    /// Takes a gate alone until the transaction ends. Must be its first lock.
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
    super::error::code_of(error).as_deref() == Some("55P03")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_deduplicated_by_the_integer_passed() {
        assert_eq!(LockKeys::new([3, -7, 3, 0]).as_slice(), [-7, 0, 3]);
    }

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_ne!(lock_key("a", "bc"), lock_key("ab", "c"));
    }

    #[test]
    fn a_key_below_one_held_and_a_late_gate_are_refused() {
        let mut held = Held::default();
        assert!(held.admit_gate(false).is_ok());
        assert!(held.admit_gate(true).is_err(), "an upgrade can deadlock");
        assert!(held.admit_keys(&LockKeys::new([1, 5])).is_ok());
        assert!(held.admit_keys(&LockKeys::new([4])).is_err());
        assert!(held.admit_keys(&LockKeys::new([])).is_ok());
        assert!(held.admit_keys(&LockKeys::new([6])).is_ok());
    }
}
