//! PostgreSQL's words for waits: the lines of a DETAIL, the context of a row, lock-wait lines.
//!
//! Decides: what a line says, in English or by its digits and lock mode in any other language
//! (the modes are never translated). Never does: join lines (see `assembly`).

use super::model::{Context, Edge, LockedObject, ObjectKind};
use super::scan;

pub(super) mod assembly;
pub(super) mod prefix;
mod tag;

/// The modes of the lock manager; the longest first where one ends another.
const MODES: [&str; 8] = [
    "AccessExclusiveLock",
    "AccessShareLock",
    "ShareRowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "RowExclusiveLock",
    "RowShareLock",
    "ExclusiveLock",
    "ShareLock",
];

/// The first lock mode in a text, and where it stands.
fn mode(text: &str) -> Option<(usize, &'static str)> {
    let found = MODES.iter().filter_map(|mode| text.find(mode).map(|at| (at, *mode)));
    found.min_by_key(|(at, mode)| (*at, usize::MAX - mode.len()))
}

/// The waits that a line tells, none in most lines. Several stand in one line where line breaks
/// were lost.
pub(super) fn waits(line: &str) -> Vec<Edge> {
    if !line.contains("; blocked by ") && mode(line).is_none() {
        return Vec::new();
    }
    let english = english_waits(line);
    if english.is_empty() { translated_wait(line).into_iter().collect() } else { english }
}

/// Longest mode, and longest tag, in bytes: what is longer is no wait, and is not searched.
const PART_BYTES: usize = 256;

fn english_waits(line: &str) -> Vec<Edge> {
    let mut edges = Vec::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once(" waits for ") {
        rest = after;
        let waiter = before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        let Some(edge) = english_wait(waiter, after) else { continue };
        edges.push(edge);
    }
    edges
}

/// What follows `waits for`: mode, tag, blocker.
fn english_wait(waiter: &str, after: &str) -> Option<Edge> {
    let (mode, _) = scan::head(after, PART_BYTES).split_once(" on ")?;
    let after = &after[mode.len() + " on ".len()..];
    let (tag, _) = scan::head(after, PART_BYTES).split_once("; blocked by ")?;
    let holder = &after[tag.len() + "; blocked by ".len()..];
    let holder = holder.strip_prefix("process ").or(holder.strip_prefix("transaction "))?;
    let (holder, _) = scan::digits(holder)?;
    let plain = !waiter.is_empty() && !mode.contains(" waits for ") && !tag.contains(" waits for ");
    plain.then(|| edge(waiter, holder, mode, tag::any(tag)))
}

/// A wait in any language: the first number waits, the last one blocks, those between tell what.
fn translated_wait(line: &str) -> Option<Edge> {
    let (mode_at, mode) = mode(line)?;
    // Whatever stands before the text itself (time, session) ends with a colon and two blanks.
    let start = line[..mode_at].rfind(":  ").map_or(0, |at| at + 3);
    let text = &line[start..];
    if lock_wait_time(text) {
        return None;
    }
    let numbers: Vec<&str> = scan::runs(text).collect();
    let [waiter, between @ .., holder] = numbers.as_slice() else { return None };
    if between.is_empty() || between.len() > 6 || waiter.len() > 10 || holder.len() > 10 {
        return None;
    }
    // Nothing but marks and letters of a short ending may follow the blocker.
    let tail = text.rsplit(|c: char| c.is_ascii_digit()).next().unwrap_or_default();
    if tail.chars().count() > 24 || tail.contains('"') {
        return None;
    }
    let first = text.find(waiter)? + waiter.len();
    let last = text.rfind(holder)?;
    let tag = text.get(first..last)?;
    Some(edge(waiter, holder, mode, tag::translated(tag, between)))
}

/// Whether a text holds a time with three decimals: the mark of a lock-wait line.
fn lock_wait_time(text: &str) -> bool {
    text.match_indices(['.', ',']).any(|(at, _)| {
        let decimals = scan::digits(&text[at + 1..]).is_some_and(|(run, _)| run.len() == 3);
        decimals && text[..at].ends_with(|c: char| c.is_ascii_digit())
    })
}

fn edge(waiter: &str, holder: &str, mode: &str, object: LockedObject) -> Edge {
    let row_lock = (object.kind == ObjectKind::Tuple).then(|| row_lock(mode)).flatten();
    Edge {
        waiter: waiter.to_owned(),
        holder: holder.to_owned(),
        mode: mode.to_owned(),
        object,
        row_lock,
        ..Edge::default()
    }
}

