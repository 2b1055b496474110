//! What an example promises, checked at its end.
//!
//! Decides: that every broken promise is told, not only the first. Never does: measure.

use std::process::ExitCode;

/// The promises that were broken.
#[derive(Default)]
pub struct Promises(Vec<String>);

impl Promises {
    /// Notes a promise that is not kept.
    pub fn hold(&mut self, kept: bool, promise: impl Into<String>) {
        if !kept {
            self.0.push(promise.into());
        }
    }

    /// Says which were broken; success if none was.
    pub fn verdict(self) -> ExitCode {
        for promise in &self.0 {
            eprintln!("this did not hold: {promise}");
        }
        if self.0.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
