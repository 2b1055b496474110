//! A fresh SQLite file for a test.
//!
//! Decides: write-ahead log, as the service has it. Never does: share a file between tests.

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};

/// A SQLite database of one test; its file goes with it.
pub struct SqliteDatabase {
    /// Connections to it.
    pub pool: SqlitePool,
    _directory: tempfile::TempDir,
}

impl SqliteDatabase {
    /// Creates an empty one.
    pub async fn create(connections: u32) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let options = SqliteConnectOptions::new()
            .filename(directory.path().join("test.sqlite"))
            .journal_mode(SqliteJournalMode::Wal)
            .create_if_missing(true);
        let pool = SqlitePoolOptions::new().max_connections(connections).connect_with(options);
        Self { pool: pool.await.expect("SQLite opens"), _directory: directory }
    }
}
