//! What the integration tests of the service share.
//!
//! Decides: nothing of its own; `tests/common` is shared with the tests of the toolkit.
//! Never does: skip a test.

#![allow(dead_code, unreachable_pub, reason = "each topic uses its own part")]

pub mod amqp;
pub mod beans;
pub mod command;
#[path = "../common/databases.rs"]
pub mod databases;
#[path = "../common/ground.rs"]
mod ground;
#[path = "../common/metering.rs"]
pub mod metering;
pub mod oracle;
#[path = "../common/proxy.rs"]
pub mod proxy;
pub mod rabbit;
pub mod servers;
pub mod stores;
pub mod transports;
pub mod world;

pub use ground::{amqp_url, eventually, postgres_url, unique};
