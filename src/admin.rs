//! The admin server: `/metrics`, `/livez`, `/readyz`.
//!
//! Decides: how health and numbers are served. Never does: judge readiness itself (it asks), touch
//! the pipeline, or handle signals.

use crate::telemetry::metrics::MetricsHandle;
use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpServer, web};
use std::net::SocketAddr;
use std::sync::Arc;

mod pages;
pub mod readiness;

pub use readiness::{Component, Readiness, ReadinessReport};

/// Seconds that open requests may take when the server stops.
const SHUTDOWN_SECONDS: u64 = 2;

/// Why the admin server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The address is taken, not ours, or forbidden.
    #[error(
        "the admin server cannot listen on {address}: {source}; give another address with \
         admin.listen (port 0 takes any free one), or turn it off with admin.enabled=false"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A bound admin server: await `server` (in a task of its own) to serve.
pub struct AdminServer {
    /// The server, a future.
    pub server: Server,
    /// Where it listens: the port that was taken, where 0 was asked for.
    pub address: SocketAddr,
}

impl std::fmt::Debug for AdminServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AdminServer({})", self.address)
    }
}

impl AdminServer {
    /// The way to stop it, from anywhere.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.server.handle()
    }
}

/// Binds the admin server. Must be called inside an actix `System` or a tokio runtime.
///
/// # Errors
/// [`AdminError::Bind`] when the address cannot be listened on.
pub fn bind(
    address: SocketAddr,
    metrics: MetricsHandle,
    readiness: Arc<dyn Readiness>,
) -> Result<AdminServer, AdminError> {
    let metrics = web::Data::new(metrics);
    let readiness: web::Data<dyn Readiness> = web::Data::from(readiness);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(metrics.clone())
            .app_data(readiness.clone())
            .route("/", web::get().to(pages::index))
            .route("/metrics", web::get().to(pages::metrics))
            .route("/livez", web::get().to(pages::live))
            .route("/readyz", web::get().to(pages::ready))
            .default_service(web::to(pages::not_found))
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(SHUTDOWN_SECONDS)
    .bind(address)
    .map_err(|source| AdminError::Bind { address, source })?;
    let address = server.addrs().first().copied().unwrap_or(address);
    Ok(AdminServer { server: server.run(), address })
}
