//! The command line: verbs, global flags, and what becomes of an error.
//!
//! Decides: the names of verbs and flags, and which exit code ends the process.
//! Never does: the work (each verb has its file; the parts are wired in [`crate::app`]).

use crate::config::Sources;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

mod check;
mod completions;
mod config;
mod deadlocks;
mod demo;
mod explanation;
mod export;
mod failure;
mod import;
mod man;
mod migrate;
mod output;
mod progress;
mod publish;
mod readiness;
mod recompute;
mod run;
mod session;
mod showcase;
mod similar;

pub use failure::ExitStatus;

/// Keeps "similar beans" right in a coffee catalogue.
#[derive(Debug, Parser)]
#[command(
    name = "cupping",
    version,
    about,
    max_term_width = 100,
    after_help = "Start with `cupping demo`: it needs no server and no configuration.\n\
        Exit codes: 0 done, 1 failure, 2 usage, 69 a service is unavailable, 78 configuration."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// Flags that every verb takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Settings file (TOML); without it, `cupping.toml` in the working directory if there is one.
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Overrides one setting, such as `--set pipeline.batch=32`; may be repeated.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Directory of the embedded database.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// How log lines look; they go to stderr.
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormatArg>,
    /// More logs: -v for debug of ours, -vv for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
    /// Fewer logs and no progress: -q for warnings, -qq for errors alone.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) quiet: u8,
    /// How results are printed on stdout.
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
}

/// `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormatArg {
    /// Pretty on a terminal, else JSON.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// `--output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// JSON: one object, or one a line where there are many.
    Json,
    /// Comma-separated values (`export` only, its default).
    Csv,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Show everything at work on a sample catalogue; needs no server, no configuration.
    Demo(demo::DemoArgs),
    /// Consume messages and keep the lists right, until told to stop.
    Run(run::RunArgs),
    /// Publish messages for beans; every one is confirmed.
    Publish(publish::PublishArgs),
    /// Compute lists again, through the same write path; can be interrupted and resumed.
    Recompute(recompute::RecomputeArgs),
    /// Read beans into the catalogue from JSON lines or CSV.
    Import(import::ImportArgs),
    /// Write every stored list to stdout.
    Export(export::ExportArgs),
    /// Show the beans similar to one bean, and why.
    Similar(similar::SimilarArgs),
    /// Create or update the database's tables.
    Migrate(migrate::MigrateArgs),
    /// Test configuration, connections, rights, mapping and queues; changes nothing.
    Check(check::CheckArgs),
    /// Show the settings in force, or write a commented file with the defaults.
    Config(config::ConfigArgs),
    /// Explain deadlocks from logs and status dumps; needs no configuration.
    Deadlocks(deadlocks::DeadlocksArgs),
    /// Print a completion script for a shell.
    Completions(completions::CompletionsArgs),
    /// Print the manual page.
    Man(man::ManArgs),
}

impl Verb {
    fn run(self, global: &Global) -> anyhow::Result<ExitStatus> {
        match self {
            Self::Demo(args) => demo::run(global, &args),
            Self::Run(args) => run::run(global, &args),
            Self::Publish(args) => publish::run(global, args),
            Self::Recompute(args) => recompute::run(global, args),
            Self::Import(args) => import::run(global, args),
            Self::Export(args) => export::run(global, &args),
            Self::Similar(args) => similar::run(global, args),
            Self::Migrate(args) => migrate::run(global, &args),
            Self::Check(args) => check::run(global, &args),
            Self::Config(args) => config::run(global, args),
            Self::Deadlocks(args) => deadlocks::run(global, &args),
            Self::Completions(args) => completions::run(&args),
            Self::Man(args) => man::run(&args),
        }
    }
}

/// The whole command line as clap describes it, for completions and manual pages.
fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let mut cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    cli.global.set = every_set(Sources::arguments());
    if cli.global.output == Some(Output::Csv) && !matches!(cli.verb, Verb::Export(_)) {
        let kind = clap::error::ErrorKind::ValueValidation;
        return usage(&command().error(kind, "only `export` writes CSV; use table or json"));
    }
    match cli.verb.run(&cli.global) {
        Ok(status) => status.into(),
        Err(error) => failure::report(&error).into(),
    }
}

/// The value of every `--set`, before and after the verb: where a flag stands on both sides, clap
/// keeps the later side only.
fn every_set(arguments: impl Iterator<Item = OsString>) -> Vec<String> {
    let mut sets = Vec::new();
    let mut arguments =
        arguments.map(|text| text.to_string_lossy().into_owned()).take_while(|text| text != "--");
    while let Some(argument) = arguments.next() {
        if argument == "--set" {
            sets.extend(arguments.next());
        } else if let Some(value) = argument.strip_prefix("--set=") {
            sets.push(value.to_owned());
        }
    }
    sets
}

/// Prints help, a version or a usage error; a closed stdout is no failure.
fn usage(error: &clap::Error) -> ExitCode {
    let status = if error.use_stderr() { ExitStatus::Usage } else { ExitStatus::Success };
    match error.print() {
        Ok(()) => status.into(),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => status.into(),
        Err(_) => ExitStatus::Failure.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn a_setting_before_the_verb_stands_beside_one_after_it() {
        let words = ["--set", "a=1", "run", "--limit", "3", "--set=b=2", "--", "--set", "c=3"];
        assert_eq!(every_set(words.into_iter().map(OsString::from)), ["a=1", "b=2"]);
    }

    #[test]
    fn every_verb_and_flag_is_explained() {
        for verb in command().get_subcommands() {
            assert!(verb.get_about().is_some(), "{} has no help text", verb.get_name());
            for arg in verb.get_arguments() {
                let name = arg.get_id();
                assert!(arg.get_help().is_some(), "{} {name} has no help text", verb.get_name());
            }
        }
    }
}
