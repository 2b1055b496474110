//! `cupping run`: the service.
//!
//! Decides: when it ends by itself. Never does: the work (see [`crate::app::service`]).

use super::readiness::ServiceReadiness;
use super::session::Session;
use super::{ExitStatus, Global, Output, output};
use crate::admin::{self, AdminError, AdminServer, Readiness};
use crate::app::service::{self, Options};
use crate::pipeline::{PipelineHandle, RunLimits, RunSummary};
use clap::Args;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = "SIGTERM or Ctrl-C drains and ends with 0; a second signal stops now.\n\
    SIGHUP reads log.level and pipeline.concurrency, .batch and .workers again.\n\
    Numbers are served on admin.listen: /metrics, /readyz.")]
pub(crate) struct RunArgs {
    /// Drain and end with 0 after this many messages.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Drain and end with 0 after this long, such as `90s` or `1h`.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    time_limit: Option<Duration>,
}

/// Runs the service.
pub(crate) fn run(global: &Global, args: &RunArgs) -> anyhow::Result<ExitStatus> {
    let session = Session::service(global)?;
    let limits = RunLimits { messages: args.limit, time: args.time_limit };
    let summary = session.block_on(serve(&session, limits))?;
    if session.output == Some(Output::Json) {
        output::json(&facts(&summary))?;
    }
    Ok(ExitStatus::Success)
}

/// The service with the admin server beside it, from before the first connection to after the
/// last settlement.
async fn serve(session: &Session, limits: RunLimits) -> anyhow::Result<RunSummary> {
    let handle = PipelineHandle::new();
    let numbers = session.numbers.clone();
    let (mut server, mut at) = (None, None);
    if session.config.admin.enabled {
        let readiness: Arc<dyn Readiness> = Arc::new(ServiceReadiness::new(handle.clone()));
        let admin = listen(session, &readiness)?;
        at = Some(admin.address);
        server = Some((admin.handle(), tokio::spawn(admin.server)));
    }
    let reread = session.reread(handle.clone());
    let options = Options { limits, handle, numbers, admin: at };
    let result = service::run(&session.config, options, reread).await;
    if let Some((handle, served)) = server {
        handle.stop(true).await;
        if !matches!(served.await, Ok(Ok(()))) {
            tracing::error!("the admin server ended in an error");
        }
    }
    Ok(result?)
}

/// Binds the admin server. Several workers may run on one machine: where nobody chose the address
/// and it is taken, any free port will do.
fn listen(session: &Session, readiness: &Arc<dyn Readiness>) -> anyhow::Result<AdminServer> {
    let wanted = session.config.admin.listen;
    let bind = |address| admin::bind(address, session.numbers.clone(), Arc::clone(readiness));
    let taken = |error: &AdminError| {
        let AdminError::Bind { source, .. } = error;
        source.kind() == ErrorKind::AddrInUse
    };
    match bind(wanted) {
        Err(error) if !session.listen_chosen && taken(&error) => {
            let admin = bind(SocketAddr::new(wanted.ip(), 0))?;
            tracing::warn!(%wanted, address = %admin.address, "admin address taken, using another");
            Ok(admin)
        }
        bound => {
            let admin = bound?;
            tracing::info!(address = %admin.address, "admin server listening");
            Ok(admin)
        }
    }
}

fn facts(summary: &RunSummary) -> serde_json::Value {
    serde_json::json!({
        "received": summary.received,
        "processed": summary.processed,
        "unchanged": summary.unchanged,
        "coalesced": summary.coalesced,
        "acked": summary.acked,
        "retried": summary.retried,
        "failed": summary.failed,
        "returned": summary.returned,
        "lost": summary.lost,
        "reruns": summary.reruns,
        "latency_p50_ms": summary.latency_p50.as_secs_f64() * 1000.0,
        "latency_p99_ms": summary.latency_p99.as_secs_f64() * 1000.0,
        "seconds": summary.duration.as_secs_f64(),
    })
}
