//! A world for one acceptance test: a database of its own, queues of its own, and real worker
//! processes of the built command.
//!
//! Decides: names, ports, clean-up. Never does: assert on behaviour.

use super::databases::PostgresDatabase;
use super::{amqp_url, eventually, postgres_url};
use sqlx::{AssertSqlSafe, PgPool};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Longest wait for something that a test is sure of: generous, since machines are slow at times.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until a condition holds; panics with `what` when it never does.
pub(crate) async fn soon(what: &str, condition: impl AsyncFnMut() -> bool) {
    eventually(what, PATIENCE, condition).await;
}

/// Everything one test needs; dropped, directory and database go.
pub(crate) struct World {
    /// Superuser pool on the test's own database.
    pub(crate) admin: PgPool,
    /// Superuser URL of that database.
    pub(crate) database_url: String,
    /// Broker URL, in the broker mode.
    pub(crate) amqp: Option<String>,
    /// The work queue's name; the others derive from it.
    pub(crate) queue: String,
    dir: tempfile::TempDir,
    config: PathBuf,
    _database: PostgresDatabase,
}

impl World {
    /// One database: the queue is a table. Migrated, empty.
    pub(crate) async fn one_database() -> Self {
        Self::on(&postgres_url(), None, "").await
    }

    /// RabbitMQ and PostgreSQL. Migrated, empty.
    pub(crate) async fn broker() -> Self {
        Self::on(&postgres_url(), Some(amqp_url()), "").await
    }

    /// As [`World::broker`], with more configuration.
    pub(crate) async fn broker_with(extra: &str) -> Self {
        Self::on(&postgres_url(), Some(amqp_url()), extra).await
    }

    /// On given servers; migrated, empty.
    pub(crate) async fn on(postgres: &str, amqp: Option<String>, extra: &str) -> Self {
        let world = Self::bare(postgres, amqp, extra).await;
        world.succeed(&["migrate"]);
        world
    }

    /// On given servers, with nothing in the database.
    pub(crate) async fn bare(postgres: &str, amqp: Option<String>, extra: &str) -> Self {
        let database = PostgresDatabase::create_on(postgres).await;
        let (admin, url) = (database.pool(4).await, database.url());
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = dir.path().join("cupping.toml");
        let queue = format!("test.{}", uuid::Uuid::new_v4().simple());
        let exchange = format!("{queue}.exchange");
        let mut text = format!("[database]\nurl = \"{url}\"\nmax_connections = 8\n");
        if let Some(amqp) = &amqp {
            text += &format!(
                "[transport]\nurl = \"{amqp}\"\n[transport.amqp]\nqueue = \"{queue}\"\n\
                 exchange = \"{exchange}\"\n"
            );
        }
        text += extra;
        std::fs::write(&config, text).expect("the configuration is written");
        Self { admin, database_url: url, amqp, queue, dir, config, _database: database }
    }

    /// The command, with this world's configuration and nothing of the environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cupping"));
        command.env_clear().current_dir(self.dir.path()).arg("-c").arg(&self.config).args(args);
        command
    }

    /// Runs a verb to its end; panics with its output unless it succeeds. Returns its stdout.
    pub(crate) fn succeed(&self, args: &[&str]) -> String {
        let output = self.command(args).output().expect("the command starts");
        assert!(
            output.status.success(),
            "cupping {args:?}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("the command prints UTF-8")
    }

    /// Runs a verb with text on its standard input.
    pub(crate) fn succeed_with_input(&self, args: &[&str], input: &str) -> String {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let mut stdin = child.stdin.take().expect("stdin was piped");
        stdin.write_all(input.as_bytes()).expect("the command reads its input");
        drop(stdin);
        let output = child.wait_with_output().expect("the command ends");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cupping {args:?}: {}\n{stderr}", output.status);
        String::from_utf8(output.stdout).expect("the command prints UTF-8")
    }

    /// Runs a verb that must fail; answers its exit code and what it said.
    pub(crate) fn fail(&self, args: &[&str], input: &str) -> (i32, String) {
        let file = self.path("input");
        std::fs::write(&file, input).expect("the input is written");
        let input = std::fs::File::open(&file).expect("the input is readable");
        let output = self.command(args).stdin(input).output().expect("the command starts");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).expect("the command prints UTF-8");
        assert!(!output.status.success(), "cupping {args:?} succeeded:\n{said}");
        (output.status.code().expect("it ended by itself"), said)
    }

    /// Makes a login with attributes, such as `IN ROLE cupping_worker`; answers the setting of
    /// this database's URL for it.
    pub(crate) async fn login(&self, attributes: &str) -> String {
        let login = super::unique("login");
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE ROLE {login} LOGIN {attributes}")))
            .execute(&self.admin)
            .await
            .expect("a superuser may create a role");
        let mut url = url::Url::parse(&self.database_url).expect("a URL");
        url.set_username(&login).expect("a user can be set");
        format!("database.url={url}")
    }

    /// A path in the world's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts `cupping run` in a process of its own, with settings besides the file's.
    pub(crate) fn worker(&self, settings: &[&str]) -> Worker {
        self.worker_with(settings, &[])
    }

    /// Starts `cupping run` with settings and flags.
    pub(crate) fn worker_with(&self, settings: &[&str], flags: &[&str]) -> Worker {
        let port = free_port();
        let log = self.path(&format!("worker-{port}.log"));
        let file = std::fs::File::create(&log).expect("the log file is made");
        let mut command = self.command(&["--log-format", "json", "run"]);
        command.args(flags).arg("--set").arg(format!("admin.listen=\"127.0.0.1:{port}\""));
        for setting in settings {
            command.arg("--set").arg(setting);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the worker starts");
        Worker { child, port, log }
    }

    /// Deadlocks that the server counted in this database.
    pub(crate) async fn deadlocks(&self) -> i64 {
        sqlx::query_scalar(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
        )
        .fetch_one(&self.admin)
        .await
        .expect("statistics are readable")
    }
}

/// A worker process; killed when dropped.
pub(crate) struct Worker {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Worker {
    /// Waits until `/readyz` answers 200.
    pub(crate) async fn ready(&self) {
        soon("the worker is ready", async || self.get("/readyz").is_some_and(|r| r.0 == 200)).await;
    }

    /// Status and body of an admin path; `None` while the server does not answer.
    pub(crate) fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split_whitespace().nth(1)?.parse().ok()?;
        Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
    }

    /// The value of a metric, its labels matched as written; 0 when it is absent.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        self.metrics().get(series).copied().unwrap_or(0.0)
    }

    /// Every series of `/metrics`; empty while the server does not answer.
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        let Some((_, body)) = self.get("/metrics") else { return BTreeMap::new() };
        body.lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect()
    }

    /// Messages it settled as acked.
    pub(crate) fn acked(&self) -> u64 {
        self.metric("cupping_messages_settled_total{outcome=\"acked\"}") as u64
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("our own child is reaped");
    }

    /// Sends it a signal, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let (flag, pid) = (format!("-{name}"), self.child.id().to_string());
        let sent = Command::new("kill").args([&flag, &pid]).status().expect("kill runs");
        assert!(sent.success(), "the worker had ended already:\n{}", self.log());
    }

    /// Asks it to drain (SIGTERM) and waits for its end.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        self.signal("TERM");
        self.child.wait().expect("our own child is reaped")
    }

    /// Waits for it to end by itself.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("our own child is reaped");
        (status, self.log())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.len().saturating_sub(6000);
            eprintln!("--- log of the worker on port {} (its end):\n{}", self.port, &log[tail..]);
        }
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
