//! A thread that looks after the futures whose callers drive them.
//!
//! Decides: how often it looks, and when it rests. Never does: poll anything.
//!
//! A thread, not a task: it must not depend on any one runtime, nor wait for a worker to be free.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// How often it looks.
const LOOKS_EVERY: Duration = Duration::from_millis(10);
/// After so many looks at nothing it rests until it is called.
const LOOKS_AT_NOTHING: u32 = 100;

/// What can be looked after.
pub(super) trait Adoptable: Send + Sync {
    /// Adopts it if its caller neglects it; whether it still needs looking after.
    fn look_after(self: Arc<Self>, now: Instant) -> bool;
}

#[derive(Default)]
struct Nursery {
    charges: Vec<Weak<dyn Adoptable>>,
    resting: bool,
}

struct Watcher {
    nursery: Mutex<Nursery>,
    call: Condvar,
    works: bool,
}

static WATCHER: LazyLock<Watcher> = LazyLock::new(|| {
    // It waits at the lazy lock until this is done.
    let thread = thread::Builder::new().name("cupping-txn-watch".into()).spawn(|| WATCHER.run());
    Watcher { nursery: Mutex::default(), call: Condvar::new(), works: thread.is_ok() }
});

/// Has it looked after from now on; false where no thread could be had.
pub(super) fn watch(charge: Weak<dyn Adoptable>) -> bool {
    if !WATCHER.works {
        return false;
    }
    let mut nursery = WATCHER.nursery();
    nursery.charges.push(charge);
    if nursery.resting {
        nursery.resting = false;
        WATCHER.call.notify_one();
    }
    true
}

/// Whether it is there and still needs looking after. What it holds may end here, with a panic of
/// its own that must not end the thread.
fn look(charge: &Weak<dyn Adoptable>, now: Instant) -> bool {
    let looked = || charge.upgrade().is_some_and(|charge| charge.look_after(now));
    catch_unwind(AssertUnwindSafe(looked)).unwrap_or(false)
}

impl Watcher {
    fn nursery(&self) -> MutexGuard<'_, Nursery> {
        self.nursery.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut looks_at_nothing = 0;
        loop {
            thread::sleep(LOOKS_EVERY);
            let charges = std::mem::take(&mut self.nursery().charges);
            looks_at_nothing = if charges.is_empty() { looks_at_nothing + 1 } else { 0 };
            let now = Instant::now();
            let kept: Vec<_> = charges.into_iter().filter(|charge| look(charge, now)).collect();
            let mut nursery = self.nursery();
            nursery.charges.extend(kept);
            if looks_at_nothing >= LOOKS_AT_NOTHING && nursery.charges.is_empty() {
                nursery.resting = true;
                while nursery.resting {
                    nursery = self.call.wait(nursery).unwrap_or_else(PoisonError::into_inner);
                }
                looks_at_nothing = 0;
            }
        }
    }
}
