//! What every integration test needs: where the servers are, names of one's own, waiting for a
//! condition.
//!
//! Decides: that a missing server fails the test and says what to run. Never does: skip a test.

#![allow(dead_code, unreachable_pub, reason = "each topic uses its own part")]

pub mod amqp;
pub mod beans;
pub mod command;
pub mod databases;
pub mod metering;
pub mod oracle;
pub mod proxy;
pub mod rabbit;
pub mod servers;
pub mod stores;
pub mod transports;
pub mod world;

use std::time::{Duration, Instant};

/// The value of a variable that `./scripts/test` sets.
fn server(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is unset: run ./scripts/test, it starts the servers")
    })
}

/// URL of the PostgreSQL superuser in the database `postgres`.
pub fn postgres_url() -> String {
    server("CUPPING_TEST_POSTGRES")
}

/// URL of RabbitMQ.
pub fn amqp_url() -> String {
    server("CUPPING_TEST_AMQP")
}

/// A name nobody else uses, fit for databases, queues and schemas: lower-case letters and digits.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}_{}", uuid::Uuid::now_v7().simple())
}

/// Waits until `condition` holds, looking every 10 ms; panics with `what` after `limit`.
pub async fn eventually(what: &str, limit: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    while !condition().await {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        ticks.tick().await;
    }
}
