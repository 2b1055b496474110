//! Redis for what no transaction can hold: a lock across processes, and idempotency records for
//! callers without a database. Feature `redis`.
//!
//! Decides: the surface. Never does: replace a lock of the database. Where the protected data lie
//! in one database, lock there: such a lock ends with its transaction, at the very place where the
//! data are, and cannot expire under its holder.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use cupping::txn::redis::{LockSettings, RedisLink, RedisLock, RedisSettings};
//!
//! let link = RedisLink::new("redis://127.0.0.1/", RedisSettings::default())?;
//! let lock = RedisLock::new(link, LockSettings::default());
//! let guard = lock.acquire("schedule", "week-7").await?;
//! let token = guard.token(); // hand it to `fence` in every transaction that writes
//! guard.while_held(async { /* work outside of the database */ }).await?;
//! guard.release().await?;
//! # drop(token); Ok(()) }
//! ```

mod claim;
mod error;
mod events;
mod fence;
mod guard;
mod idempotency;
mod link;
mod lock;
mod scripts;

pub use error::{LinkError, LockError, OnceError};
pub use fence::{FENCE_TABLE, FenceRefused, Fenced, FencingToken, fence};
pub use guard::LockGuard;
pub use idempotency::{Once, OnceOptions, RedisIdempotency, Twin};
pub use link::{RedisLink, RedisSettings};
pub use lock::{LockSettings, RedisLock};
