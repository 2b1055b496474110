//! An explanation as text: the graph in words, the statements, what to do.

use super::{STATEMENT, plain, wanted, who};
use crate::txn::forensics::model::Edge;
use crate::txn::forensics::{Deadlock, Explanation, advice};

/// The width that advice keeps to.
const WIDTH: usize = 80;
/// Edges and unread entries shown one by one.
const SHOWN: usize = 64;

impl Explanation {
    /// The explanation for people, without a line break at its end. Example: see [`Explanation`].
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        if self.reports == 0 && self.unread.is_empty() {
            lines.push("no deadlock report found".to_owned());
        } else {
            let (reports, distinct) = (self.reports, self.deadlocks.len());
            let (s, t) = (plural(reports), plural(distinct));
            lines.push(format!("{reports} report{s} read, {distinct} distinct deadlock{t}"));
        }
        for deadlock in &self.deadlocks {
            lines.push(String::new());
            describe(deadlock, &mut lines);
        }
        if !self.unread.is_empty() {
            let count = self.unread.len();
            lines.push(format!("\nnot read: {count} place{}", plural(count)));
            for unread in self.unread.iter().take(SHOWN) {
                let input = unread.input.as_ref().map(|name| format!("{}:", plain(name, 200)));
                let excerpt = plain(&unread.excerpt, 100);
                lines.push(format!(
                    "  line {}{}: {}: {excerpt}",
                    input.unwrap_or_default(),
                    unread.line,
                    unread.why
                ));
            }
            if count > SHOWN {
                lines.push(format!("  and {} more", count - SHOWN));
            }
        }
        lines.join("\n")
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn describe(deadlock: &Deadlock, lines: &mut Vec<String>) {
    let report = &deadlock.report;
    let times =
        if deadlock.count == 1 { "once".to_owned() } else { format!("{} times", deadlock.count) };
    let when = match (&deadlock.first_seen, &deadlock.last_seen) {
        (Some(first), Some(last)) if first == last => format!(", at {first}"),
        (Some(first), Some(last)) => format!(", from {first} to {last}"),
        _ => String::new(),
    };
    let engine = report.engine.name();
    lines.push(format!("deadlock {} ({engine}): {times}{when}", deadlock.fingerprint));
    for edge in report.edges.iter().take(SHOWN) {
        lines.push(format!("  {}", sentence(edge, report.victim().map(|node| node.id.as_str()))));
    }
    if report.edges.len() > SHOWN {
        lines.push(format!("  and {} more waits", report.edges.len() - SHOWN));
    }
    for node in report.nodes.iter().take(SHOWN) {
        if let Some(statement) = &node.statement {
            lines.push(format!("  {} ran: {}", who(node), plain(statement, STATEMENT)));
        }
    }
    if let Some(inner) = report.context.as_ref().and_then(|context| context.statement.as_deref()) {
        lines.push(format!("  inside it: {}", plain(inner, STATEMENT)));
    }
    if let Some(victim) = report.victim() {
        lines.push(format!("  rolled back: {}", who(victim)));
    }
    lines.extend(wrapped("what to do: ", advice(deadlock.pattern)));
}

/// `25082 waits for ShareLock on transaction 768 held by 25095 (while updating …)`.
fn sentence(edge: &Edge, victim: Option<&str>) -> String {
    let mark = if victim == Some(edge.waiter.as_str()) { " (victim)" } else { "" };
    let held = match edge.held.as_slice() {
        [] => String::new(),
        modes => format!(" as {}", plain(&modes.join(", "), STATEMENT)),
    };
    let doing =
        edge.context.as_ref().map(|context| format!(" ({})", plain(&context.text, STATEMENT)));
    format!(
        "{}{mark} waits for {} held by {}{held}{}",
        plain(&edge.waiter, 80),
        wanted(edge),
        plain(&edge.holder, 80),
        doing.unwrap_or_default()
    )
}

/// A text in lines of a width, indented.
fn wrapped(start: &str, text: &str) -> Vec<String> {
    let mut lines = vec![format!("  {start}")];
    let mut room = WIDTH - 2 - start.len();
    for word in text.split(' ') {
        let length = word.chars().count() + 1;
        if length > room {
            lines.push("    ".to_owned());
            room = WIDTH - 4;
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(word);
            line.push(' ');
        }
        room = room.saturating_sub(length);
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}
