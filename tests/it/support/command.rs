//! The built command, run in a directory of its own.

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use serde_json::Value;
use std::path::PathBuf;
use tempfile::TempDir;

/// The command, with a working and data directory that nobody else has.
pub struct Cupping {
    directory: TempDir,
}

impl Cupping {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    /// A path in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file into its directory.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).expect("a writable directory");
        path.to_str().expect("a plain path").to_owned()
    }

    /// The command, ready for arguments; nothing of this process's own settings reaches it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cupping"));
        command.current_dir(self.directory.path());
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("CUPPING")) {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs it.
    pub fn run(&self, arguments: &[&str]) -> Assert {
        self.command().args(arguments).assert()
    }
}

/// What a run printed.
pub fn stdout(run: &Assert) -> String {
    String::from_utf8(run.get_output().stdout.clone()).expect("text")
}

/// What a run said on stderr.
pub fn stderr(run: &Assert) -> String {
    String::from_utf8(run.get_output().stderr.clone()).expect("text")
}

/// What a run printed, as JSON.
pub fn json(run: &Assert) -> Value {
    serde_json::from_str(&stdout(run)).expect("JSON on stdout")
}
