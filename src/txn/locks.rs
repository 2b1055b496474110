//! Locks that end with their transaction, in an order that cannot deadlock.
//!
//! Decides: what locks there are, and their one order: a gate, before keys (advisory locks on
//! PostgreSQL, named locks on MySQL and MariaDB) ascending by their integer, before rows ascending
//! by the rank of their table and by id. Never does: take a lock that outlives its transaction.
//!
//! Why it cannot deadlock: a transaction waits only for a lock above all that it holds, so in a
//! cycle of waits the locks would have to rise for ever. Sorting keys by the *id* instead of by the
//! integer would break this, because the hash does not keep the order.
//!
//! Keys come before rows because a key stands for something that is not a row (yet), or for many:
//! it is what keeps others away while the rows are found.

#[cfg(feature = "postgres")]
mod advisory;
mod held;
mod ids;
mod keys;
#[cfg(feature = "mysql")]
mod named;
mod plan;
mod rows;

#[cfg(feature = "postgres")]
pub use advisory::GateLock;
pub(super) use held::Held;
pub use ids::LockIds;
pub(super) use keys::fnv1a;
pub use keys::{LockKeys, lock_key};
#[cfg(feature = "mysql")]
pub use named::NamedLockError;
pub(super) use plan::Entry;
pub use plan::{LockPlan, Locked, Strength, TableRank, TryLocked};
pub(super) use rows::lock_clause;
