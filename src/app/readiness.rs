//! Whether the service takes work, as `/readyz` tells it.
//!
//! Decides: the names of the components. Never does: ask a service; it answers from state.

use crate::admin::{Component, Readiness, ReadinessReport};
use crate::pipeline::PipelineHandle;
