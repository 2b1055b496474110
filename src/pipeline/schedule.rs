//! Which beans run next: the dispatcher's state machine, without actors, time or input/output.
//!
//! ```text
//!            arrive                    start                     ended(Done)
//! delivery ─────────▶ waiting bean ──────────────▶ running bean ─────────────▶ forgotten
//!            (merged if it waits)                        │ ended(Again | Back)
//!                         ▲──────────────────────────────┘  (or a delivery arrived meanwhile)
//! ```
//!
//! Decides: which deliveries are merged into one run, which beans run together, in what order, and
//! that a suspected killer runs alone. Never does: settle, score, or look at a clock.

use super::lanes::Lanes;
use crate::domain::bean::BeanId;
use crate::transport::Lane;
use std::collections::{HashMap, VecDeque};

/// Crash count from which a delivery runs alone.
pub(crate) const SUSPECT_CRASHES: u32 = 3;

/// How much may be under way at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Beans started and not yet ended.
    pub(crate) concurrency: usize,
    /// Beans of one batch.
    pub(crate) batch: usize,
    /// Batches under way.
    pub(crate) workers: usize,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum End<D> {
    /// Its deliveries are settled.
    Done,
    /// It must run again, with the same deliveries, for the reason given.
    Again(Vec<D>, &'static str),
    /// It was not run after all: a service is down.
    Back(Vec<D>),
}

/// What became of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It begins a run of its own.
    New,
    /// It joined a run that waits.
    Merged,
}

/// A bean that waits, with the deliveries that its run will settle.
#[derive(Debug)]
struct Waiting<D> {
    lane: Lane,
    suspect: bool,
    /// Tells the valid entry of the ready queue from stale ones.
    stamp: u64,
    deliveries: Vec<D>,
}

#[derive(Debug, Clone, Copy)]
struct Running {
    batch: u64,
    lane: Lane,
    suspect: bool,
}

/// The state of the dispatcher.
#[derive(Debug)]
pub(crate) struct Schedule<D> {
    bounds: Bounds,
    waiting: HashMap<BeanId, Waiting<D>>,
    ready: Lanes,
    suspects: VecDeque<BeanId>,
    running: HashMap<BeanId, Running>,
    batches: HashMap<u64, usize>,
    stamps: u64,
    suspended: bool,
}

impl<D> Schedule<D> {
    /// An empty schedule. `running` are beans that an earlier dispatcher started and that have not
    /// ended: they are never started a second time meanwhile.
    pub(crate) fn new(bounds: Bounds, running: impl IntoIterator<Item = BeanId>) -> Self {
        let mut schedule = Self {
            bounds,
            waiting: HashMap::new(),
            ready: Lanes::default(),
            suspects: VecDeque::new(),
            running: HashMap::new(),
            batches: HashMap::new(),
            stamps: 0,
            suspended: false,
        };
        for bean in running {
            let batch = schedule.stamp();
            let adopted = Running { batch, lane: Lane::Live, suspect: false };
            schedule.running.insert(bean, adopted);
            schedule.batches.insert(batch, 1);
        }
        schedule
    }

    fn stamp(&mut self) -> u64 {
        self.stamps += 1;
        self.stamps
    }

    /// Takes a delivery in.
    pub(crate) fn arrive(
        &mut self,
        bean: BeanId,
        lane: Lane,
        crashes: u32,
        delivery: D,
    ) -> Arrival {
        let suspect = crashes >= SUSPECT_CRASHES;
        let (arrival, moved) = self.merge(&bean, lane, suspect, vec![delivery]);
        if moved {
            self.queue(&bean);
        }
        arrival
    }

    /// Adds deliveries to the bean's waiting run. Also says whether that run belongs in another
    /// place of the queues than before.
    fn merge(
        &mut self,
        bean: &BeanId,
        lane: Lane,
        suspect: bool,
        deliveries: Vec<D>,
    ) -> (Arrival, bool) {
        let stamp = self.stamp();
        let Some(waiting) = self.waiting.get_mut(bean) else {
            self.waiting.insert(bean.clone(), Waiting { lane, suspect, stamp, deliveries });
            return (Arrival::New, true);
        };
        waiting.deliveries.extend(deliveries);
        let lifted = lane == Lane::Live && waiting.lane == Lane::Bulk;
        let moved = lifted || (suspect && !waiting.suspect);
        if lifted {
            waiting.lane = Lane::Live;
        }
        if moved {
            waiting.stamp = stamp;
        }
        waiting.suspect |= suspect;
        (Arrival::Merged, moved)
    }

