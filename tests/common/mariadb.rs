//! Fresh MariaDB databases for tests: one of its own for each.
//!
//! Decides: that every test starts from nothing and leaves nothing. Never does: skip a test; a
//! server that is not there is a failure.

use super::{mariadb_url, unique};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, MySqlPool};
use std::str::FromStr;

/// A MariaDB database of one test; dropped with it.
pub struct MariaDatabase {
    server: String,
    name: String,
}

impl MariaDatabase {
    /// Creates an empty one on the shared server.
    pub async fn create() -> Self {
        let (server, name) = (mariadb_url(), unique("t"));
        let mut admin = MySqlConnection::connect(&server).await.expect("MariaDB answers");
        let sql = format!("CREATE DATABASE {name}");
        admin.execute(AssertSqlSafe(sql)).await.expect("the test user may create databases");
        admin.close().await.expect("the connection closes");
        Self { server, name }
    }

    /// How to connect to it.
    pub fn options(&self) -> MySqlConnectOptions {
        let server = MySqlConnectOptions::from_str(&self.server).expect("a MariaDB URL");
        server.database(&self.name)
    }

    /// Its URL, for what takes one.
    pub fn url(&self) -> String {
        let mut url = url::Url::parse(&self.server).expect("a URL");
        url.set_path(&self.name);
        url.to_string()
    }

    /// Host and port of the server, for a proxy in front of it.
    pub fn address(&self) -> String {
        let url = url::Url::parse(&self.server).expect("a URL");
        format!("{}:{}", url.host_str().expect("a host"), url.port().unwrap_or(3306))
    }

    /// A pool on it.
    pub async fn pool(&self, connections: u32) -> MySqlPool {
        let options = MySqlPoolOptions::new().max_connections(connections);
        options.connect_with(self.options()).await.expect("the new database answers")
    }
}

impl Drop for MariaDatabase {
    fn drop(&mut self) {
        // A test's runtime may be gone already, so the farewell has a thread and one of its own.
        let (name, server) = (self.name.clone(), self.server.clone());
        let farewell = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(farewell(&server, &name)).ok();
        });
        farewell.join().ok();
    }
}

/// Ends the sessions that a failed test left in the database, which would hold up its end.
async fn farewell(server: &str, name: &str) -> Result<(), sqlx::Error> {
    let mut admin = MySqlConnection::connect(server).await?;
    let sessions: Vec<(i64,)> =
        sqlx::query_as("SELECT id FROM information_schema.processlist WHERE db = ?")
            .bind(name)
            .fetch_all(&mut admin)
            .await?;
    for (session,) in sessions {
        admin.execute(AssertSqlSafe(format!("KILL {session}"))).await.ok();
    }
    admin.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name}"))).await?;
    Ok(())
}
