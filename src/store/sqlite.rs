//! The store in SQLite: the embedded mode.
//!
//! Decides: how the file is opened (WAL, synchronous FULL because it holds a queue, one write
//! connection, readers apart) and which file below serves which promise of the ports.
//! Never does: score, or settle messages.

use super::rows;
use super::settings::StoreSettings;
use super::statements::Statements;
use super::{
    Catalogue, Changes, Loading, LogMark, SimilarityStore, StateCheck, StoreError, WriteBatch,
    WriteReport,
};
use crate::domain::bean::{Bean, BeanId};
use crate::domain::ranking::SimilarList;
use crate::txn::{Dialect, Transactor, guarded};
use async_trait::async_trait;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection, Sqlite};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

mod changes;
mod import;
mod lists;
mod migrate;
mod read;
mod state;
mod statements;
mod triggers;
mod write;

/// The ports on a SQLite file. Cheap to clone; clones share the pools.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    write_pool: SqlitePool,
    read_pool: SqlitePool,
    writer: Transactor<Sqlite>,
    reader: Transactor<Sqlite>,
    statements: Arc<Statements>,
    settings: Arc<StoreSettings>,
}

/// An error of a plain read, classified.
fn failed(doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError + Copy {
    move |source| StoreError::Query { doing, retryability: Sqlite::classify(&source), source }
}

impl SqliteStore {
    /// Opens the file, which is made when missing (its directory is not). Run
    /// [`SqliteStore::migrate`] before anything else on a new one.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be opened or is no database.
    pub async fn open(path: &Path, settings: StoreSettings) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(settings.transaction.lock_timeout)
            .foreign_keys(true);
        let pool = || {
            guarded(SqlitePoolOptions::new())
                .acquire_timeout(settings.acquire_timeout)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        let broken = failed("opening the SQLite file");
        let write_pool =
            pool().max_connections(1).connect_with(options.clone()).await.map_err(broken)?;
        let read_pool = pool()
            .max_connections(settings.max_connections)
            .connect_with(options.pragma("query_only", "1"))
            .await
            .map_err(broken)?;
        Ok(Self {
            writer: Transactor::new(write_pool.clone()),
            reader: Transactor::new(read_pool.clone()),
            statements: Arc::new(statements::statements(&settings.catalogue)),
            settings: Arc::new(settings),
            write_pool,
            read_pool,
        })
    }

    /// The write pool (of one connection), for the queue in the same file.
    #[must_use]
    pub fn write_pool(&self) -> &SqlitePool {
        &self.write_pool
    }

    /// The pool of readers.
    #[must_use]
    pub fn read_pool(&self) -> &SqlitePool {
        &self.read_pool
    }

    /// Closes every connection; waits for those in use.
    pub async fn close(&self) {
        self.read_pool.close().await;
        self.write_pool.close().await;
    }

    fn accepted(&self, id: &BeanId) -> Result<(), StoreError> {
        self.accepts(id).map_err(|message| StoreError::ImpossibleId { id: id.to_string(), message })
    }

    /// Ids as they are bound: one JSON array.
    fn bound(&self, ids: &[BeanId]) -> Result<String, StoreError> {
        ids.iter().try_for_each(|id| self.accepted(id))?;
        Ok(json_array(ids.iter().map(BeanId::as_str)))
    }
}

/// A JSON array of texts.
fn json_array<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    serde_json::Value::from_iter(texts).to_string()
}

#[async_trait]
impl Catalogue for SqliteStore {
    async fn load(&self, sink: &mut (dyn FnMut(Loading) + Send)) -> Result<LogMark, StoreError> {
        self.load_all(sink).await
    }

    async fn changes(&self, since: &LogMark) -> Result<Changes, StoreError> {
        self.changes_since(since).await
    }

    async fn beans(&self, ids: &[BeanId]) -> Result<Vec<Bean>, StoreError> {
        self.some_beans(ids).await
    }

    async fn ids(&self, after: Option<&BeanId>, limit: usize) -> Result<Vec<BeanId>, StoreError> {
        self.page_of_ids(after, limit).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.count_beans().await
    }

    fn accepts(&self, id: &BeanId) -> Result<(), String> {
        rows::accepts(self.settings.catalogue.id_type, id)
    }
}

#[async_trait]
impl SimilarityStore for SqliteStore {
    async fn write(&self, batch: WriteBatch) -> Result<WriteReport, StoreError> {
        self.write_batch(batch).await
    }

    async fn list(&self, source: &BeanId) -> Result<SimilarList, StoreError> {
        self.list_of(source).await
    }

    async fn lists(
        &self,
        sink: &mut (dyn FnMut(BeanId, SimilarList) + Send),
    ) -> Result<(), StoreError> {
        self.all_lists(sink).await
    }

    async fn open_state(&self, fingerprint: &str) -> Result<StateCheck, StoreError> {
        self.check_state(fingerprint).await
    }

    async fn note(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.read_note(name).await
    }

    async fn set_note(&self, name: &str, value: Option<&str>) -> Result<(), StoreError> {
        self.write_note(name, value).await
    }

    async fn prune_log(&self, keep: Duration) -> Result<u64, StoreError> {
        self.prune(keep).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let broken = failed("asking SQLite for a sign of life");
        let mut connection = self.read_pool.acquire().await.map_err(broken)?;
        connection.ping().await.map_err(broken)
    }

    fn pool(&self) -> (u32, u32) {
        let pools = [&self.write_pool, &self.read_pool];
        let size: u32 = pools.iter().map(|pool| pool.size()).sum();
        let idle: usize = pools.iter().map(|pool| pool.num_idle()).sum();
        let idle = u32::try_from(idle).unwrap_or(u32::MAX);
        (size.saturating_sub(idle), idle)
    }
}
