//! A future that is carried on in a task of its own when its caller stops waiting.
//!
//! Decides: when that is, and that a panic is an answer. Never does: tell the future that nobody
//! waits (see `progress`).
//!
//! Why not a task from the start: on a runtime with two workers the hops there and back made a
//! transaction of two statements a sixth slower, and a caller that waits, as most do, gains nothing
//! by them.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, CatchUnwind};
use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::runtime::Handle;

/// What a future came to, or what it panicked with.
pub(super) type Ended<T> = Result<T, Box<dyn Any + Send>>;

/// A future that is always finished, whoever waits.
pub(super) struct Unfinished<T: Send + 'static> {
    future: Option<CatchUnwind<AssertUnwindSafe<BoxFuture<'static, T>>>>,
    runtime: Handle,
}

impl<T: Send + 'static> Unfinished<T> {
    /// Must be called on a runtime.
    pub(super) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        let future = AssertUnwindSafe(future.boxed()).catch_unwind();
        Self { future: Some(future), runtime: Handle::current() }
    }
}

impl<T: Send + 'static> Future for Unfinished<T> {
    type Output = Ended<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.future else { return Poll::Pending };
        let polled = future.poll_unpin(context);
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Unfinished<T> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            // Joined by nobody: nobody waits for it any more. What it holds, it gives back itself.
            self.runtime.spawn(async move { drop(future.await) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Notify;

    #[tokio::test]
    async fn it_is_finished_though_nobody_waits() {
        let (begun, go_on, ended) =
            (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let mut unfinished = Unfinished::new({
            let (begun, go_on, ended) = (begun.clone(), go_on.clone(), ended.clone());
            async move {
                begun.notify_one();
                go_on.notified().await;
                ended.notify_one();
            }
        });
        tokio::select! {
            _ = &mut unfinished => panic!("it waits"),
            () = begun.notified() => {}
        }
        drop(unfinished);
        go_on.notify_one();
        ended.notified().await;
    }

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let panicking = Unfinished::new(async { assert!(std::hint::black_box(false), "forced") });
        assert!(panicking.await.is_err());
        assert_eq!(Unfinished::new(async { 7 }).await.expect("no panic"), 7);
    }
}
