//! `cupping deadlocks explain`: what logs and status dumps tell of deadlocks, and what to do.
//!
//! Decides: where texts come from and which format is printed. Never does: read a configuration,
//! or connect without being told where to.

use super::failure::Told;
use super::{ExitStatus, Global, Output, output};
use crate::app::runtime;
use crate::txn::forensics::{Explanation, Reader, Reading, explain, names};
use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Bytes of one line that are handed on; the reader itself takes less.
const LINE_BYTES: u64 = 4 * 1024 * 1024;

/// Arguments of `deadlocks`.
#[derive(Debug, Args)]
pub(crate) struct DeadlocksArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read logs and status dumps; print each distinct deadlock, its graph, and what to do.
    #[command(after_help = "Reads, in any mixture: server logs of PostgreSQL (stderr, csvlog, \
        jsonlog, in any language)\nand of MySQL and MariaDB (innodb_print_all_deadlocks), the \
        output of SHOW ENGINE INNODB STATUS,\nlogs of applications that quote an error, and \
        pasted fragments.\n\nExamples:\n  \
        cupping deadlocks explain postgresql.log\n  \
        mariadb -e 'SHOW ENGINE INNODB STATUS' | cupping deadlocks explain -\n  \
        cupping deadlocks explain *.log --format dot | dot -Tsvg > deadlocks.svg")]
    Explain(ExplainArgs),
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// The files; `-` for stdin.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// How to print; without it text, or JSON with --output json.
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// A PostgreSQL database to ask for the names of relations, which reports give as OIDs.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
    /// A flowchart for Mermaid.
    Mermaid,
    /// A graph for Graphviz.
    Dot,
}

/// Explains.
pub(crate) fn run(global: &Global, args: &DeadlocksArgs) -> anyhow::Result<ExitStatus> {
    let Action::Explain(args) = &args.action;
    let mut all = Reading::default();
    for file in &args.files {
        let mut reading = read(file)?;
        if args.files.len() > 1 {
            let name = file.display().to_string();
            reading.unread.iter_mut().for_each(|unread| unread.input = Some(name.clone()));
        }
        all.reports.append(&mut reading.reports);
        all.unread.append(&mut reading.unread);
    }
    let mut explanation = explain(all);
    if let Some(url) = &args.database {
        name(url, &mut explanation)?;
    }
    let default = if global.output == Some(Output::Json) { Format::Json } else { Format::Text };
    match args.format.unwrap_or(default) {
        Format::Text => output::line(explanation.text())?,
        Format::Json => output::json(&explanation)?,
        Format::Mermaid => output::line(explanation.mermaid())?,
        Format::Dot => output::line(explanation.dot())?,
    }
    Ok(ExitStatus::Success)
}

/// Reads one input to its end.
fn read(file: &Path) -> anyhow::Result<Reading> {
    let failed = || format!("cannot read {}", file.display());
    if file.as_os_str() == "-" {
        return lines(BufReader::new(io::stdin().lock())).context("cannot read stdin");
    }
    let open = File::open(file).map_err(|error| {
        let what = format!("cannot read {}: {error}", file.display());
        Told::new(ExitStatus::Failure, what, "give the path of a readable log, or - for stdin")
    })?;
    lines(BufReader::new(open)).with_context(failed)
}

fn lines(mut input: impl BufRead) -> io::Result<Reading> {
    let mut reader = Reader::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            return Ok(reader.finish());
        }
        let cut = !line.ends_with(b"\n");
        reader.line(&line);
        if cut {
            skip_line(&mut input)?;
        }
    }
}

/// Leaves out the rest of a line that is too long.
fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |at| at + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

/// Asks a database for the names of relations.
fn name(url: &str, explanation: &mut Explanation) -> anyhow::Result<()> {
    let named = runtime::block_on(names::name_relations_at(url, explanation))?;
    named.map(drop).map_err(|error| {
        let advice = "correct --database, or leave it out: relations then stay numbers";
        let status = match error {
            names::NamesError::Connect(_) => ExitStatus::Unavailable,
            _ => ExitStatus::Failure,
        };
        Told::new(status, error.to_string(), advice).into()
    })
}
