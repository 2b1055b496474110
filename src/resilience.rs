//! Pure state machines of resilience: what may be tried again, and when.
//!
//! Decides: retryability, delays, budgets, breakers. Never does: sleep, read a clock, or draw
//! randomness itself: both are passed in.

pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod retryability;
