//! A PostgreSQL database of the example's own, made on a server and dropped at the end.
//!
//! Decides: how the server's own counter of deadlocks is read. Never does: touch another database.

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};
use std::str::FromStr;

/// Anything that stops an example.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A database of the example's own.
pub struct Arena {
    server: PgConnectOptions,
    name: String,
}

impl Arena {
    /// Makes it, and runs `schema` in it.
    pub async fn create(url: &str, example: &str, schema: &'static str) -> Result<Self, Failure> {
        let server = PgConnectOptions::from_str(url)?;
        let name = format!("{example}_{}", std::process::id());
        let mut admin = PgConnection::connect_with(&server).await.map_err(|error| {
            let (host, port) = (server.get_host(), server.get_port());
            format!("PostgreSQL at {host}:{port} is out of reach: {error}; give one by --postgres")
        })?;
        admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
        admin.close().await?;
        let arena = Self { server, name };
        let mut owner = PgConnection::connect_with(&arena.options()).await?;
        owner.execute(schema).await?;
        owner.close().await?;
        Ok(arena)
    }

    /// How to connect to it. Deadlocks are found after 50 ms, so that an example takes seconds.
    pub fn options(&self) -> PgConnectOptions {
        self.server.clone().database(&self.name).options([("deadlock_timeout", "50ms")])
    }

    /// How another process connects to it.
    #[allow(dead_code, reason = "not every example has other processes")]
    pub fn options_of(url: &str, name: &str) -> Result<PgConnectOptions, Failure> {
        let (server, name) = (PgConnectOptions::from_str(url)?, name.to_owned());
        Ok(Self { server, name }.options())
    }

    /// A pool on it.
    pub async fn pool(&self, connections: u32) -> Result<PgPool, Failure> {
        let options = PgPoolOptions::new().max_connections(connections);
        Ok(options.connect_with(self.options()).await?)
    }

    /// Deadlocks in it so far, by the server's own counter. Sessions report what they counted at
    /// their end at the latest, so the pools must be closed.
    pub async fn deadlocks(&self) -> Result<i64, Failure> {
        let mut admin = PgConnection::connect_with(&self.server).await?;
        let gone = "SELECT count(*) = 0 FROM pg_stat_activity
                    WHERE datname = $1 AND backend_type = 'client backend'";
        while !sqlx::query_scalar(gone).bind(&self.name).fetch_one(&mut admin).await? {
            tokio::task::yield_now().await;
        }
        let count = "SELECT deadlocks FROM pg_stat_database WHERE datname = $1";
        let deadlocks = sqlx::query_scalar(count).bind(&self.name).fetch_one(&mut admin).await?;
        admin.close().await?;
        Ok(deadlocks)
    }

    /// Drops it.
    pub async fn remove(self) -> Result<(), Failure> {
        let mut admin = PgConnection::connect_with(&self.server).await?;
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        admin.execute(AssertSqlSafe(sql)).await?;
        admin.close().await?;
        Ok(())
    }
}
