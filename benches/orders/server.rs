//! The database of the bench, and what its server counts.

use super::{Failure, WORKERS};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};
use std::str::FromStr;
use std::time::Duration;

/// A database of its own on a server.
pub(crate) struct Server {
    options: PgConnectOptions,
    name: String,
}

impl Server {
    /// Makes the database.
    pub(crate) async fn create(url: &str) -> Result<Self, Failure> {
        let options = PgConnectOptions::from_str(url)?;
        let name = format!("orders_{}", std::process::id());
        let mut admin = PgConnection::connect_with(&options).await?;
        admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
        Ok(Self { options, name })
    }

    /// Drops it.
    pub(crate) async fn drop(self) -> Result<(), Failure> {
        let mut admin = PgConnection::connect_with(&self.options).await?;
        admin.execute(AssertSqlSafe(format!("DROP DATABASE {} WITH (FORCE)", self.name))).await?;
        Ok(())
    }

    /// A pool for the workers of one form and somebody beside them.
    pub(crate) async fn pool(&self) -> Result<PgPool, Failure> {
        let connections = u32::try_from(WORKERS + 2)?;
        let options = PgPoolOptions::new().max_connections(connections);
        Ok(options.connect_with(self.options.clone().database(&self.name)).await?)
    }

    /// A setting, as it is for everybody.
    pub(crate) async fn setting(&self, name: &str) -> Result<String, Failure> {
        let mut admin = PgConnection::connect_with(&self.options).await?;
        let setting = sqlx::query_scalar("SELECT current_setting($1)").bind(name);
        Ok(setting.fetch_one(&mut admin).await?)
    }

    /// Deadlocks in the database so far. A session tells its count when it ends at the latest, so
    /// ask after the pool is closed: it is waited for here that no session is left.
    pub(crate) async fn deadlocks(&self) -> Result<i64, Failure> {
        let mut admin = PgConnection::connect_with(&self.options).await?;
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1";
        while sqlx::query_scalar::<_, i64>(sessions).bind(&self.name).fetch_one(&mut admin).await?
            > 0
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let counted = "SELECT deadlocks FROM pg_stat_database WHERE datname = $1";
        Ok(sqlx::query_scalar(counted).bind(&self.name).fetch_one(&mut admin).await?)
    }
}
