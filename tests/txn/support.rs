//! What the tests of the toolkit share.
//!
//! Decides: nothing of its own; `tests/common` is shared with the tests of the service.
//! Never does: skip a test.

#![allow(dead_code, unreachable_pub, reason = "each topic uses its own part")]

#[path = "../common/databases.rs"]
pub mod databases;
#[path = "../common/ground.rs"]
mod ground;
#[path = "../common/mariadb.rs"]
pub mod mariadb;
#[path = "../common/metering.rs"]
pub mod metering;
#[path = "../common/polling.rs"]
pub mod polling;
#[path = "../common/proxy.rs"]
pub mod proxy;
#[path = "../common/redis.rs"]
pub mod redis;
#[path = "../common/sqlite.rs"]
pub mod sqlite;

pub use ground::{eventually, mariadb_url, postgres_url, redis_url, unique};
