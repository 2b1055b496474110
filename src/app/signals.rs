//! Signals of the operating system.
//!
//! Decides: the first SIGTERM or Ctrl-C drains, the second stops now, SIGHUP rereads.
//! Never does: the draining.

use super::AppError;
use crate::telemetry::logging;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Listens from now on: cancels `stop` at the first SIGTERM or Ctrl-C, ends the process at the
/// second, calls `hangup` at each SIGHUP. Ends when the handle is aborted.
///
/// # Errors
/// [`AppError::Runtime`] when a handler cannot be installed.
pub fn listen(
    stop: CancellationToken,
    mut hangup: impl FnMut() + Send + 'static,
) -> Result<JoinHandle<()>, AppError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(AppError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AppError::Runtime)?;
    let mut reread = signal(SignalKind::hangup()).map_err(AppError::Runtime)?;
    Ok(tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                _ = reread.recv() => {
                    hangup();
                    continue;
                }
            };
            if stop.is_cancelled() {
                tracing::warn!(signal = name, "second signal: stopping now");
                logging::finish();
                std::process::exit(1);
            }
            tracing::info!(signal = name, "stopping: what runs is finished first");
            stop.cancel();
        }
    }))
}
