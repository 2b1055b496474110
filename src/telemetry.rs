//! Logs and numbers: what is counted and said, under which names.
//!
//! Decides: names, labels and levels; one function an event emits log and counter together.
//! Never does: decide what happens next.

pub mod catalogue;
pub mod events;
pub mod logging;
pub mod metrics;
