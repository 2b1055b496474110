//! Avoiding by coalescing: requests note in memory what they have seen, and one task writes it
//! down a few times a second.
//!
//! Decides: how much may be lost when the process dies: what was noted since the last flush.
//! Never does: let a request wait for the database.

use super::remedies;
use cupping::txn::{Transactor, TxnError, TxnOptions, work};
use sqlx::MySql;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Pause between two flushes.
const EVERY: Duration = Duration::from_millis(100);

/// Rows seen since the last flush; never more than there are rows.
#[derive(Default)]
pub struct Seen(Mutex<BTreeSet<i64>>);

impl Seen {
    /// Notes rows.
    pub fn note(&self, rows: &[i64]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(rows);
    }

    fn take(&self) -> Vec<i64> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *seen).into_iter().collect()
    }
}

/// The one who writes; it answers how many transactions it took. Stopped, it flushes once more.
pub fn start(
    seen: Arc<Seen>,
    transactor: Transactor<MySql>,
) -> (JoinHandle<Result<usize, TxnError>>, CancellationToken) {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let writer = tokio::spawn(async move {
        let (mut transactions, mut last) = (0, false);
        while !last {
            last = tokio::time::timeout(EVERY, stopped.cancelled()).await.is_ok();
            let rows = seen.take();
            if rows.is_empty() {
                continue;
            }
            let options = TxnOptions::default();
            let body = work!([rows] => |tx: MySql| { remedies::at_once(tx, rows).await });
            transactor.run("flush_seen", &options, body).await?;
            transactions += 1;
        }
        Ok(transactions)
    });
    (writer, stop)
}
