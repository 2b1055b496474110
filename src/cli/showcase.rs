//! What the demo shows: a page of text in 80 columns, or one JSON object.
//!
//! Decides: which coffees are shown, and what to try next. Never does: compute anything.

use super::demo::Shown;
use super::explanation::ExplanationJson;
use super::output;
use super::session::Session;
use super::similar::{Entry, Ids, named, text};
use crate::app::{App, load_index};
use crate::config::Config;
use crate::domain::bean::BeanId;
use crate::domain::ranking::{SimilarList, stored_score};
use crate::pipeline::RunSummary;
use crate::store::import::ImportReport;
use serde_json::{Value, json};
use std::collections::HashSet;

/// How many coffees are shown, and how many of the list of each.
const COFFEES: usize = 3;
const ENTRIES: usize = 2;

/// A coffee with the head of its list.
struct Exhibit {
    id: BeanId,
    name: String,
    entries: Vec<Entry>,
}

/// The first line.
pub(super) fn opening(config: &Config) -> anyhow::Result<()> {
    output::line(format!(
        "Cupping demo: a SQLite database and queue in {}, nothing else\n",
        config.data.dir.display()
    ))?;
    Ok(())
}

/// What the import did.
pub(super) fn catalogue(report: &ImportReport) -> anyhow::Result<()> {
    let all = report.created + report.updated + report.unchanged;
    output::line(format!(
        "  catalogue  {all} sample coffees: {} new, {} changed, {} unchanged",
        report.created, report.updated, report.unchanged
    ))?;
    Ok(())
}

/// What was published.
pub(super) fn messages(published: u64, reset: Option<&str>) -> anyhow::Result<()> {
    if let Some(why) = reset {
        output::line(format!("  reset      every list is computed anew: {why}"))?;
    }
    if published > 0 {
        let count = output::count(published, "message");
        output::line(format!("  messages   {count} published to the queue, all confirmed"))?;
    }
    Ok(())
}

/// Everything else: numbers, lists, what to try next.
pub(super) async fn report(
    session: &Session,
    app: &App,
    shown: &Shown,
    people: bool,
) -> anyhow::Result<()> {
    let exhibits = exhibits(&session.config, app).await?;
    if !people {
        return Ok(output::json(&as_json(session, shown, &exhibits))?);
    }
    match &shown.summary {
        Some(summary) => work(shown, summary)?,
        None => output::line(
            "  lists      nothing to do: no coffee has changed since its list was computed,\n\
            \u{20}            so no message was published and no list recomputed",
        )?,
    }
    for exhibit in &exhibits {
        output::line(format!("\nSimilar to {}", exhibit.name))?;
        for line in text(&exhibit.entries, Ids::Left) {
            output::line(line)?;
        }
    }
    next(session, &exhibits)
}

fn work(shown: &Shown, summary: &RunSummary) -> anyhow::Result<()> {
    let seconds = shown.took.as_secs_f64();
    output::line(format!(
        "  lists      {} computed in {seconds:.2} s by the actors: {:.0} beans/s",
        summary.processed,
        rate(summary.processed, seconds),
    ))?;
    output::line(format!(
        "  counts     {} processed, {} coalesced, {} retried, {} failed, {}",
        summary.processed,
        summary.coalesced,
        summary.retried,
        summary.failed,
        output::count(shown.deadlocks, "deadlock"),
    ))?;
    output::line(format!(
        "  latency    p50 {}, p99 {} from arrival to commit",
        milliseconds(summary.latency_p50),
        milliseconds(summary.latency_p99),
    ))?;
    if summary.failed > 0 {
        output::line("  failed messages wait in the failed queue; run again with -v to see why")?;
    }
    Ok(())
}

fn next(session: &Session, exhibits: &[Exhibit]) -> anyhow::Result<()> {
    let dir = session.config.data.dir.display().to_string();
    let flag = if dir == "cupping-data" { String::new() } else { format!(" --data-dir {dir}") };
    let name = exhibits.first().map_or("NAME", |exhibit| exhibit.name.as_str());
    output::line(format!(
        "\nThe data is in {dir}. Try next (cupping may be target/release/cupping):"
    ))?;
    for command in [
        format!("cupping similar \"{name}\" --explain{flag}"),
        format!("cupping export{flag} | head"),
        format!("cupping recompute --all{flag}"),
        format!("cupping demo{flag}    # again: recomputes nothing that has not changed"),
    ] {
        output::line(format!("  {command}"))?;
    }
    Ok(())
}

