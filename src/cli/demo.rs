//! `cupping demo`: everything at work on a sample catalogue, with nothing to install.
//!
//! Decides: what is published (what is new, changed or was never computed). Never does: anything
//! that the service does not do: the queue, the actors and the write protocol are the real ones.

use super::session::Session;
use super::{ExitStatus, Global, Output, progress, publish, showcase};
use crate::app::{App, AppError, import, pipeline_parts, signals, wait_until_empty};
use crate::domain::bean::BeanId;
use crate::pipeline::{self, RunLimits, RunSummary};
use crate::store::StateCheck;
use crate::store::import::ImportReport;
use clap::Args;
use std::collections::HashSet;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Settings of the demo that go before all others: embedded, and no port that could be taken.
const EMBEDDED: [&str; 3] = ["database.url=", "transport.url=", "admin.enabled=false"];
/// Set in the database once messages for all imported beans are in the queue.
const NOTE: &str = "demo";

/// Arguments of `demo`.
#[derive(Debug, Args)]
#[command(after_help = "The database is made in --data-dir (default ./cupping-data); delete the \
    directory to begin anew.")]
pub(crate) struct DemoArgs {}

/// What the demo did, for the report.
pub(super) struct Shown {
    /// Beans of the sample, by what became of them.
    pub(super) imported: ImportReport,
    /// Messages published.
    pub(super) published: u64,
    /// Why everything is computed anew, if it is.
    pub(super) reset: Option<String>,
    /// What the actors did; nothing when nothing was waiting.
    pub(super) summary: Option<RunSummary>,
    /// How long they took, from the first message to the last.
    pub(super) took: Duration,
    /// Deadlocks the database reported.
    pub(super) deadlocks: u64,
}

/// Runs the demo.
pub(crate) fn run(global: &Global, _: &DemoArgs) -> anyhow::Result<ExitStatus> {
    let session = Session::with(global, &EMBEDDED)?;
    session.block_on(demo(&session))
}

async fn demo(session: &Session) -> anyhow::Result<ExitStatus> {
    let people = session.output != Some(Output::Json);
    let app = App::assemble(&session.config).await?;
    if people {
        showcase::opening(&session.config)?;
    }
    let stop = CancellationToken::new();
    let signals = signals::listen(stop.clone(), || {})?;
    let state = app.database.open_state(&session.config).await?;
    let reset = if let StateCheck::Reset(why) = state { Some(why) } else { None };

    let announced = app.store.note(NOTE).await?.is_some() && reset.is_none();
    app.store.set_note(NOTE, None).await?;
    let (mut imported, all) = import::sample(&app.database).await?;
    if people {
        showcase::catalogue(&imported.report)?;
    }
    if !announced {
        imported.created.extend(without_list(&app, all).await?);
    }
    let publisher = app.transport.publisher();
    let published =
        publish::changes(publisher.as_ref(), &imported.created, &imported.changed).await?;
    app.store.set_note(NOTE, Some("announced")).await?;
    if people {
        showcase::messages(published, reset.as_deref())?;
    }

    let began = Instant::now();
    let summary = work(session, &app, &stop).await?;
    let took = began.elapsed();
    signals.abort();
    let deadlocks = deadlocks(&session.numbers.render());
    let shown = Shown { imported: imported.report, published, reset, summary, took, deadlocks };
    showcase::report(session, &app, &shown, people).await?;
    app.transport.close(session.config.shutdown.grace).await;
    Ok(if stop.is_cancelled() { ExitStatus::Failure } else { ExitStatus::Success })
}

/// Beans that have no stored list; asked for unless an earlier demo published for all of them.
async fn without_list(app: &App, all: Vec<BeanId>) -> anyhow::Result<Vec<BeanId>> {
    let mut listed = HashSet::new();
    app.store
        .lists(&mut |source, _| {
            listed.insert(source);
        })
        .await?;
    Ok(all.into_iter().filter(|id| !listed.contains(id)).collect())
}

/// Runs the actors until the queue is empty; `None` when it was empty already.
async fn work(
    session: &Session,
    app: &App,
    stop: &CancellationToken,
) -> anyhow::Result<Option<RunSummary>> {
    let depth = app.transport.depth().await.map_err(AppError::from)?;
    let waiting = depth.live + depth.bulk + depth.retrying + depth.claimed.unwrap_or(0);
    if waiting == 0 {
        return Ok(None);
    }
    let bar = progress::bar(waiting, "computing", session.quiet);
    let emptied = stop.child_token();
    let parts = pipeline_parts(&session.config, app, RunLimits::default());
    let watch = async {
        let left = |left| bar.set_position(waiting.saturating_sub(left));
        let result = wait_until_empty(app.transport.as_ref(), &emptied, left).await;
        emptied.cancel();
        result
    };
    let (summary, watched) = tokio::join!(pipeline::run(parts, emptied.clone()), watch);
    bar.finish_and_clear();
    watched.map_err(AppError::from)?;
    Ok(Some(summary.map_err(AppError::from)?))
}

/// Deadlocks of every relation, from the numbers an operator would read.
fn deadlocks(numbers: &str) -> u64 {
    let value = |line: &str| line.rsplit_once(' ')?.1.parse::<f64>().ok();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter")]
    let total = numbers
        .lines()
        .filter(|line| line.starts_with("cupping_deadlocks_total"))
        .filter_map(value)
        .sum::<f64>() as u64;
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlocks_of_every_relation_are_added() {
        let numbers = "# TYPE cupping_deadlocks_total counter\n\
            cupping_deadlocks_total{relation=\"a\"} 2\n\
            cupping_deadlocks_total{relation=\"unknown\"} 1\ncupping_other 7\n";
        assert_eq!(deadlocks(numbers), 3);
        assert_eq!(deadlocks(""), 0);
    }
}
