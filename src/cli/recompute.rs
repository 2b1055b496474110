//! `cupping recompute`: lists computed again, here and now.
//!
//! Decides: all or some, and what is said about it. Never does: score or write (see
//! [`crate::app::recompute`]).

use super::session::Session;
use super::{ExitStatus, Global, Output, output, progress, publish};
use crate::app::recompute::RecomputeSummary;
use crate::app::{Database, recompute, signals};
use clap::Args;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Arguments of `recompute`.
#[derive(Debug, Args)]
#[command(
    after_help = "An interrupted `recompute --all` is resumed by the same command. It can run\n\
    beside workers: both use the same write protocol."
)]
pub(crate) struct RecomputeArgs {
    /// Ids of beans; `-` reads ids from stdin, one a line.
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// Every bean of the catalogue.
    #[arg(long)]
    all: bool,
    /// Begin anew instead of resuming an interrupted pass.
    #[arg(long, requires = "all")]
    restart: bool,
}

/// Recomputes.
pub(crate) fn run(global: &Global, args: RecomputeArgs) -> anyhow::Result<ExitStatus> {
    let session = Session::open(global)?;
    session.block_on(work(&session, args))
}

async fn work(session: &Session, args: RecomputeArgs) -> anyhow::Result<ExitStatus> {
    let ids = publish::ids(&args.ids)?;
    let database = Database::open(&session.config).await?;
    database.open_state(&session.config).await?;
    let pass = recompute::of(&session.config, &database);
    let stop = CancellationToken::new();
    let signals = signals::listen(stop.clone(), || {})?;
    let began = Instant::now();
    let total = if args.all { database.store().count().await? } else { ids.len() as u64 };
    let bar = progress::bar(total, "recomputing", session.quiet);
    let heard = |done| bar.set_position(done);
    let result = if args.all {
        pass.all(args.restart, &stop, heard).await
    } else {
        pass.some(&ids, &stop, heard).await
    };
    bar.finish_and_clear();
    signals.abort();
    let summary = result?;
    said(session, &summary, began.elapsed(), args.all)?;
    Ok(if summary.interrupted { ExitStatus::Failure } else { ExitStatus::Success })
}

fn said(
    session: &Session,
    summary: &RecomputeSummary,
    took: Duration,
    all: bool,
) -> anyhow::Result<()> {
    if session.output == Some(Output::Json) {
        return Ok(output::json(summary)?);
    }
    let done = summary.written + summary.unchanged;
    let removed = match summary.removed {
        0 => String::new(),
        removed => format!("; {} of beans that are gone removed", output::count(removed, "list")),
    };
    output::line(format!(
        "{} computed in {:.1} s: {} written, {} unchanged{removed}",
        output::count(done, "list"),
        took.as_secs_f64(),
        summary.written,
        summary.unchanged,
    ))?;
    if summary.resumed_at > 0 {
        let before = summary.resumed_at;
        output::line(format!("({before} were done before the interruption)"))?;
    }
    if summary.interrupted && all {
        output::line("interrupted; the same command goes on from here")?;
    }
    Ok(())
}
