//! How long sessions wait for locks, seen from the server.
//!
//! Decides: how often it looks. Never does: know who waits, or why.

use super::arena::Failure;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Pause between two looks. What is shorter than this is seen by chance, and right on average.
const EVERY: Duration = Duration::from_millis(5);

/// Adds up the time that the sessions of a database wait for heavyweight locks: rows, advisory
/// keys, tables.
pub struct LockWait {
    stop: oneshot::Sender<()>,
    watch: JoinHandle<Result<Duration, sqlx::Error>>,
}

impl LockWait {
    /// Starts watching, on a connection of its own.
    pub async fn watch(options: PgConnectOptions) -> Result<Self, Failure> {
        let connection = PgConnection::connect_with(&options).await?;
        let (stop, stopped) = oneshot::channel();
        Ok(Self { stop, watch: tokio::spawn(watch(connection, stopped)) })
    }

    /// The sum over all sessions.
    pub async fn total(self) -> Result<Duration, Failure> {
        drop(self.stop);
        Ok(self.watch.await??)
    }
}

async fn watch(
    mut connection: PgConnection,
    mut stopped: oneshot::Receiver<()>,
) -> Result<Duration, sqlx::Error> {
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let (mut total, mut last) = (Duration::ZERO, Instant::now());
    loop {
        let sessions: i64 = sqlx::query_scalar(waiting).fetch_one(&mut connection).await?;
        let now = Instant::now();
        total += (now - last) * u32::try_from(sessions).unwrap_or(u32::MAX);
        last = now;
        if tokio::time::timeout(EVERY, &mut stopped).await.is_ok() {
            connection.close().await?;
            return Ok(total);
        }
    }
}
