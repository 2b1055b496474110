//! A way to the tests' Redis with keys of one's own, directly or through a proxy.
//!
//! Decides: that tests do not meet in Redis. Never does: stop the shared server.

use super::proxy::Proxy;
use super::{redis_url, unique};
use cupping::resilience::breaker::BreakerSettings;
use cupping::txn::redis::{RedisLink, RedisSettings};
use std::time::Duration;

/// Settings with a namespace nobody else uses.
pub fn settings() -> RedisSettings {
    RedisSettings { namespace: unique("t"), ..RedisSettings::default() }
}

/// A link with a namespace nobody else uses.
pub fn link() -> RedisLink {
    link_with(settings())
}

/// A link with these settings: two of one namespace are two processes.
pub fn link_with(settings: RedisSettings) -> RedisLink {
    RedisLink::new(&redis_url(), settings).expect("a URL of Redis")
}

/// A proxy before Redis, and a link through it that is quick to see an outage.
pub async fn proxied(settings: RedisSettings) -> (Proxy, RedisLink) {
    let url = url::Url::parse(&redis_url()).expect("a URL");
    let (host, port) = (url.host_str().expect("a host"), url.port().expect("a port"));
    let proxy = Proxy::start(&format!("{host}:{port}")).await;
    let settings = RedisSettings { timeout: Duration::from_millis(500), ..settings };
    let link = RedisLink::new(&format!("redis://{}/0", proxy.address), settings);
    (proxy, link.expect("a URL of Redis"))
}

/// A breaker that opens at the second failure, for this long.
pub fn touchy(open_for: Duration) -> BreakerSettings {
    BreakerSettings { failures: 2, open_for, ..BreakerSettings::default() }
}
