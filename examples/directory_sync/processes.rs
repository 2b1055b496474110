//! Who syncs: a scheduler, a web process whose administrator pressed "sync now", and workers.
//!
//! Decides: which jobs each does, in an order of its own. Never does: run one.

use super::directory::Directory;
use super::jobs::{BATCH, Job};
use cupping::txn::Transactor;
use sqlx::{PgPool, Postgres};
use std::sync::Arc;

/// A process: a pool of its own, and what it has to do.
#[derive(Clone)]
pub struct Process {
    pub pool: PgPool,
    pub jobs: Arc<[Job]>,
}

impl Process {
    /// On its own pool.
    pub fn transactor(&self) -> Transactor<Postgres> {
        Transactor::new(self.pool.clone())
    }
}

/// Processes that sync users; the others are workers, who sync groups.
const OF_USERS: usize = 2;

/// What each of the processes does: the first two everything about users, the others the groups.
pub fn plans(directory: &Directory, stored: &[i64], workers: usize, seed: u64) -> Vec<Vec<Job>> {
    let plan = |process| {
        let mut random = fastrand::Rng::with_seed(seed ^ (process as u64 + 1));
        let mut jobs = vec![Job::SystemUser];
        if process < OF_USERS {
            let mut users: Vec<i64> = directory.users.keys().copied().collect();
            random.shuffle(&mut users);
            jobs.extend(users.chunks(BATCH).map(|batch| Job::Users(batch.to_vec())));
            let mut stored = stored.to_vec();
            stored.retain(|id| !directory.users.contains_key(id));
            random.shuffle(&mut stored);
            jobs.extend(stored.chunks(BATCH).map(|batch| Job::Deactivate(batch.to_vec())));
            random.shuffle(&mut users);
            jobs.extend(users.chunks(BATCH).map(|batch| Job::Permissions(batch.to_vec())));
        } else {
            let mut groups: Vec<i64> = directory.groups.keys().copied().collect();
            random.shuffle(&mut groups);
            jobs.extend(groups.into_iter().map(Job::Group));
        }
        jobs
    };
    (0..OF_USERS + workers).map(plan).collect()
}
