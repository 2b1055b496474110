//! What an example printed, read back.
//!
//! Decides: where the binary is. Never does: judge what it printed.

#![allow(dead_code, reason = "each example uses its own part")]

use std::path::PathBuf;
use std::process::Command;

/// The forms of one example, as its `--json` prints them.
pub struct Outcome(serde_json::Value);

impl Outcome {
    /// Runs an example with these arguments and `--json`; it must succeed.
    pub fn of(example: &str, arguments: &[&str]) -> Self {
        let output = Command::new(binary(example)).args(arguments).arg("--json").output();
        let output = output.expect("the example starts");
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        assert!(output.status.success(), "{example} failed: {}\n{out}\n{err}", output.status);
        Self(serde_json::from_str(&out).unwrap_or_else(|e| panic!("not JSON: {e}\n{out}\n{err}")))
    }

    /// One form of it.
    pub fn form(&self, name: &str) -> &serde_json::Value {
        let forms = self.0["forms"].as_array().expect("an array of forms");
        let found = forms.iter().find(|form| form["form"] == name);
        found.unwrap_or_else(|| panic!("no form {name:?} in {:#}", self.0))
    }

    /// A number of one form.
    pub fn number(&self, form: &str, name: &str) -> f64 {
        let value = &self.form(form)[name];
        value.as_f64().unwrap_or_else(|| panic!("{form}.{name} is no number: {value}"))
    }

    /// A note of one form.
    pub fn note(&self, form: &str, name: &str) -> &str {
        let value = &self.form(form)["notes"][name];
        value.as_str().unwrap_or_else(|| panic!("{form} has no note {name:?}: {value}"))
    }
}

/// `target/…/examples/NAME`, beside the folder of this test's own binary.
pub fn binary(example: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its binary");
    let folder = own.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps");
    let path = folder.join("examples").join(example);
    assert!(path.exists(), "{} is missing: cargo build --examples --all-features", path.display());
    path
}

/// The value of a variable that `./scripts/test` sets.
pub fn server(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is unset: run ./scripts/test, it starts the servers")
    })
}
