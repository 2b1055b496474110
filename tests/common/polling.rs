//! Dropping a future half-way.

use std::future::{Future, poll_fn};
use std::task::Poll;

/// Polls a future this often, then drops it.
pub async fn poll_and_drop<F: Future>(future: F, polls: usize) {
    let mut future = std::pin::pin!(future);
    for _ in 0..polls {
        let ended = poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await;
        if ended {
            return;
        }
        tokio::task::yield_now().await;
    }
}
