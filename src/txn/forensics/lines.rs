//! Lines of any log, made plain: container prefixes off, escaped line breaks opened.
//!
//! Decides: which texts are escaped. Never does: know what a line means.

use super::scan;
use std::borrow::Cow;

/// Longest line that is read, in bytes; a status dump escaped into one line fits.
pub(super) const LINE_BYTES: usize = 2 * 1024 * 1024;

/// The lines of a text, escaped line breaks opened.
pub(super) fn texts(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    text.split('\n').flat_map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let opened = opened(line);
        let many: Vec<Cow<'_, str>> = match opened {
            Cow::Borrowed(line) => vec![Cow::Borrowed(line)],
            Cow::Owned(text) => text.split('\n').map(|line| Cow::Owned(line.to_owned())).collect(),
        };
        many
    })
}

/// What tells that a line may belong to a deadlock.
pub(super) fn interesting(line: &str) -> bool {
    line.contains("eadlock")
        || line.contains("DEADLOCK")
        || line.contains("Lock")
        || line.contains("TRANSACTION")
}

/// A line with `\n`, `\t` and `\"` opened, where it holds escaped line breaks.
fn opened(line: &str) -> Cow<'_, str> {
    if !line.contains("\\n") || !interesting(line) {
        return Cow::Borrowed(line);
    }
    let mut text = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        match characters.next() {
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('r') | None => {}
            Some(c @ ('"' | '\'' | '\\' | '/')) => text.push(c),
            Some(c) => {
                text.push('\\');
                text.push(c);
            }
        }
    }
    Cow::Owned(text)
}

/// How syslog writes the tab before a continued line.
pub(super) const SYSLOG_TAB: &str = "#011";

/// A line without what a container's runner or syslog puts before it: `db-1  | …`,
/// `2024-…Z stderr F …`, `… postgres[7]: [3-2] #011…`.
pub(super) fn uncontained(line: &str) -> &str {
    if let Some(at) = scan::head(line, 200).find("] #011") {
        return &line[at + 2..];
    }
    let start = scan::head(line, 80);
    if let Some((name, _)) = start.split_once('|') {
        let word = name.trim_end();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.len() > word.len() && !word.is_empty() && word.chars().all(plain) {
            let rest = &line[name.len() + 1..];
            return rest.strip_prefix(' ').unwrap_or(line);
        }
    }
    for mark in [" stderr F ", " stdout F "] {
        if let Some(at) = start.find(mark)
            && at <= 40
            && !start[..at].contains(' ')
        {
            return &line[at + mark.len()..];
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_lines_are_opened_and_prefixes_of_containers_are_off() {
        let lines: Vec<_> = texts("DETAIL: ShareLock\\n\\tb \\\"c\\\" \\d\r\nplain\\n").collect();
        assert_eq!(lines, ["DETAIL: ShareLock", "\tb \"c\" \\d", "plain\\n"]);
        assert_eq!(uncontained("db-1  | \tProcess 1: x"), "\tProcess 1: x");
        assert_eq!(uncontained("2024-05-01T12:00:00.1Z stderr F \tx"), "\tx");
        let syslog = "Nov 22 06:55:50 db postgres[7]: [3-2] #011Process 1: x";
        assert_eq!(uncontained(syslog), "#011Process 1: x");
        assert_eq!(uncontained("a || b"), "a || b");
        assert_eq!(uncontained("|"), "|");
    }
}
