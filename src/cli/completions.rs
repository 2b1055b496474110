//! `cupping completions SHELL`: the completion script of a shell, on stdout.
//!
//! Decides nothing. Never does: install it.

use super::{ExitStatus, command, output};
use clap::Args;
use clap_complete::Shell;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell to complete in.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<ExitStatus> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "cupping", &mut script);
    output::bytes(&script)?;
    Ok(ExitStatus::Success)
}
