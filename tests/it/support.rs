//! What every integration test needs: where the servers are, names of one's own, waiting for a
//! condition.
//!
//! Decides: that a missing server fails the test and says what to run. Never does: skip a test.

#![allow(dead_code, unreachable_pub, reason = "each topic uses its own part")]

pub mod command;
pub mod databases;
pub mod metering;
pub mod proxy;
pub mod stores;
pub mod transports;
