//! A MariaDB database of the example's own, made on a server and dropped at the end.
//!
//! Decides: how the server's own counter of deadlocks is read. Never does: touch another database.
//!
//! # Hazards
//! Counter and report of deadlocks are of the whole server: run nothing else on it meanwhile.

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, MySqlPool, Row};
use std::str::FromStr;

/// Anything that stops an example.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A database of the example's own.
pub struct MariaArena {
    server: MySqlConnectOptions,
    name: String,
}

impl MariaArena {
    /// Makes it, and runs `schema` in it.
    pub async fn create(url: &str, example: &str, schema: &'static str) -> Result<Self, Failure> {
        let server = MySqlConnectOptions::from_str(url)?;
        let name = format!("{example}_{}", std::process::id());
        let mut admin = MySqlConnection::connect_with(&server).await.map_err(|error| {
            let (host, port) = (server.get_host(), server.get_port());
            format!("MariaDB at {host}:{port} is out of reach: {error}; give one by --mariadb")
        })?;
        admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
        admin.close().await?;
        let arena = Self { server, name };
        let owner = arena.pool(1).await?;
        owner.execute(schema).await?;
        owner.close().await;
        Ok(arena)
    }

    /// A pool on it.
    pub async fn pool(&self, connections: u32) -> Result<MySqlPool, Failure> {
        let options = MySqlPoolOptions::new().max_connections(connections);
        Ok(options.connect_with(self.server.clone().database(&self.name)).await?)
    }

    /// Deadlocks so far, by the server's own counter.
    pub async fn deadlocks(&self) -> Result<i64, Failure> {
        let mut admin = MySqlConnection::connect_with(&self.server).await?;
        let row = admin.fetch_one("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'").await?;
        admin.close().await?;
        Ok(row.try_get::<String, _>(1)?.parse()?)
    }

    /// What the server tells of InnoDB, its latest deadlock among it. Needs the right PROCESS.
    pub async fn status(&self) -> Result<String, Failure> {
        let mut admin = MySqlConnection::connect_with(&self.server).await?;
        let row = sqlx::raw_sql("SHOW ENGINE INNODB STATUS").fetch_one(&mut admin).await?;
        admin.close().await?;
        Ok(row.try_get(2)?)
    }

    /// Drops it.
    pub async fn remove(self) -> Result<(), Failure> {
        let mut admin = MySqlConnection::connect_with(&self.server).await?;
        admin.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {}", self.name))).await?;
        admin.close().await?;
        Ok(())
    }
}
