//! Cupping keeps "similar beans" right in a coffee catalogue.
//!
//! When a bean is created or changed a message arrives; actors score the bean against the whole
//! catalogue, and one short transaction replaces that bean's rows, touching nothing else. Under it
//! lies [`txn`], a toolkit for concurrent transactions that do not deadlock, and recover when they
//! do. `docs/ARCHITECTURE.md` maps the house; imports go strictly downward through its layers.

pub mod admin;
pub mod config;
pub mod domain;
pub mod index;
pub mod resilience;
pub mod store;
pub mod telemetry;
pub mod transport;
pub mod txn;
