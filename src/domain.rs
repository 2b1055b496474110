//! The pure heart: what a bean is, what is compared, how similar two beans are, who ranks first.
//!
//! Decides: identity, expansion, score, order. Never does: input or output, time, randomness.

pub mod bean;
pub mod dimension;
pub mod expansion;
pub(crate) mod lineage;
pub mod message;
pub mod phrase;
pub(crate) mod placement;
pub mod ranking;
pub mod seed;
pub mod similarity;
pub mod token;
