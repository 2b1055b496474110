//! What the tests of lockdep stand on: a fresh database with a schema, and transactions that run
//! one after the other.
//!
//! Decides: that nothing runs at the same time, so that no deadlock can happen. Never does: say
//! what is to be found.

use crate::support::databases::PostgresDatabase;
use crate::support::{mariadb_url, unique};
use cupping::txn::{Dialect, Lockdep, Transactor, TxnError, TxnOptions, work};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, IntoArguments, MySql, MySqlConnection,
    MySqlPool, Postgres,
};
use std::str::FromStr;

/// A MariaDB database of one test; dropped with it.
pub struct MariaDatabase(String);

impl MariaDatabase {
    /// Creates an empty one.
    pub async fn create() -> Self {
        let name = unique("t");
        let mut admin = MySqlConnection::connect(&mariadb_url()).await.expect("MariaDB answers");
        let sql = format!("CREATE DATABASE {name}");
        admin.execute(AssertSqlSafe(sql)).await.expect("the user may create databases");
        Self(name)
    }

    /// A pool on it.
    pub async fn pool(&self) -> MySqlPool {
        let server = MySqlConnectOptions::from_str(&mariadb_url()).expect("a URL");
        let options = MySqlPoolOptions::new().max_connections(2);
        options.connect_with(server.database(&self.0)).await.expect("the new database answers")
    }
}

impl Drop for MariaDatabase {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE IF EXISTS {}", self.0);
        let farewell = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let options = MySqlConnectOptions::from_str(&mariadb_url()).expect("a URL");
                if let Ok(mut admin) = options.connect().await {
                    admin.execute(AssertSqlSafe(sql)).await.ok();
                }
            });
        });
        farewell.join().ok();
    }
}

/// A watched transactor on a database of its own.
pub struct Rig<DB: Dialect, D> {
    pub transactor: Transactor<DB>,
    pub lockdep: Lockdep,
    _database: D,
}

/// On PostgreSQL, with these tables.
pub async fn postgres(schema: &'static str) -> Rig<Postgres, PostgresDatabase> {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(2).await;
    pool.execute(schema).await.expect("the tables are made");
    let lockdep = Lockdep::new();
    let transactor = Transactor::new(pool).with_lockdep(&lockdep);
    Rig { transactor, lockdep, _database: database }
}

/// On MariaDB, with these tables.
pub async fn mariadb(schema: &'static str) -> Rig<MySql, MariaDatabase> {
    let database = MariaDatabase::create().await;
    let pool = database.pool().await;
    sqlx::raw_sql(schema).execute(&pool).await.expect("the tables are made");
    let lockdep = Lockdep::new();
    let transactor = Transactor::new(pool).with_lockdep(&lockdep);
    Rig { transactor, lockdep, _database: database }
}

/// A transaction: its name and its statements.
pub type Story = (&'static str, &'static [&'static str]);

impl<DB: Dialect, D> Rig<DB, D>
where
    DB::Arguments: IntoArguments<DB>,
{
    /// Runs one to its commit.
    pub async fn run(&self, (name, statements): Story) -> Result<(), TxnError> {
        let body = work!([statements] => |tx: DB| {
            for statement in statements {
                tx.fetch_all(sqlx::query::<DB>(*statement)).await?;
            }
            Ok(())
        });
        let options = TxnOptions { attempts: 1, ..TxnOptions::default() };
        self.transactor.run(name, &options, body).await
    }

    /// Runs all of them one after the other: the last one inverts an order, and no other does.
    pub async fn inverts(&self, stories: &[Story]) -> String {
        let (last, others) = stories.split_last().expect("a story");
        for story in others {
            self.run(*story).await.unwrap_or_else(|error| panic!("{}: {error}", story.0));
        }
        let error = self.run(*last).await.expect_err("the last one inverts the order");
        let TxnError::LockOrderInversion { report, .. } = error else { panic!("{error}") };
        assert_eq!(self.lockdep.inversions().len(), 1, "{report}");
        assert_eq!(self.lockdep.unread(), [], "everything was read");
        report
    }

    /// Runs all of them, twice: none inverts an order.
    pub async fn agrees(&self, stories: &[Story]) {
        for story in stories.iter().chain(stories) {
            self.run(*story).await.unwrap_or_else(|error| panic!("{}: {error}", story.0));
        }
        self.lockdep.assert_clean();
        assert!(self.lockdep.locks() > 0, "something was watched");
        assert_eq!(self.lockdep.unread(), [], "everything was read");
    }
}
