//! Waiting for the answer to a statement, until the caller gives up.
//!
//! Decides: how long an answer may take, and that a statement nobody waits for is cancelled on the
//! server. Never does: send a statement of the transaction.
//!
//! The task that holds the connection cancels, and waits for the cancelled statement to answer: so
//! a cancel cannot strike a later statement of somebody else. The connection is closed afterwards,
//! because the signal may still be on its way when the statement ends by itself.

use super::dialect::Dialect;
use super::events;
use super::progress::Progress;
use sqlx::Connection;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// How much longer than the server's own timeout the client waits for a statement's answer; and
/// the longest that a cancel, and the answer after it, may take.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

type ConnectOptions<DB> = <<DB as sqlx::Database>::Connection as Connection>::Options;

#[derive(Debug)]
pub(super) struct Watch<DB: Dialect> {
    name: &'static str,
    progress: Arc<Progress>,
    within: Option<Duration>,
    options: Arc<ConnectOptions<DB>>,
    session: Option<u64>,
    cancelled: AtomicBool,
}

impl<DB: Dialect> Watch<DB> {
    pub(super) fn new(
        name: &'static str,
        progress: Arc<Progress>,
        statement_timeout: Duration,
        options: Arc<ConnectOptions<DB>>,
    ) -> Self {
        let within = DB::SERVER_ENDS_STATEMENTS.then(|| statement_timeout + ANSWER_GRACE);
        Self { name, progress, within, options, session: None, cancelled: AtomicBool::new(false) }
    }

    pub(super) fn set_session(&mut self, session: Option<u64>) {
        self.session = session;
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.progress.is_abandoned()
    }

    /// Whether a statement was cancelled on this connection.
    pub(super) fn has_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// The answer; when the caller gives up meanwhile, the answer to the cancel.
    pub(super) async fn answered<T>(
        &self,
        sent: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let mut sent = pin!(sent);
        tokio::select! {
            biased;
            answer = bounded(self.within, &mut sent) => return answer,
            () = self.progress.abandoned() => {}
        }
        let Some(session) = self.session else { return bounded(self.within, sent).await };
        // Together, and both to their end: an answer must not break off a cancel half-way.
        tokio::join!(bounded(Some(2 * ANSWER_GRACE), sent), self.cancel(session)).0
    }

    /// The answer, whether or not the caller still waits: for ending the transaction.
    pub(super) async fn ended<T>(
        &self,
        sent: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        bounded(self.within, sent).await
    }

    async fn cancel(&self, session: u64) {
        self.cancelled.store(true, Ordering::SeqCst);
        let cancelling = async {
            let mut side = DB::Connection::connect_with(&self.options).await?;
            let done = DB::cancel(&mut side, session).await;
            // Nothing depends on a polite farewell.
            drop(side.close().await);
            done
        };
        match bounded(Some(ANSWER_GRACE), cancelling).await {
            Ok(()) => events::cancelled(self.name, session),
            Err(error) => events::cancel_failed(self.name, session, &error),
        }
    }
}

/// An answer within a bound, where there is one.
async fn bounded<T>(
    within: Option<Duration>,
    sent: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let Some(within) = within else { return sent.await };
    timeout(within, sent).await.unwrap_or_else(|_| {
        let message = format!("no answer within {within:?}, though the server ends statements");
        Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, message)))
    })
}
