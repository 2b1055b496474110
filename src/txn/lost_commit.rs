//! Finds out what became of a COMMIT whose answer was lost.
//!
//! Decides: whom to ask (the server, by the transaction's number; else a row of the transaction
//! itself), how often, and how long. Never does: send COMMIT again.

use super::dialect::Dialect;
use super::outcome::{Resolution, Transaction};
use super::witness::Witness;
use sqlx::{Connection, Pool};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long the servers are asked. The caller has stopped waiting before that, and is told that the
/// outcome is unknown; effects still run when it turns out to be a commit.
const ASK_FOR: Duration = Duration::from_secs(60);
/// Pauses between two questions: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// Longest single question: making a connection and getting an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Committed,
    RolledBack,
    Unknown,
}

impl Verdict {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::RolledBack => "rolled_back",
            Self::Unknown => "unknown",
        }
    }
}

/// Asks until somebody knows, or nobody can.
pub(super) async fn find_out<DB: Dialect>(
    pool: &Pool<DB>,
    number: Option<&Transaction>,
    witness: Option<&Witness<DB>>,
) -> Verdict {
    if number.is_none() && witness.is_none() {
        return Verdict::Unknown;
    }
    let until = Instant::now() + ASK_FOR;
    let mut pause = PAUSES.0;
    // A server that has answered for certain that it cannot tell is not asked again.
    let mut number = number;
    while Instant::now() < until {
        if let Some(asked) = number {
            match timeout(ANSWER_WITHIN, resolve(pool, asked)).await {
                Ok(Ok(Resolution::Committed)) => return Verdict::Committed,
                Ok(Ok(Resolution::RolledBack)) => return Verdict::RolledBack,
                Ok(Ok(Resolution::Unknown)) => number = None,
                Ok(Ok(Resolution::Pending) | Err(_)) | Err(_) => {}
            }
        }
        if number.is_none() {
            let Some(witness) = witness else { return Verdict::Unknown };
            match timeout(ANSWER_WITHIN, (witness.0)(pool.clone())).await {
                Ok(Ok(true)) => return Verdict::Committed,
                Ok(Ok(false)) => return Verdict::RolledBack,
                Ok(Err(_)) | Err(_) => {}
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
    Verdict::Unknown
}

/// On a connection of its own: one of the pool's may be as dead as the one that was lost.
async fn resolve<DB: Dialect>(
    pool: &Pool<DB>,
    number: &Transaction,
) -> Result<Resolution, sqlx::Error> {
    let mut side = DB::Connection::connect_with(&pool.connect_options()).await?;
    let answer = DB::resolve(&mut side, number).await;
    // Nothing depends on a polite farewell.
    drop(side.close().await);
    answer
}
