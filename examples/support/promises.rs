//! What an example promises, and whether it held.
//!
//! Decides: the exit code. Never does: measure.

use std::process::ExitCode;

/// The promises of one example that did not hold.
#[derive(Default)]
pub struct Promises(Vec<String>);

impl Promises {
    /// Notes a promise that did not hold.
    pub fn hold(&mut self, held: bool, promise: impl Into<String>) {
        if !held {
            self.0.push(promise.into());
        }
    }

    /// Says which ones did not hold; success if none.
    pub fn verdict(self) -> ExitCode {
        for broken in &self.0 {
            eprintln!("did not hold: {broken}");
        }
        if self.0.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
