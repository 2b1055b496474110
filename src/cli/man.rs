//! `cupping man`: the manual, in the format of `man`.
//!
//! Decides: one page for the command and one for each verb. Never does: install them.

use super::{ExitStatus, command, output};
use anyhow::Context;
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write `cupping.1` and a page for each verb into this directory, instead of stdout.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// Prints or writes the pages.
pub(crate) fn run(args: &ManArgs) -> anyhow::Result<ExitStatus> {
    let command = command();
    let Some(directory) = &args.to else {
        output::bytes(&page(command)?)?;
        return Ok(ExitStatus::Success);
    };
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create the directory {}", directory.display()))?;
    for verb in command.get_subcommands() {
        let name: &'static str = format!("cupping-{}", verb.get_name()).leak();
        write(directory, name, &page(verb.clone().name(name))?)?;
    }
    write(directory, "cupping", &page(command)?)?;
    Ok(ExitStatus::Success)
}

fn page(command: clap::Command) -> anyhow::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).context("cannot render the manual page")?;
    Ok(page)
}

fn write(directory: &Path, name: &str, page: &[u8]) -> anyhow::Result<()> {
    let path = directory.join(format!("{name}.1"));
    fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))
}
