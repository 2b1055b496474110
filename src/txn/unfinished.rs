//! A future that its caller drives while it waits, and that goes on without its caller.
//!
//! Decides: who drives it. The caller does, by polling; when the caller drops it, or has not polled
//! it for a while, it is adopted by a task of its own, which drives it to its end. Never does: tell
//! the future that nobody waits (see `progress`).
//!
//! Why not a task from the start: the hops there and back made a transaction of two statements an
//! eighth slower, and most callers wait to the end, polling all the time. Why not the caller
//! alone: one that keeps the future and does something else (a `select!` whose other branch takes
//! its time, a stream whose consumer does) would hold its locks and its connection meanwhile, and
//! wait for them itself: a deadlock that no database can see.

mod watcher;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, CatchUnwind};
use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use watcher::{Adoptable, watch};

/// A future not polled for so long is adopted, whether it waits for the database or its caller has
/// turned to something else.
const NEGLECTED_AFTER: Duration = Duration::from_millis(20);

/// What a future came to, or what it panicked with.
pub(super) type Ended<T> = Result<T, Box<dyn Any + Send>>;

/// A future that is always finished, whoever waits.
pub(super) struct Unfinished<T: Send + 'static>(Arc<Shared<T>>);

struct Shared<T: Send + 'static> {
    state: Mutex<State<T>>,
    runtime: Handle,
}

struct State<T: Send + 'static> {
    future: Option<CatchUnwind<AssertUnwindSafe<BoxFuture<'static, T>>>>,
    ended: Option<Ended<T>>,
    polled: Instant,
    adopted: bool,
    /// Who is to be told of the end, once it is adopted.
    caller: Option<Waker>,
}

/// The task that drives an adopted future.
struct Adopted<T: Send + 'static>(Arc<Shared<T>>);

impl<T: Send + 'static> Unfinished<T> {
    /// Must be called on a runtime.
    pub(super) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        let future = AssertUnwindSafe(future.boxed()).catch_unwind();
        let state = State {
            future: Some(future),
            ended: None,
            polled: Instant::now(),
            adopted: false,
            caller: None,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), runtime: Handle::current() });
        let weak: Weak<Shared<T>> = Arc::downgrade(&shared);
        if !watch(weak) {
            shared.adopt(shared.state());
        }
        Self(shared)
    }
}

impl<T: Send + 'static> Shared<T> {
    /// Waits for a look of the watcher, or for one poll by the task that has adopted it.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        // A panic of the future is caught below the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, unless somebody is polling at this moment.
    fn unless_polled(&self) -> Option<MutexGuard<'_, State<T>>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn adopt(self: &Arc<Self>, mut state: MutexGuard<'_, State<T>>) {
        if state.future.is_some() && !state.adopted {
            state.adopted = true;
            drop(state);
            // Joined by nobody but the caller, through the shared state.
            self.runtime.spawn(Adopted(Arc::clone(self)));
        }
    }
}

impl<T: Send + 'static> State<T> {
    /// Polls the future; whether it has ended.
    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        self.polled = Instant::now();
        let Some(future) = &mut self.future else { return true };
        let Poll::Ready(ended) = future.poll_unpin(context) else { return false };
        (self.future, self.ended) = (None, Some(ended));
        true
    }
}

impl<T: Send + 'static> Future for Unfinished<T> {
    type Output = Ended<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.state();
        state.caller = Some(context.waker().clone());
        if !state.adopted {
            state.poll(context);
        }
        state.ended.take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T: Send + 'static> Drop for Unfinished<T> {
    fn drop(&mut self) {
        self.0.adopt(self.0.state());
    }
}

impl<T: Send + 'static> Future for Adopted<T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.state();
        if !state.poll(context) {
            return Poll::Pending;
        }
        let caller = state.caller.take();
        drop(state);
        if let Some(caller) = caller {
            caller.wake();
        }
        Poll::Ready(())
    }
}

impl<T: Send + 'static> Adoptable for Shared<T> {
    fn look_after(self: Arc<Self>, now: Instant) -> bool {
        // Polled at this moment: somebody cares.
        let Some(state) = self.unless_polled() else { return true };
        if state.future.is_none() || state.adopted {
            return false;
        }
        if now.saturating_duration_since(state.polled) < NEGLECTED_AFTER {
            return true;
        }
        self.adopt(state);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Notify;

    /// A future that says when it has begun and ended, and waits in between.
    fn waiting() -> ([Arc<Notify>; 3], impl Future<Output = u32> + Send + 'static) {
        let notes: [Arc<Notify>; 3] = Default::default();
        let [begun, go_on, ended] = notes.clone();
        let future = async move {
            begun.notify_one();
            go_on.notified().await;
            ended.notify_one();
            7
        };
        (notes, future)
    }

    #[tokio::test]
    async fn it_is_finished_though_it_is_dropped() {
        let ([begun, go_on, ended], future) = waiting();
        let mut unfinished = Unfinished::new(future);
        tokio::select! {
            _ = &mut unfinished => panic!("it waits"),
            () = begun.notified() => {}
        }
        drop(unfinished);
        go_on.notify_one();
        ended.notified().await;
    }

    #[tokio::test]
    async fn it_is_finished_though_it_is_kept_and_not_polled() {
        let ([begun, go_on, ended], future) = waiting();
        let mut unfinished = Unfinished::new(future);
        tokio::select! {
            _ = &mut unfinished => panic!("it waits"),
            () = begun.notified() => {}
        }
        go_on.notify_one();
        // Nobody polls it from here on.
        ended.notified().await;
        assert_eq!(unfinished.await.expect("no panic"), 7, "its value is still there");
    }

    #[tokio::test]
    async fn one_that_was_adopted_while_it_waits_still_answers_its_caller() {
        let ([_, go_on, _], future) = waiting();
        let unfinished = Unfinished::new(future);
        let adopted = Arc::clone(&unfinished.0);
        let caller = tokio::spawn(unfinished);
        while !adopted.state().adopted {
            tokio::task::yield_now().await;
        }
        go_on.notify_one();
        assert_eq!(caller.await.expect("no panic").expect("no panic"), 7);
    }

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let panicking = Unfinished::new(async { assert!(std::hint::black_box(false), "forced") });
        assert!(panicking.await.is_err());
        assert_eq!(Unfinished::new(async { 7 }).await.expect("no panic"), 7);
    }
}
