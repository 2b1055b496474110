//! Where runs report their end: it outlives any stage.
//!
//! Decides: which beans run, also across the death of a dispatcher; that a run dropped on the way
//! ends all the same. Never does: choose what runs next.

use super::messages::Held;
use super::schedule::End;
use super::stage::Bell;
use crate::domain::bean::BeanId;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct Entries {
    /// Started, and the end not yet collected. At most `pipeline.concurrency`, which bounds
    /// `ended` too.
    running: HashSet<BeanId>,
    ended: Vec<(BeanId, End<Held>)>,
}

/// The runs under way and those that ended.
#[derive(Debug)]
pub(crate) struct Desk {
    entries: Mutex<Entries>,
    bell: Bell,
}

impl Desk {
    /// An empty desk; `bell` rings when a run ends.
    pub(crate) fn new(bell: Bell) -> Arc<Self> {
        Arc::new(Self { entries: Mutex::default(), bell })
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // The holders only push and take: a panic cannot leave the entries half changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a run.
    pub(crate) fn open(self: &Arc<Self>, bean: &BeanId) -> RunGuard {
        self.entries().running.insert(bean.clone());
        RunGuard { bean: bean.clone(), desk: Arc::clone(self), open: true }
    }

    /// Beans whose end has not been collected.
    pub(crate) fn running(&self) -> Vec<BeanId> {
        self.entries().running.iter().cloned().collect()
    }

    /// Takes the ends that were reported.
    pub(crate) fn collect(&self) -> Vec<(BeanId, End<Held>)> {
        let mut entries = self.entries();
        let ended = std::mem::take(&mut entries.ended);
        for (bean, _) in &ended {
            entries.running.remove(bean);
        }
        ended
    }

    fn close(&self, bean: &BeanId, end: End<Held>) {
        self.entries().ended.push((bean.clone(), end));
        self.bell.ring();
    }
}

/// Held by a run; ends it when told to, or when dropped.
#[derive(Debug)]
pub(crate) struct RunGuard {
    bean: BeanId,
    desk: Arc<Desk>,
    open: bool,
}

impl RunGuard {
    /// Ends the run.
    pub(crate) fn end(mut self, end: End<Held>) {
        self.open = false;
        self.desk.close(&self.bean, end);
    }
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        if self.open {
            self.desk.close(&self.bean, End::Done);
        }
    }
}
