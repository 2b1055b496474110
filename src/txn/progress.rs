//! Where a unit of work stands, shared by the task that runs it and the caller who waits.
//!
//! Decides: that a unit given up by its caller never commits, and that one in COMMIT cannot be
//! given up. Never does: wait.

use std::sync::atomic::{AtomicU8, Ordering};

const RUNNING: u8 = 0;
const COMMITTING: u8 = 1;
const ABANDONED: u8 = 2;

#[derive(Debug, Default)]
pub(super) struct Progress(AtomicU8);

impl Progress {
    /// Before COMMIT: false when the caller has given up, and then it must not be sent.
    pub(super) fn start_commit(&self) -> bool {
        self.step(RUNNING, COMMITTING)
    }

    /// After a COMMIT that certainly did nothing: the unit may run again.
    pub(super) fn commit_failed(&self) {
        self.0.store(RUNNING, Ordering::SeqCst);
    }

    /// The caller gives up: false when COMMIT may have been sent already.
    pub(super) fn abandon(&self) -> bool {
        self.step(RUNNING, ABANDONED)
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.0.load(Ordering::SeqCst) == ABANDONED
    }

    fn step(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
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
