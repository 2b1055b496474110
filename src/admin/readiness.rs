//! Whether the service is ready, and if not, why.
//!
//! Decides: the shape of the answer: ready when every component is.
//! Never does: find out; whoever runs the service implements [`Readiness`].

use serde::Serialize;

/// One part of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    /// Its name, such as `database`, `broker`, `index`, `intake`.
    pub name: &'static str,
    /// Whether it works.
    pub ready: bool,
    /// Its state in words; why, when it is not ready.
    pub detail: String,
}

impl Component {
    /// A component that works.
    #[must_use]
    pub fn up(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, ready: true, detail: detail.into() }
    }

    /// A component that does not, and why.
    #[must_use]
    pub fn down(name: &'static str, why: impl Into<String>) -> Self {
        Self { name, ready: false, detail: why.into() }
    }
}

/// The state of every component.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadinessReport {
    /// In the order in which they are shown.
    pub components: Vec<Component>,
}

impl ReadinessReport {
    /// Whether every component works.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.components.iter().all(|component| component.ready)
    }
}

/// Knows whether the service is ready.
pub trait Readiness: Send + Sync {
    /// The present state; answers at once, from what is known already.
    fn report(&self) -> ReadinessReport;
}

impl<F: Fn() -> ReadinessReport + Send + Sync> Readiness for F {
    fn report(&self) -> ReadinessReport {
        self()
    }
}
