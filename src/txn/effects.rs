//! What happens once, after a commit that is known.
//!
//! Decides: order (as registered), and that a failing effect cannot undo or hide the commit.
//! Never does: run an effect of an attempt that was rolled back.

use super::events;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::panic::AssertUnwindSafe;

type Effect = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send + Sync>;

#[derive(Default)]
pub(super) struct Effects(Vec<Effect>);

impl Effects {
    pub(super) fn add(&mut self, effect: Effect) {
        self.0.push(effect);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets those registered since, when a scope is rolled back.
    pub(super) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    pub(super) async fn run(self, name: &'static str) {
        for effect in self.0 {
            let future = AssertUnwindSafe(async move { effect().await });
            if future.catch_unwind().await.is_err() {
                events::effect_panicked(name);
            }
        }
    }
}

impl std::fmt::Debug for Effects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Effects({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn effects_run_in_order_and_a_panic_stops_none_of_the_others() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut effects = Effects::default();
        for n in 0..4 {
            let seen = Arc::clone(&seen);
            effects.add(Box::new(move || {
                async move {
                    assert!(n != 1, "forced");
                    seen.lock().expect("no panic under the lock").push(n);
                }
                .boxed()
            }));
        }
        effects.truncate(3);
        effects.run("test").await;
        assert_eq!(*seen.lock().expect("no panic under the lock"), [0, 2]);
    }
}
