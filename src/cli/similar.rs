//! `cupping similar BEAN`: the beans similar to one bean, and why.
//!
//! Decides: how a list looks. Never does: compute a list; it shows the stored one.

use super::explanation::{self, ExplanationJson};
use super::session::Session;
use super::{ExitStatus, Global, Output, output};
use crate::app::lookup::{self, Found};
use crate::app::{Database, load_index};
use crate::domain::bean::BeanId;
use crate::domain::ranking::{SimilarList, stored_score};
use crate::domain::similarity::Explanation;
use crate::store::Store;
use clap::Args;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;

/// How many beans are explained when nobody says.
const EXPLAINED: usize = 5;

/// Arguments of `similar`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cupping similar \"Kenya Gachiku AA Washed\" --explain\n  \
    cupping similar 018f2b1e-7b52-7cc0-a1b2-0123456789ab --limit 3 --output json")]
pub(crate) struct SimilarArgs {
    /// Its id, its name, or a part of the name that no other bean has.
    #[arg(value_name = "BEAN")]
    bean: String,
    /// Show the weight, the value and the shared values of every dimension.
    #[arg(long)]
    explain: bool,
    /// How many to show; without it the whole list, or five with --explain.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// One bean of a list, ready to be shown.
pub(super) struct Entry {
    pub(super) id: BeanId,
    pub(super) name: Option<String>,
    pub(super) ppm: u32,
    pub(super) explanation: Option<Explanation>,
}

#[derive(Serialize)]
struct ListJson<'a> {
    bean: BeanJson<'a>,
    similar: Vec<EntryJson<'a>>,
}

#[derive(Serialize)]
struct BeanJson<'a> {
    id: &'a str,
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct EntryJson<'a> {
    id: &'a str,
    name: Option<&'a str>,
    score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<ExplanationJson>,
}

/// Shows a list.
pub(crate) fn run(global: &Global, args: SimilarArgs) -> anyhow::Result<ExitStatus> {
    let session = Session::open(global)?;
    session.block_on(show(&session, args))
}

async fn show(session: &Session, args: SimilarArgs) -> anyhow::Result<ExitStatus> {
    let database = Database::open(&session.config).await?;
    let store = database.store();
    let bean = lookup::find(store.as_ref(), &args.bean).await?;
    let mut list = store.list(&bean.id).await?;
    let stored = list.len();
    let most = if args.explain { EXPLAINED } else { usize::MAX };
    list.truncate(args.limit.unwrap_or(most));
    let mut entries = named(&store, list).await?;
    if args.explain {
        let index = load_index(&session.config, &store).await?;
        for entry in &mut entries {
            entry.explanation = index.explain(&bean.id, &entry.id);
        }
    }
    if session.output == Some(Output::Json) {
        output::json(&as_json(&bean, &entries))?;
        return Ok(ExitStatus::Success);
    }
    let title = bean.name.as_deref().unwrap_or("(no name)");
    output::line(format!("Similar to {title}  ({})\n", bean.id))?;
    if stored == 0 {
        output::line(format!(
            "no list is stored: nothing is similar to it, or its list was never computed\n\
             (`cupping recompute {}` computes it now)",
            bean.id
        ))?;
    }
    for text in text(&entries, Ids::Shown) {
        output::line(text)?;
    }
    if stored > entries.len() {
        let rest = stored - entries.len();
        output::line(format!("\n{rest} more; --limit {stored} shows them all"))?;
    }
    Ok(ExitStatus::Success)
}

/// The entries of a list with the names of their beans.
pub(super) async fn named(store: &Arc<dyn Store>, list: SimilarList) -> anyhow::Result<Vec<Entry>> {
    let ids: Vec<BeanId> = list.iter().map(|similar| similar.bean.clone()).collect();
    let beans = if ids.is_empty() { Vec::new() } else { store.beans(&ids).await? };
    let mut names: HashMap<BeanId, Option<String>> =
        beans.into_iter().map(|bean| (bean.id, bean.name)).collect();
    let entry = |similar: crate::domain::ranking::Similar| Entry {
        name: names.remove(&similar.bean).flatten(),
        id: similar.bean,
        ppm: similar.ppm,
        explanation: None,
    };
    Ok(list.into_iter().map(entry).collect())
}

/// Whether lines name ids beside names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    /// Yes: names are cut so that both fit.
    Shown,
    /// No.
    Left,
}

/// The lines of a list: score, name and id; below each its explanation, if it has one.
pub(super) fn text(entries: &[Entry], ids: Ids) -> Vec<String> {
    let longest = entries
        .iter()
        .map(|entry| entry.name.as_deref().unwrap_or("(no name)").chars().count())
        .max();
    let room = if ids == Ids::Shown { 27 } else { 64 };
    let width = longest.unwrap_or_default().min(room);
    let mut lines = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let name = output::cut(entry.name.as_deref().unwrap_or("(no name)"), width);
        let score = output::score(entry.ppm);
        let id = if ids == Ids::Shown { entry.id.as_str() } else { "" };
        lines.push(format!("{:>3}  {score}  {name:width$}  {id}", at + 1).trim_end().to_owned());
        if let Some(explanation) = &entry.explanation {
            lines.extend(explanation::lines(explanation, 5));
            if explanation.ppm != entry.ppm {
                let now = output::score(explanation.ppm);
                lines.push(format!("     now {now}: the stored list is older than the beans"));
            }
        }
    }
    lines
}

fn as_json<'a>(bean: &'a Found, entries: &'a [Entry]) -> ListJson<'a> {
    ListJson {
        bean: BeanJson { id: bean.id.as_str(), name: bean.name.as_deref() },
        similar: entries
            .iter()
            .map(|entry| EntryJson {
                id: entry.id.as_str(),
                name: entry.name.as_deref(),
                score: stored_score(entry.ppm),
                explanation: entry.explanation.as_ref().map(ExplanationJson::from),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_a_uuid_fits_80_columns() {
        let entry = |name: &str| Entry {
            id: BeanId::parse("018f2b1e-7b52-7cc0-a1b2-0123456789ab").expect("valid"),
            name: Some(name.to_owned()),
            ppm: 812_345,
            explanation: None,
        };
        let lines =
            text(&[entry("Guji"), entry("A Very Long Name of a Bean That Never Ends")], Ids::Shown);
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        assert!(lines[0].starts_with("  1  0.812345  Guji"));
    }
}
