//! Servers of one test's own, for tests that stop them.
//!
//! Decides: nothing; `scripts/servers` does. Never does: touch the shared servers.

use std::path::Path;
use std::process::Command;

/// Private servers; stopped when dropped.
pub(crate) struct Servers {
    dir: tempfile::TempDir,
    /// Superuser URL.
    pub(crate) postgres: String,
    /// Broker URL.
    pub(crate) amqp: String,
}

impl Servers {
    /// Starts the named services in a directory of their own.
    pub(crate) fn start(services: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut servers = Self { dir, postgres: String::new(), amqp: String::new() };
        // From here on they are stopped even when something below panics.
        script(servers.dir.path(), "start", services);
        let environment = script(servers.dir.path(), "env", &[]);
        let variable = |name: &str| {
            let mut exports = environment.lines().filter_map(|line| line.strip_prefix("export "));
            exports
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .unwrap_or_else(|| panic!("scripts/servers env prints {name}"))
                .to_owned()
        };
        servers.postgres = variable("CUPPING_TEST_POSTGRES");
        servers.amqp = variable("CUPPING_TEST_AMQP");
        servers
    }

    /// Stops one service.
    pub(crate) fn stop(&self, service: &str) {
        script(self.dir.path(), "stop", &[service]);
    }

    /// Starts it again, on the same port with the same data.
    pub(crate) fn start_again(&self, service: &str) {
        script(self.dir.path(), "start", &[service]);
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        script(self.dir.path(), "stop", &["postgres", "rabbitmq"]);
    }
}

fn script(dir: &Path, verb: &str, services: &[&str]) -> String {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/servers");
    let output = Command::new(program)
        .arg(verb)
        .arg(dir)
        .args(services)
        .output()
        .expect("scripts/servers can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "scripts/servers {verb} {services:?}: {errors}");
    String::from_utf8(output.stdout).expect("the script prints UTF-8")
}