/// The row lock that the mode of a tuple lock stands for, by the table in heapam.c.
fn row_lock(mode: &str) -> Option<&'static str> {
    match mode {
        "AccessShareLock" => Some("FOR KEY SHARE"),
        "RowShareLock" => Some("FOR SHARE"),
        "ExclusiveLock" => Some("FOR NO KEY UPDATE"),
        "AccessExclusiveLock" => Some("FOR UPDATE"),
        _ => None,
    }
}

/// A line of `log_lock_waits`, in any language: who waits for what, without the blocker.
pub(super) fn lock_wait(text: &str) -> Option<(&str, LockedObject)> {
    let (_, mode) = mode(text)?;
    let waiter = scan::runs(text).next()?;
    let after = text.split_once(mode)?.1;
    let tag = after.trim_start().strip_prefix("on ").unwrap_or(after);
    let tag = tag.rsplit_once(" after ").map_or(tag, |(tag, _)| tag);
    lock_wait_time(text).then(|| (waiter, tag::english(tag)))
}

/// What an English context may begin with, without the tuple.
const ACTIONS: [&str; 8] = [
    "updating",
    "deleting",
    "locking updated version",
    "locking",
    "rechecking updated",
    "inserting index tuple",
    "checking uniqueness of",
    "checking exclusion constraint on",
];

/// The context of a row in an English line; its inner statement comes with later lines.
pub(super) fn context(line: &str) -> Option<Context> {
    line.match_indices("while ").find_map(|(at, word)| {
        let after = scan::head(&line[at + word.len()..], PART_BYTES + PART_BYTES);
        let action = ACTIONS.iter().find(|action| after.starts_with(*action))?;
        let (tuple, _) = scan::tuple(after)?;
        let relation = scan::between(after, "relation \"", "\"")?;
        Some(Context {
            text: format!("{word}{}", through(after, relation)),
            action: Some((*action).to_owned()),
            relation: Some(relation.to_owned()),
            tuple: Some(tuple),
            statement: None,
        })
    })
}

/// A text up to the quote that ends this name, which stands in it.
fn through<'a>(text: &'a str, name: &str) -> &'a str {
    let end = text.find("relation \"").map_or(text.len(), |at| at + 10 + name.len() + 1);
    text.get(..end).unwrap_or(text)
}

/// The context in a text that is known to be one, in any language: a tuple and a quoted name.
pub(super) fn any_context(text: &str) -> Option<Context> {
    context(text).or_else(|| {
        let text = text.trim();
        let tuple = scan::tuple(text).map(|(tuple, _)| tuple).or_else(|| scan::pair(text))?;
        let relation = scan::quoted(text)?.to_owned();
        let text = scan::head(text, scan::STATEMENT_BYTES).to_owned();
        Some(Context { text, relation: Some(relation), tuple: Some(tuple), ..Context::default() })
    })
}

/// The context that a client is told, with all its lines.
pub(super) fn whole_context(text: &str) -> Option<Context> {
    let mut lines = text.lines();
    let mut found = lines.by_ref().find_map(any_context)?;
    let rest: Vec<&str> = lines.collect();
    found.statement = inner_statement(&rest.join("\n"));
    Some(found)
}

/// The statement that a context names: `SQL statement "…"`, until the quote that ends its line.
pub(super) fn inner_statement(text: &str) -> Option<String> {
    let after = match text.split_once("SQL statement \"") {
        Some((_, after)) => after,
        // Translated: the first quoted text that begins like a statement.
        None => {
            let (at, _) = text.match_indices(['"', '»', '«']).find(|(at, mark)| {
                let word = text[at + mark.len()..].trim_start().get(..6).unwrap_or_default();
                matches!(&*word.to_uppercase(), "SELECT" | "DELETE" | "UPDATE" | "INSERT")
            })?;
            text[at..].trim_start_matches(['"', '»', '«']).trim_start()
        }
    };
    let end = ["\"\n", "«\n", "»\n"].iter().filter_map(|mark| after.find(mark)).min();
    let statement = match end {
        Some(end) => &after[..end],
        None => {
            let after = after.trim_end();
            after.strip_suffix(['"', '»', '«']).unwrap_or(after)
        }
    };
    let statement = scan::head(statement.trim(), scan::STATEMENT_BYTES);
    (!statement.is_empty()).then(|| statement.to_owned())
}
