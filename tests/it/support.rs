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

/// Watches the order in which the transactions of this process lock, if the feature is on: one that
/// contradicts another's order fails its unit, though no deadlock happened. Rows of the sources'
/// state are written under the keys of their sources, our own state under a key of its own.
pub fn watch_lock_orders() {
    #[cfg(feature = "lockdep")]
    {
        use cupping::txn::Lockdep;
        use cupping::txn::lockdep::Class;

        static WATCH: std::sync::Once = std::sync::Once::new();
        WATCH.call_once(|| {
            let lockdep = Lockdep::new().per_database();
            lockdep.guarded("cupping.source_state", Class::Advisory(None));
            lockdep.guarded("cupping.state", Class::Advisory(None));
            assert!(lockdep.install(), "this is the only watch of the process");
        });
    }
}
