//! A statement that another party asks to have executed inside a transaction.
//!
//! Decides: the shape in which a table queue hands its acknowledgement to the store, so that rows
//! and settlement commit together. Never does: open a transaction.

use std::sync::Arc;

/// A parametrised statement over ids and a claim.
///
/// PostgreSQL binds `$1` as `bigint[]` and `$2` as `text`; SQLite binds `?1` as a JSON array of
/// numbers (read it with `json_each`) and `?2` as text. Tickets with the same statement and claim
/// may be merged into one execution with all their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The statement.
    pub statement: Arc<str>,
    /// The rows it is about.
    pub ids: Vec<i64>,
    /// The claim under which they are held; a claim that has expired matches no row.
    pub claim: Arc<str>,
}
