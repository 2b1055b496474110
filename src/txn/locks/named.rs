//! Named locks of MySQL and MariaDB (`GET_LOCK`), given back when their transaction has ended.
//!
//! Decides: their names, their order, and when they are given back: after COMMIT or ROLLBACK has
//! been answered and before the unit's result is told, or with the connection. Never does: hold one
//! for longer.
//!
//! The server keeps a named lock for the session, not for the transaction. A connection on which
//! giving back is uncertain (a cancelled statement, a panic, a lost answer) is closed, and with it
//! go its locks.

use super::keys::LockKeys;
use crate::resilience::retryability::Reason;
use crate::txn::body::{BodyError, Cause};
use crate::txn::events;
use crate::txn::transaction::Tx;
use sqlx::MySql;
use std::sync::Arc;
use std::time::Instant;

/// Why a named lock was not granted.
///
/// ```
/// use cupping::txn::{NamedLockError, TxnError};
///
/// /// Whom to ask for (`SELECT IS_USED_LOCK(name)`) when a unit has given up.
/// fn wanted(error: &TxnError) -> Option<&str> {
///     let TxnError::Exhausted { source, .. } = error else { return None };
///     match source.downcast_ref()? {
///         NamedLockError::Busy { name } => Some(name),
///         _ => None,
///     }
/// }
/// # assert_eq!(wanted(&TxnError::Panicked { name: "swap" }), None);
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NamedLockError {
    /// Another session has it, and kept it for as long as `lock_timeout` allows (rounded up to
    /// whole seconds). The unit runs again while attempts last.
    #[error("the named lock {name} was not granted in time: another session holds it")]
    Busy {
        /// Its name on the server; `IS_USED_LOCK` tells who has it.
        name: String,
    },
    /// The wait was ended from outside (`KILL QUERY`, the statement's own timeout): the server then
    /// answers NULL instead of an error.
    #[error("the wait for the named lock {name} was ended by the server (killed, or out of time)")]
    Ended {
        /// Its name on the server.
        name: String,
    },
}

/// The name of a key's lock: at most 64 characters for MySQL (MariaDB takes 192), and nothing that
/// depends on case, which MySQL ignores here.
fn name(key: i64) -> String {
    format!("cupping:{:016x}", key.cast_unsigned())
}

/// Whole seconds, at least one (see `TxnOptions`), so that no statement has to say them.
const PATIENTLY: &str = "SELECT GET_LOCK(?, @@SESSION.innodb_lock_wait_timeout)";
const AT_ONCE: &str = "SELECT GET_LOCK(?, 0)";

impl Tx<MySql> {
    /// Locks every key until the transaction has ended, ascending, one statement a key. Make keys
    /// with [`crate::txn::lock_key`]; names are known to the whole server, not to one database, so
    /// let the namespace say whose they are.
    ///
    /// ```no_run
    /// # async fn example(tx: &mut cupping::txn::Tx<sqlx::MySql>)
    /// # -> Result<(), cupping::txn::BodyError> {
    /// use cupping::txn::{LockKeys, lock_key};
    ///
    /// let both = ["17", "4"].map(|id| lock_key("roastery/schedule", id));
    /// tx.named_locks(&LockKeys::new(both)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Hazards
    /// The server finds deadlocks among named locks (MariaDB reports them as 1213, MySQL as 3058),
    /// but not those of a named lock and a row: keys come before rows, or time has to end them.
    ///
    /// # Errors
    /// [`NamedLockError`], upon which the unit runs again; when a key is not above all those
    /// already held, or rows are held already.
    pub async fn named_locks(&mut self, keys: &LockKeys) -> Result<(), BodyError> {
        self.held.admit_keys(keys)?;
        let started = Instant::now();
        let mut locked = Ok(());
        for key in keys.as_slice() {
            locked = match self.get_lock(*key, PATIENTLY).await {
                Ok(true) => Ok(()),
                Ok(false) => {
                    Err(again(Reason::LockTimeout, NamedLockError::Busy { name: name(*key) }))
                }
                Err(error) => Err(error),
            };
            if locked.is_err() {
                break;
            }
        }
        if !keys.as_slice().is_empty() {
            events::lock_wait(started.elapsed());
        }
        locked
    }

    /// Locks a key until the transaction has ended if nobody else has it; whether that was so.
    /// Never waits, so it may be asked for in any order; what it got counts as held.
    ///
    /// ```no_run
    /// # async fn example(tx: &mut cupping::txn::Tx<sqlx::MySql>)
    /// # -> Result<(), cupping::txn::BodyError> {
    /// use cupping::txn::lock_key;
    ///
    /// if !tx.try_named_lock(lock_key("report", "daily")).await? {
    ///     // Somebody else is at it.
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tx::execute`]; [`NamedLockError::Ended`].
    pub async fn try_named_lock(&mut self, key: i64) -> Result<bool, BodyError> {
        let granted = self.get_lock(key, AT_ONCE).await?;
        if granted {
            self.held.hold_keys(&LockKeys::new([key]));
        }
        Ok(granted)
    }

    async fn get_lock(&mut self, key: i64, statement: &'static str) -> Result<bool, BodyError> {
        let name = name(key);
        // Before it is asked for: when its answer is lost, it may have been granted. Giving back
        // what one does not have does nothing.
        self.farewell.push(format!("DO RELEASE_LOCK('{name}')"));
        let query = sqlx::query(statement).bind(&name);
        let (granted,): (Option<i64>,) = self.fetch_one_as(query).await?;
        // Nobody waits any more: this is why the wait was ended.
        self.admit()?;
        match granted {
            Some(granted) => Ok(granted == 1),
            None => Err(again(Reason::Timeout, NamedLockError::Ended { name })),
        }
    }
}

fn again(reason: Reason, error: NamedLockError) -> BodyError {
    BodyError(Cause::Again(reason, Arc::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_has_one_case() {
        let longest = name(i64::MIN);
        assert!(longest.len() <= 64);
        assert_eq!(longest, longest.to_lowercase());
        assert_ne!(name(1), name(-1));
    }
}
