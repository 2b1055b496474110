//! The database that the settings name.
//!
//! Decides: that the embedded database is created and migrated when opened, and PostgreSQL only by
//! `cupping migrate`. Never does: read or write rows itself.

use super::AppError;
use crate::config::{Config, DatabaseTarget};
use crate::store::import::CatalogueWriter;
use crate::store::postgres::{PostgresStore, roles_sql};
use crate::store::settings::StoreSettings;
use crate::store::sqlite::SqliteStore;
use crate::store::{Catalogue, Finding, Severity, StateCheck, Store};
use secrecy::ExposeSecret;
use std::path::Path;
use std::sync::Arc;

/// A database that is open.
#[derive(Clone)]
pub enum Database {
    /// A file.
    Sqlite(Arc<SqliteStore>),
    /// A server.
    Postgres(Arc<PostgresStore>),
}

/// What became of granting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granted {
    /// The roles have their rights.
    Done,
    /// A file has no roles.
    NoRoles,
}

impl Database {
    /// Opens it for work. The embedded file is created and migrated.
    ///
    /// # Errors
    /// [`AppError`] when it cannot be opened.
    pub async fn open(config: &Config) -> Result<Self, AppError> {
        let database = Self::connect(config).await?;
        if let Self::Sqlite(store) = &database {
            store.migrate().await?;
        }
        Ok(database)
    }

    /// Opens it to look at it: `None` where the embedded file does not exist yet.
    ///
    /// # Errors
    /// [`AppError`] when it cannot be opened.
    pub async fn look(config: &Config) -> Result<Option<Self>, AppError> {
        match config.database_target() {
            DatabaseTarget::Sqlite(path) if !path.exists() => Ok(None),
            _ => Ok(Some(Self::connect(config).await?)),
        }
    }

    /// Creates or updates its tables; answers what was applied.
    ///
    /// # Errors
    /// [`AppError`] when it cannot be opened or a right is missing.
    pub async fn migrate(config: &Config) -> Result<Vec<String>, AppError> {
        Ok(match Self::connect(config).await? {
            Self::Sqlite(store) => store.migrate().await?,
            Self::Postgres(store) => store.migrate().await?,
        })
    }

    /// The script of the least-privilege roles, with the names of the configured catalogue.
    #[must_use]
    pub fn roles_sql(config: &Config) -> String {
        roles_sql(&config.catalogue)
    }

    /// Runs that script. There is nothing to grant in a file: the answer says so.
    ///
    /// # Errors
    /// [`AppError`] when it cannot be opened or a right is missing.
    pub async fn grant(config: &Config) -> Result<Granted, AppError> {
        match Self::connect(config).await? {
            Self::Sqlite(_) => Ok(Granted::NoRoles),
            Self::Postgres(store) => Ok(store.grant().await.map(|()| Granted::Done)?),
        }
    }

    async fn connect(config: &Config) -> Result<Self, AppError> {
        let settings = StoreSettings::from_config(config);
        Ok(match config.database_target() {
            DatabaseTarget::Sqlite(path) => {
                create_directory(&path)?;
                Self::Sqlite(Arc::new(SqliteStore::open(&path, settings).await?))
            }
            DatabaseTarget::Postgres(url) => {
                let store = PostgresStore::connect(url.expose_secret(), settings).await?;
                Self::Postgres(Arc::new(store))
            }
        })
    }

    /// Where it is, for people: a file, or host, port and name; no user, no password.
    #[must_use]
    pub fn address(&self, config: &Config) -> String {
        match (self, config.database_target()) {
            (Self::Postgres(store), _) => store.address(),
            (Self::Sqlite(_), DatabaseTarget::Sqlite(path)) => path.display().to_string(),
            (Self::Sqlite(_), DatabaseTarget::Postgres(_)) => "a SQLite file".into(),
        }
    }

    /// Catalogue and lists.
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(store) => Arc::clone(store) as Arc<dyn Store>,
            Self::Postgres(store) => Arc::clone(store) as Arc<dyn Store>,
        }
    }

    /// The catalogue, to write into.
    #[must_use]
    pub fn writer(&self) -> Arc<dyn CatalogueWriter> {
        match self {
            Self::Sqlite(store) => Arc::clone(store) as Arc<dyn CatalogueWriter>,
            Self::Postgres(store) => Arc::clone(store) as Arc<dyn CatalogueWriter>,
        }
    }

    /// Compares our state in it with the settings, and sets it; see
    /// [`SimilarityStore::open_state`](crate::store::SimilarityStore::open_state).
    ///
    /// # Errors
    /// [`AppError`] when it cannot be read or written.
    pub async fn open_state(&self, config: &Config) -> Result<StateCheck, AppError> {
        Ok(self.store().open_state(&config.fingerprint()).await?)
    }

    /// What is wrong with it, and what is right.
    ///
    /// # Errors
    /// [`AppError`] when it cannot be read.
    pub async fn findings(&self) -> Result<Vec<Finding>, AppError> {
        Ok(match self {
            Self::Sqlite(store) => vec![look_into(store.as_ref()).await],
            Self::Postgres(store) => store.check().await?,
        })
    }
}

/// The embedded database is ours alone: it answers and can be read, or it cannot.
async fn look_into(store: &SqliteStore) -> Finding {
    let (severity, message) = match store.count().await {
        Ok(beans) => (Severity::Ok, format!("the SQLite file can be read; {beans} beans")),
        Err(error) => (
            Severity::Problem,
            format!("the SQLite file cannot be read: {error}; run `cupping migrate`"),
        ),
    };
    Finding { subject: "database".into(), severity, message }
}

fn create_directory(file: &Path) -> Result<(), AppError> {
    let Some(directory) = file.parent().filter(|directory| !directory.as_os_str().is_empty())
    else {
        return Ok(());
    };
    std::fs::create_dir_all(directory)
        .map_err(|source| AppError::DataDirectory { path: directory.display().to_string(), source })
}
