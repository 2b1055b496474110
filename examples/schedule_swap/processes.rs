//! The processes: this program, started three times as a server.
//!
//! Decides: how they end (their input does). Never does: end a process that it did not start.

use crate::arena::Failure;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How many there are.
pub const COUNT: usize = 3;

/// How long one may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Servers of one form.
pub struct Processes(Vec<(Child, u16)>);

impl Processes {
    /// Starts them; each says on which port it listens.
    pub async fn start(form: &str, database: &str, urls: [&str; 2]) -> Result<Self, Failure> {
        let mut processes = Vec::with_capacity(COUNT);
        for _ in 0..COUNT {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["serve", form, database]);
            // Not as arguments: everybody on this machine can read those.
            command.env("CUPPING_TEST_POSTGRES", urls[0]).env("CUPPING_TEST_REDIS", urls[1]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
            let mut child = command.spawn()?;
            let output = child.stdout.take().ok_or("a process without output")?;
            let mut port = String::new();
            BufReader::new(output).read_line(&mut port).await?;
            let port = port.trim().parse();
            processes.push((child, port.map_err(|_| "a process ended before it listened")?));
        }
        Ok(Self(processes))
    }

    /// The port of one of them; numbers go round.
    pub fn port(&self, number: usize) -> u16 {
        self.0[number % COUNT].1
    }

    /// Every port.
    pub fn ports(&self) -> [u16; COUNT] {
        std::array::from_fn(|number| self.port(number))
    }

    /// Ends them, and waits until they have ended.
    pub async fn end(self) -> Result<(), Failure> {
        for (mut child, port) in self.0 {
            drop(child.stdin.take());
            let status = tokio::time::timeout(PATIENCE, child.wait()).await;
            let status =
                status.map_err(|_| format!("the process on port {port} does not end"))??;
            if !status.success() {
                return Err(format!("the process on port {port} failed: {status}").into());
            }
        }
        Ok(())
    }
}
