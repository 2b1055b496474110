//! The store in PostgreSQL.
//!
//! Decides: which file below serves which promise of the ports. The catalogue is only read (apart
//! from `import`, under another role); lists are written by the protocol in `write`; our own
//! bookkeeping lives in the schema `cupping`. Never does: score, or settle messages.

use super::rows;
use super::settings::StoreSettings;
use super::statements::Statements;
use super::{
    Catalogue, Changes, Loading, LogMark, SimilarityStore, StateCheck, StoreError, WriteBatch,
    WriteReport,
};
use crate::config::{Guarded, IdType};
use crate::domain::bean::{Bean, BeanId};
use crate::domain::ranking::SimilarList;
use crate::txn::{Transactor, guarded};
use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgPool, Postgres};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

mod changes;
mod check;
mod connect;
mod fitting;
mod import;
mod import_rows;
mod lists;
mod migrate;
mod read;
mod roles;
mod schema;
mod snapshot;
mod state;
mod statements;
mod threshold;
mod triggers;
mod write;

pub use roles::roles_sql;
pub use write::SOURCE_KEYS;

use snapshot::{answered, failed};

/// The ports on PostgreSQL 15 or later. Cheap to clone; clones share the pool.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    pool: PgPool,
    transactor: Transactor<Postgres>,
    statements: Arc<Statements>,
    settings: Arc<StoreSettings>,
    guarded: bool,
}

impl PostgresStore {
    /// Connects, and looks whether the lists' table has foreign keys (unless told).
    ///
    /// # Errors
    /// [`StoreError`] when the URL is wrong or the database does not answer.
    pub async fn connect(url: &str, settings: StoreSettings) -> Result<Self, StoreError> {
        let broken = failed("connecting to PostgreSQL");
        let options =
            PgConnectOptions::from_str(url).map_err(broken)?.application_name(&session_name());
        let pool = guarded(PgPoolOptions::new())
            .max_connections(settings.max_connections)
            .acquire_timeout(settings.acquire_timeout)
            .connect_with(options.clone());
        let pool = match pool.await {
            Err(sqlx::Error::PoolTimedOut | sqlx::Error::Io(_)) => {
                return Err(connect::out_of_reach(&options).await);
            }
            other => other.map_err(broken)?,
        };
        let guarded = match settings.guarded {
            Guarded::On => true,
            Guarded::Off => false,
            Guarded::Auto => schema::has_foreign_keys(&pool, &settings.catalogue).await?,
        };
        Ok(Self {
            transactor: Transactor::new(pool.clone()).named(&session_name()),
            statements: Arc::new(statements::statements(&settings.catalogue)),
            settings: Arc::new(settings),
            pool,
            guarded,
        })
    }

    /// The pool, for the queue in the same database.
    #[must_use]
    pub fn pool_handle(&self) -> &PgPool {
        &self.pool
    }

    /// How long a single read may take, the wait for a connection included.
    fn patience(&self) -> Duration {
        self.settings.acquire_timeout + self.settings.transaction.statement_timeout
    }

    /// Host, port and database; no user, no password.
    #[must_use]
    pub fn address(&self) -> String {
        connect::address(&self.pool.connect_options())
    }

    /// Whether writes take the graph lock.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        self.guarded
    }

    /// Closes every connection; waits for those in use.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    fn lock_timeout(&self) -> Duration {
        self.settings.transaction.lock_timeout
    }

    fn accepted(&self, id: &BeanId) -> Result<(), StoreError> {
        self.accepts(id).map_err(|message| StoreError::ImpossibleId { id: id.to_string(), message })
    }

    /// Ids as they are bound.
    fn id_texts(&self, ids: &[BeanId]) -> Result<Vec<String>, StoreError> {
        ids.iter().map(|id| self.accepted(id).map(|()| id.as_str().to_owned())).collect()
    }
}

/// What the server's views and logs call a session of this process.
fn session_name() -> String {
    format!("cupping-{}", std::process::id())
}

#[async_trait]
impl Catalogue for PostgresStore {
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
        let id_type = match self.settings.catalogue.id_type {
            IdType::Auto => IdType::Uuid,
            known => known,
        };
        rows::accepts(id_type, id)
    }
}

#[async_trait]
impl SimilarityStore for PostgresStore {
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
        let ping = sqlx::query("SELECT 1").execute(&self.pool);
        answered(self.patience(), "asking PostgreSQL for a sign of life", ping).await.map(drop)
    }

    fn pool(&self) -> (u32, u32) {
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        (self.pool.size().saturating_sub(idle), idle)
    }
}
