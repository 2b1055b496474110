//! The orders in which an example takes its locks, watched where the feature `lockdep` is on.
//!
//! Decides: what it comes to without the feature: nothing is watched, and nothing told.
//! Never does: judge what was found.

use cupping::txn::{Dialect, Transactor};

/// A watch over transactions.
#[derive(Clone)]
pub struct Orders {
    #[cfg(feature = "lockdep")]
    lockdep: cupping::txn::Lockdep,
}

impl Orders {
    /// Over every transactor of this program: a unit that contradicts another's order fails.
    #[cfg(feature = "lockdep")]
    pub fn everywhere() -> Self {
        let lockdep = cupping::txn::Lockdep::new().per_database();
        assert!(lockdep.install(), "nothing else installs one in this program");
        Self { lockdep }
    }

    /// Knowing that several rows of this table are written only under an advisory lock (or in
    /// order, by who does not hold one).
    #[cfg(feature = "lockdep")]
    #[allow(dead_code, reason = "not every example has such a table")]
    pub fn guarded(self, table: &str) -> Self {
        self.lockdep.guarded(table, cupping::txn::lockdep::Class::Advisory(None));
        self
    }

    /// Over code that is known to deadlock: what is found fails no unit.
    #[cfg(feature = "lockdep")]
    pub fn known_bad() -> Self {
        Self { lockdep: cupping::txn::Lockdep::new().reporting() }
    }

    /// With this watch over its transactions, and not the one over all.
    #[cfg(feature = "lockdep")]
    pub fn watch<DB: Dialect>(&self, transactor: Transactor<DB>) -> Transactor<DB> {
        transactor.with_lockdep(&self.lockdep)
    }

    /// How many orders contradict another.
    #[cfg(feature = "lockdep")]
    pub fn contradictions(&self) -> Option<usize> {
        Some(self.lockdep.inversions().len())
    }

    /// Over nothing.
    #[cfg(not(feature = "lockdep"))]
    pub fn everywhere() -> Self {
        Self {}
    }

    /// As it is.
    #[cfg(not(feature = "lockdep"))]
    #[allow(dead_code, reason = "not every example has such a table")]
    pub fn guarded(self, _: &str) -> Self {
        self
    }

    /// Over nothing.
    #[cfg(not(feature = "lockdep"))]
    pub fn known_bad() -> Self {
        Self {}
    }

    /// As it is.
    #[cfg(not(feature = "lockdep"))]
    pub fn watch<DB: Dialect>(&self, transactor: Transactor<DB>) -> Transactor<DB> {
        transactor
    }

    /// `None`: nothing was watched.
    #[cfg(not(feature = "lockdep"))]
    pub fn contradictions(&self) -> Option<usize> {
        None
    }
}
