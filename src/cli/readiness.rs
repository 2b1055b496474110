//! Whether the service takes work, as `/readyz` tells it.
//!
//! Decides: the names of the components. Never does: ask a service; it answers from state.

use crate::admin::{Component, Readiness, ReadinessReport};
use crate::pipeline::PipelineHandle;

/// The readiness of the service: that of its pipeline.
pub(super) struct ServiceReadiness {
    pipeline: PipelineHandle,
}

impl ServiceReadiness {
    /// Of the pipeline this handle looks into.
    pub(super) fn new(pipeline: PipelineHandle) -> Self {
        Self { pipeline }
    }
}

impl Readiness for ServiceReadiness {
    fn report(&self) -> ReadinessReport {
        let now = self.pipeline.readiness();
        let component = |ready, name, up: &str, down: &str| {
            if ready { Component::up(name, up) } else { Component::down(name, down) }
        };
        ReadinessReport {
            components: vec![
                component(now.store_reachable, "database", "answers", "does not answer"),
                component(now.transport_connected, "queue", "connected", "cannot be reached"),
                component(now.index_loaded, "index", "loaded", "the catalogue is being read"),
                component(!now.draining, "intake", "open", "closed: the service is stopping"),
            ],
        }
    }
}
