//! What every integration test needs: where the servers are, names of one's own, waiting for a
//! condition.
//!
//! Decides: that a missing server fails the test and says what to run. Never does: skip a test.

#![allow(dead_code, reason = "each topic uses its own part")]

pub mod amqp;
pub mod proxy;
