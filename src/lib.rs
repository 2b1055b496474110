//! Cupping keeps "similar beans" right in a coffee catalogue.
//!
//! When a bean is created or changed a message arrives; actors score the bean against the whole
//! catalogue, and one short transaction replaces that bean's rows, touching nothing else. Under it
//! lies [`txn`], a toolkit for concurrent transactions that do not deadlock, and recover when they
//! do. `docs/ARCHITECTURE.md` maps the house; imports go strictly downward through its layers.
//!
//! Without the default feature `service` only the toolkit is built: features `txn` and the
//! databases `postgres`, `mysql`, `sqlite`; `redis` adds the distributed lock, `lockdep` the
//! checker of lock orders.

#[cfg(feature = "service")]
pub mod admin;
#[cfg(feature = "service")]
pub mod app;
#[cfg(feature = "service")]
pub mod cli;
#[cfg(feature = "service")]
pub mod config;
#[cfg(feature = "service")]
pub mod domain;
#[cfg(feature = "service")]
pub mod index;
#[cfg(feature = "service")]
pub mod pipeline;
pub mod resilience;
#[cfg(feature = "service")]
pub mod store;
#[cfg(feature = "service")]
pub mod telemetry;
#[cfg(feature = "service")]
pub mod transport;
#[cfg(feature = "txn")]
pub mod txn;
