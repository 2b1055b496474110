//! The runtime: one multi-thread tokio runtime, shared by everything, with an actix System on it.
//!
//! Decides: that actors, databases, brokers and the admin server live in one runtime.
//! Never does: start an actor.

use super::AppError;
use std::future::Future;
use std::sync::Arc;

/// Runs a future to its end inside an actix System on a fresh multi-thread runtime.
///
/// # Errors
/// [`AppError::Runtime`] when the operating system gives no threads.
pub fn block_on<F: Future>(future: F) -> Result<F::Output, AppError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("cupping")
        .build()
        .map_err(AppError::Runtime)?;
    let runtime = Arc::new(runtime);
    let system = actix::System::with_tokio_rt(|| Arc::clone(&runtime));
    Ok(system.block_on(future))
}
