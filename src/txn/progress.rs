//! Where a unit of work stands, shared by the task that runs it and the caller who waits.
//!
//! Decides: that a unit given up by its caller never commits, and that one in COMMIT cannot be
//! given up. Never does: wait.

use std::sync::atomic::{AtomicU8, Ordering};
use tokio_util::sync::CancellationToken;

const RUNNING: u8 = 0;
const COMMITTING: u8 = 1;
const ABANDONED: u8 = 2;
const COMMITTED: u8 = 3;

#[derive(Debug, Default)]
pub(super) struct Progress {
    state: AtomicU8,
    given_up: CancellationToken,
}

impl Progress {
    /// Before COMMIT: false when the caller has given up, and then it must not be sent.
    pub(super) fn start_commit(&self) -> bool {
        self.step(RUNNING, COMMITTING)
    }

    /// After a COMMIT that certainly did nothing: the unit may run again.
    pub(super) fn commit_failed(&self) {
        self.state.store(RUNNING, Ordering::SeqCst);
    }

    /// After a COMMIT that certainly happened: what is left to do may take its time.
    pub(super) fn committed(&self) {
        self.state.store(COMMITTED, Ordering::SeqCst);
    }

    pub(super) fn is_committed(&self) -> bool {
        self.state.load(Ordering::SeqCst) == COMMITTED
    }

    /// The caller gives up: false when COMMIT may have been sent already.
    pub(super) fn abandon(&self) -> bool {
        let given_up = self.step(RUNNING, ABANDONED);
        if given_up {
            self.given_up.cancel();
        }
        given_up
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.state.load(Ordering::SeqCst) == ABANDONED
    }

    /// Ends when the caller gives up.
    pub(super) async fn abandoned(&self) {
        self.given_up.cancelled().await;
    }

    fn step(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_never_commits_and_a_commit_cannot_be_given_up() {
        let given_up = Progress::default();
        assert!(given_up.abandon());
        assert!(!given_up.start_commit());
        let committing = Progress::default();
        assert!(committing.start_commit());
        assert!(!committing.abandon());
        committing.commit_failed();
        assert!(committing.abandon() && committing.is_abandoned());
    }
}
