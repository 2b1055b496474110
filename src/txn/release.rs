//! What becomes of a connection whose transaction has ended.
//!
//! Decides: what is given back before the unit's result is told, what after, and which connections
//! are closed instead. Never does: end the transaction.

use super::dialect::Dialect;
use super::guard;
use super::transaction::Tx;
use std::time::Duration;
use tokio::time::timeout;

/// Longest that giving back may hold up the answer to a COMMIT which is known already.
const FAREWELL_WITHIN: Duration = Duration::from_secs(2);

impl<DB: Dialect> Tx<DB> {
    /// Gives back at once what outlives a transaction, because others wait for it; and the session
    /// its own settings, off the caller's path.
    pub(super) async fn release(mut self) {
        // A cancel may still be on its way to this session: `open` stays, and it is closed.
        if self.watch.has_cancelled() {
            return;
        }
        if !self.farewell.is_empty() {
            let sent = DB::send(&mut self.connection, self.farewell.join("; "));
            if !matches!(timeout(FAREWELL_WITHIN, sent).await, Ok(Ok(()))) {
                return;
            }
        }
        self.open = false;
        // Joined by nobody: it holds the connection, which the pool's own close waits for.
        tokio::spawn(async move {
            let tx = &mut self;
            if let Some(restore) = tx.restore.take() {
                let sent = DB::send(&mut tx.connection, restore);
                if tx.watch.ended(sent).await.is_err() {
                    tx.open = true;
                    return;
                }
            }
            // What code of the caller's own did on the connection, nobody has seen.
            if !tx.unseen {
                guard::known_clean(tx.connection.return_to_pool()).await;
            }
        });
    }
}

impl<DB: Dialect> Drop for Tx<DB> {
    fn drop(&mut self) {
        // Ended neither way (a panic, a lost connection): the server rolls back when it is closed.
        if self.open {
            self.connection.close_on_drop();
        }
    }
}
