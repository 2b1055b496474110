//! The runtime of the command: one multi-threaded tokio runtime, shared by everything.
//!
//! Decides: its threads, and their name. Never does: start an actor.

use super::AppError;
use crate::pipeline;
use std::future::Future;
use std::sync::Arc;

/// Runs a future to its end in an actor system on a fresh runtime.
///
/// # Errors
/// [`AppError::Runtime`] when the operating system gives no threads.
pub fn block_on<F: Future>(future: F) -> Result<F::Output, AppError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("cupping")
        .build()
        .map_err(AppError::Runtime)?;
    Ok(pipeline::runtime::block_on(Arc::new(runtime), future))
}
