//! Fresh databases for tests: a PostgreSQL database of its own for each.
//!
//! Decides: that every test starts from nothing and leaves nothing. Never does: skip a test; a
//! server that is not there is a failure.

use super::{postgres_url, unique};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};
use std::str::FromStr;

/// A PostgreSQL database of one test; dropped with it.
pub struct PostgresDatabase {
    server: String,
    name: String,
}

impl PostgresDatabase {
    /// Creates an empty one on the shared server.
    pub async fn create() -> Self {
        Self::create_on(&postgres_url()).await
    }

    /// Creates an empty one on the server of a superuser's URL.
    pub async fn create_on(server: &str) -> Self {
        let name = unique("t");
        let mut admin = PgConnection::connect(server).await.expect("PostgreSQL answers");
        let sql = format!("CREATE DATABASE {name} TEMPLATE template0");
        admin.execute(AssertSqlSafe(sql)).await.expect("the test role may create databases");
        admin.close().await.expect("the connection closes");
        Self { server: server.to_owned(), name }
    }

    /// How to connect to it.
    pub fn options(&self) -> PgConnectOptions {
        let server = PgConnectOptions::from_str(&self.server).expect("a PostgreSQL URL");
        server.database(&self.name)
    }

    /// Its URL, for what takes one.
    pub fn url(&self) -> String {
        let mut url = url::Url::parse(&self.server).expect("a URL");
        url.set_path(&self.name);
        url.to_string()
    }

    /// A pool on it.
    pub async fn pool(&self, connections: u32) -> PgPool {
        let options = PgPoolOptions::new().max_connections(connections);
        options.connect_with(self.options()).await.expect("the new database answers")
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        // A test's runtime may be gone already, so the farewell has a thread and one of its own.
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let server = self.server.clone();
        let farewell = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                if let Ok(mut admin) = PgConnection::connect(&server).await {
                    admin.execute(AssertSqlSafe(sql)).await.ok();
                }
            });
        });
        farewell.join().ok();
    }
}
