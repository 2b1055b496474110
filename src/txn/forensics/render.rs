//! Explanations for people, for programs, and as drawings.
//!
//! Decides: how they look. Statements and names come out of logs, so whatever a format could
//! mistake for its own marks, or a terminal for a command, is escaped.
//! Never does: decide what a report means.

use super::model::{Edge, Node};

mod drawing;
mod json;
mod text;

/// Longest statement shown in a text or a drawing, in characters.
const STATEMENT: usize = 240;

/// A text in one line without control characters, cut to a length.
fn plain(text: &str, most: usize) -> String {
    let mut out = String::new();
    let mut blank = false;
    for (count, c) in text.trim().chars().enumerate() {
        if count >= most {
            out.push('…');
            break;
        }
        if c.is_whitespace() {
            blank = true;
        } else if !c.is_control() && !hidden(c) {
            if blank {
                out.push(' ');
                blank = false;
            }
            out.push(c);
        }
    }
    out
}

/// Characters that change the direction or the looks of what follows them.
fn hidden(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// What an edge is about, in words: `ShareLock on transaction 768`, with the row lock it means.
fn wanted(edge: &Edge) -> String {
    let mode = if edge.mode.is_empty() { "a lock" } else { &edge.mode };
    let meaning = edge.row_lock.map(|row| format!(" ({row})")).unwrap_or_default();
    plain(&format!("{mode}{meaning} on {}", edge.object.words()), STATEMENT)
}

/// Who a node is: its id, and user and application where known.
fn who(node: &Node) -> String {
    let mut text = plain(&node.id, 80);
    let thread = node.thread.as_ref().map(|thread| format!("thread {thread}"));
    let facts: Vec<String> = [thread, node.user.clone(), node.application.clone()]
        .into_iter()
        .flatten()
        .map(|fact| plain(&fact, 80))
        .collect();
    if !facts.is_empty() {
        text.push_str(&format!(" [{}]", facts.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(plain(" a\u{1b}[31m\n\tb\u{202e}c ", 99), "a[31m bc");
        assert_eq!(plain("abcdef", 3), "abc…");
    }
}
