//! Runs async work on an actor system that shares a multi-threaded runtime.
//!
//! Decides: that actors and all input/output live in one runtime. Never does: handle signals.

use std::future::Future;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Drives `work` (a pipeline, with whatever surrounds it) on the calling thread, as an actor
/// system over `runtime`; the actors run on this thread, everything else on the runtime's.
/// To be called outside of any async context.
pub fn block_on<F: Future>(runtime: Arc<Runtime>, work: F) -> F::Output {
    actix::System::with_tokio_rt(move || runtime).block_on(work)
}
