//! The examples, run as a user runs them: each must deadlock before and must not after.
//!
//! Needs the examples' binaries, which `cargo test` builds before it runs the tests.

#![allow(unreachable_pub, reason = "modules of one test binary export to one another only")]

#[cfg(feature = "service")]
mod bean_similarity;
#[cfg(all(feature = "txn", feature = "postgres"))]
mod directory_sync;
mod outcome;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod schedule_swap;
#[cfg(all(feature = "txn", feature = "mysql"))]
mod shared_timestamp;
#[cfg(feature = "postgres")]
mod ticket_board;
#[cfg(feature = "redis")]
mod webhook;
