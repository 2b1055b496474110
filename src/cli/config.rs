//! `cupping config`: the settings in force, or a commented file with the defaults.
//!
//! Decides: where the file goes. Never does: print a secret.

use super::failure::Told;
use super::{ExitStatus, Global, Output, output, session};
use crate::config::DEFAULT_TOML;
use anyhow::Context;
use clap::{Args, Subcommand};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;

/// Arguments of `config`.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print every setting in force and where it came from; secrets are hidden.
    Show,
    /// Write a commented settings file with the defaults.
    Init {
        /// Where to write it; `-` for stdout.
        #[arg(default_value = "cupping.toml", value_name = "FILE")]
        path: PathBuf,
        /// Overwrite a file that is there.
        #[arg(long)]
        force: bool,
    },
}

/// Shows or writes.
pub(crate) fn run(global: &Global, args: ConfigArgs) -> anyhow::Result<ExitStatus> {
    match args.action {
        Action::Show => show(global)?,
        Action::Init { path, .. } if path.as_os_str() == "-" => {
            output::bytes(DEFAULT_TOML.as_bytes())?;
        }
        Action::Init { path, force } => init(&path, force)?,
    }
    Ok(ExitStatus::Success)
}

fn show(global: &Global) -> anyhow::Result<()> {
    let loaded = session::load(global)?;
    if global.output == Some(Output::Json) {
        output::json(&loaded.config)?;
    } else {
        output::bytes(loaded.show().as_bytes())?;
    }
    Ok(())
}

fn init(path: &std::path::Path, force: bool) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let mut file = options.open(path).map_err(|error| refused(path, error))?;
    file.write_all(DEFAULT_TOML.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))?;
    output::line(format!(
        "{} written; every setting stands in it with its default",
        path.display()
    ))?;
    Ok(())
}

fn refused(path: &std::path::Path, error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::AlreadyExists {
        let what = format!("{} is there already", path.display());
        return Told::new(ExitStatus::Failure, what, "give another path, or --force").into();
    }
    anyhow::Error::new(error).context(format!("cannot write {}", path.display()))
}