    /// Puts a waiting bean into the queue it belongs to, unless it runs: then its end does.
    fn queue(&mut self, bean: &BeanId) {
        let Some(waiting) = self.waiting.get(bean) else { return };
        if waiting.suspect {
            if !self.suspects.contains(bean) {
                self.suspects.push_back(bean.clone());
            }
        } else if !self.running.contains_key(bean) {
            self.ready.push(waiting.lane, bean.clone(), waiting.stamp);
        }
    }

    /// The next batch, when a worker and room are free: its beans with their deliveries.
    pub(crate) fn start(&mut self) -> Option<Vec<(BeanId, Vec<D>)>> {
        if self.suspended || self.suspect_runs() {
            return None;
        }
        let beans = if let Some(suspect) = self.suspects.front().cloned() {
            if !self.running.is_empty() {
                return None;
            }
            self.suspects.pop_front();
            vec![suspect]
        } else {
            self.pick()
        };
        if beans.is_empty() {
            return None;
        }
        let batch = self.stamp();
        self.batches.insert(batch, beans.len());
        Some(beans.into_iter().map(|bean| self.run(bean, batch)).collect())
    }

    fn pick(&mut self) -> Vec<BeanId> {
        if self.batches.len() >= self.bounds.workers {
            return Vec::new();
        }
        let room = self.bounds.concurrency.saturating_sub(self.running.len());
        let mut beans = Vec::new();
        while beans.len() < room.min(self.bounds.batch) {
            let waiting = &self.waiting;
            let valid = |bean: &BeanId, stamp: u64| {
                waiting.get(bean).is_some_and(|w| !w.suspect && w.stamp == stamp)
            };
            let Some(bean) = self.ready.pop(valid) else { break };
            beans.push(bean);
        }
        beans
    }

    fn run(&mut self, bean: BeanId, batch: u64) -> (BeanId, Vec<D>) {
        let waiting = self.waiting.remove(&bean).expect("only waiting beans are queued");
        let running = Running { batch, lane: waiting.lane, suspect: waiting.suspect };
        self.running.insert(bean.clone(), running);
        (bean, waiting.deliveries)
    }

    /// A run ended. Says why the bean runs once more, if it does.
    pub(crate) fn ended(&mut self, bean: &BeanId, end: End<D>) -> Option<&'static str> {
        let Running { batch, lane, suspect } = self.running.remove(bean)?;
        if let Some(left) = self.batches.get_mut(&batch) {
            *left -= 1;
            if *left == 0 {
                self.batches.remove(&batch);
            }
        }
        let arrived = self.waiting.contains_key(bean);
        let reason = match end {
            End::Again(deliveries, reason) => {
                self.merge(bean, lane, suspect, deliveries);
                Some(reason)
            }
            End::Back(deliveries) => {
                self.merge(bean, lane, suspect, deliveries);
                None
            }
            End::Done => arrived.then_some("arrived"),
        };
        self.queue(bean);
        reason
    }

    /// While a suspected killer runs: everything else that waits, to be republished, so that it
    /// does not age with the killer.
    pub(crate) fn displaced(&mut self) -> Vec<D> {
        if self.suspect_runs() { self.clear() } else { Vec::new() }
    }

    /// Takes out everything that waits.
    pub(crate) fn clear(&mut self) -> Vec<D> {
        self.ready = Lanes::default();
        self.suspects.clear();
        self.waiting.drain().flat_map(|(_, waiting)| waiting.deliveries).collect()
    }

    fn suspect_runs(&self) -> bool {
        self.running.len() == 1 && self.running.values().all(|running| running.suspect)
    }

    /// Other bounds hold from now on; what runs beyond them may finish.
    pub(crate) fn rebind(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Stops or allows starting.
    pub(crate) fn suspend(&mut self, suspended: bool) {
        self.suspended = suspended;
    }

    /// Beans started and not yet ended.
    pub(crate) fn in_flight(&self) -> usize {
        self.running.len()
    }

    /// Beans that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits and nothing runs.
    pub(crate) fn idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
