//! `cupping::txn`: concurrent transactions that do not deadlock, and recover when they do.
//!
//! Decides: when a transaction is tried again, and when it must not be. Usable with nothing else
//! of this crate, on the caller's own sqlx pool. Never does: know a table of ours.
#![doc = include_str!("txn/guide.md")]

pub mod batch;
pub mod body;
pub mod breaker;
pub mod budget;
pub mod claims;
pub mod dialect;
mod effects;
pub mod error;
mod events;
mod failure;
pub mod forensics;
pub mod guard;
pub mod idempotency;
pub mod lockdep;
pub mod locks;
mod lost_commit;
pub mod options;
pub mod outcome;
mod progress;
#[cfg(feature = "redis")]
pub mod redis;
mod release;
mod scope;
mod statement;
mod statements;
pub mod stats;
pub mod ticket;
pub mod transaction;
pub mod transactor;
mod unfinished;
mod unit;
pub mod versions;
mod watch;
mod witness;

pub use batch::{Batch, BatchReport, Chunk, FailedItem, Stopped};
pub use body::{BodyError, BodyFuture};
pub use breaker::{Breaker, BreakerOpen};
pub use budget::RetryBudget;
pub use claims::{Claim, NoSuchPart, Partition};
pub use dialect::{Dialect, Family};
pub use error::TxnError;
pub use guard::{dedicated, guarded};
pub use idempotency::{IdempotencyError, IdempotencyKey, Once, Twin};
#[cfg(feature = "lockdep")]
pub use lockdep::Lockdep;
#[cfg(feature = "postgres")]
pub use locks::GateLock;
#[cfg(feature = "mysql")]
pub use locks::NamedLockError;
pub use locks::{LockIds, LockKeys, LockPlan, Locked, Strength, TableRank, TryLocked, lock_key};
pub use options::{Isolation, TxnOptions};
pub use statement::Value;
pub use stats::Stats;
pub use transaction::Tx;
pub use transactor::{OnDeadlock, Transactor};
pub use versions::{VersionConflict, Versioned, VersionedRow};

#[doc(inline)]
pub use crate::txn_work as work;