/// The coffees with the most telling lists, the reasons with them.
async fn exhibits(config: &Config, app: &App) -> anyhow::Result<Vec<Exhibit>> {
    let index = load_index(config, &app.store).await?;
    let mut lists = Vec::new();
    app.store.lists(&mut |source, list| lists.push((source, list))).await?;
    let mut exhibits = Vec::new();
    for (id, mut list) in chosen(lists) {
        list.truncate(ENTRIES);
        let mut entries = named(&app.store, list).await?;
        for entry in &mut entries {
            entry.explanation = index.explain(&id, &entry.id);
        }
        let name = index.name(&id).map_or_else(|| id.to_string(), |name| name.to_string());
        exhibits.push(Exhibit { id, name, entries });
    }
    Ok(exhibits)
}

/// Lists whose second entry scores high come first; a coffee shown in one list gets none of its
/// own, so that the exhibits differ.
fn chosen(mut lists: Vec<(BeanId, SimilarList)>) -> Vec<(BeanId, SimilarList)> {
    let strength = |list: &SimilarList| list.get(ENTRIES - 1).map_or(0, |similar| similar.ppm);
    lists.sort_by(|a, b| strength(&b.1).cmp(&strength(&a.1)).then_with(|| a.0.cmp(&b.0)));
    let mut seen = HashSet::new();
    let mut chosen = Vec::new();
    for (id, list) in lists {
        if chosen.len() == COFFEES {
            break;
        }
        if list.is_empty() {
            continue;
        }
        let related = list.iter().any(|similar| seen.contains(&similar.bean));
        if !related && seen.insert(id.clone()) {
            seen.extend(list.iter().map(|similar| similar.bean.clone()));
            chosen.push((id, list));
        }
    }
    chosen
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

fn milliseconds(duration: std::time::Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

fn as_json(session: &Session, shown: &Shown, exhibits: &[Exhibit]) -> Value {
    let entry = |entry: &Entry| {
        json!({
            "id": entry.id.as_str(),
            "name": entry.name,
            "score": stored_score(entry.ppm),
            "explanation": entry.explanation.as_ref().map(ExplanationJson::from),
        })
    };
    let exhibit = |exhibit: &Exhibit| {
        let similar: Vec<Value> = exhibit.entries.iter().map(entry).collect();
        json!({ "bean": { "id": exhibit.id.as_str(), "name": exhibit.name }, "similar": similar })
    };
    let summary = shown.summary.as_ref();
    json!({
        "data_dir": session.config.data.dir,
        "created": shown.imported.created,
        "updated": shown.imported.updated,
        "unchanged": shown.imported.unchanged,
        "published": shown.published,
        "reset": shown.reset,
        "processed": summary.map_or(0, |s| s.processed),
        "coalesced": summary.map_or(0, |s| s.coalesced),
        "retried": summary.map_or(0, |s| s.retried),
        "failed": summary.map_or(0, |s| s.failed),
        "deadlocks": shown.deadlocks,
        "seconds": shown.took.as_secs_f64(),
        "latency_p50_ms": summary.map(|s| s.latency_p50.as_secs_f64() * 1000.0),
        "latency_p99_ms": summary.map(|s| s.latency_p99.as_secs_f64() * 1000.0),
        "coffees": exhibits.iter().map(exhibit).collect::<Vec<Value>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ranking::Similar;

    fn id(text: &str) -> BeanId {
        BeanId::parse(text).expect("valid")
    }

    fn list(of: &[(&str, u32)]) -> SimilarList {
        of.iter().map(|(bean, ppm)| Similar { bean: id(bean), ppm: *ppm }).collect()
    }

    #[test]
    fn exhibits_are_strong_lists_of_unrelated_coffees() {
        let lists = vec![
            (id("a"), list(&[("b", 900_000), ("c", 800_000)])),
            (id("b"), list(&[("a", 900_000), ("c", 700_000)])),
            (id("x"), list(&[("y", 500_000), ("z", 400_000)])),
            (id("empty"), Vec::new()),
        ];
        let ids: Vec<String> = chosen(lists).into_iter().map(|(id, _)| id.to_string()).collect();
        assert_eq!(ids, ["a", "x"]);
    }
}
