//! The command `cupping`: hands the arguments to [`cupping::cli`] and ends with its exit code.
//!
//! Decides nothing. Never does: anything else.

use std::process::ExitCode;

fn main() -> ExitCode {
    cupping::cli::main()
}
