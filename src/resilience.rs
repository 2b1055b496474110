//! Pure state machines of resilience: what may be tried again, and when.
//!
//! Decides: retryability, delays. Never does: sleep, read a clock, or draw randomness itself:
//! both are passed in.

pub mod backoff;
pub mod retryability;
