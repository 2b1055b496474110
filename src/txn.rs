//! `cupping::txn`: concurrent transactions that do not deadlock, and recover when they do.
//!
//! Decides: when a transaction is tried again, and when it must not be. Usable with nothing else
//! of this crate, on the caller's own sqlx pool. Never does: know a table of ours.

pub mod error;
pub mod ticket;

pub use error::TxnError;
