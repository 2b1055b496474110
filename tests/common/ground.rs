//! What every test that needs a server stands on: where the servers are, names of one's own,
//! waiting for a condition.
//!
//! Decides: that a missing server fails the test and says what to run. Never does: skip a test.

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

/// URL of a MariaDB user with all rights.
pub fn mariadb_url() -> String {
    server("CUPPING_TEST_MARIADB")
}

/// URL of Redis.
pub fn redis_url() -> String {
    server("CUPPING_TEST_REDIS")
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
