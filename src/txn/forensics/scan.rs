//! Small readers of text: numbers, quoted names, capped excerpts.
//!
//! Decides: nothing about deadlocks. Never does: panic on a character boundary.

/// Longest statement kept, in bytes.
pub(super) const STATEMENT_BYTES: usize = 8 * 1024;
/// Longest excerpt kept, in bytes.
pub(super) const EXCERPT_BYTES: usize = 160;

/// The start of a text, at most `bytes` long, cut between characters.
pub(super) fn head(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let mut end = bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The start of a line, for an unread entry.
pub(super) fn excerpt(line: &str) -> String {
    head(line.trim(), EXCERPT_BYTES).to_owned()
}

/// Appends a line to a text that stays below the limit of statements.
pub(super) fn append(text: &mut String, line: &str) {
    if text.len() >= STATEMENT_BYTES {
        return;
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(head(line, STATEMENT_BYTES - text.len()));
}

/// The digits that a text starts with, and the rest.
pub(super) fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// The number that a text starts with, and the rest.
pub(super) fn number(text: &str) -> Option<(u64, &str)> {
    let (digits, rest) = digits(text)?;
    Some((digits.parse().ok()?, rest))
}

/// Every run of digits, in order.
pub(super) fn runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty())
}

/// The text between two marks, the first `open` and the next `close` after it.
pub(super) fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(open)?;
    after.split_once(close).map(|(inner, _)| inner)
}

/// Block and offset of the first `(b,o)`, with or without a blank, and what follows it.
pub(super) fn tuple(text: &str) -> Option<((u64, u64), &str)> {
    text.match_indices('(').find_map(|(at, _)| {
        let (block, rest) = number(&text[at + 1..])?;
        let (offset, rest) = number(rest.strip_prefix(',')?.trim_start())?;
        Some(((block, offset), rest.strip_prefix(')')?))
    })
}

/// The numbers of `0,2`, without brackets, before any quote: Korean writes tuples so.
pub(super) fn pair(text: &str) -> Option<(u64, u64)> {
    let (block, rest) = number(text.trim_start())?;
    let (offset, _) = number(rest.strip_prefix(',')?)?;
    Some((block, offset))
}

/// Pairs of marks that PostgreSQL's translations put around names.
const QUOTES: [(char, char); 6] =
    [('"', '"'), ('»', '«'), ('«', '»'), ('“', '”'), ('「', '」'), ('„', '“')];

/// The last quoted name in a line.
pub(super) fn quoted(line: &str) -> Option<&str> {
    let (open, close) = QUOTES
        .iter()
        .find(|(open, close)| line.find(*open).is_some_and(|at| line.rfind(*close) > Some(at)))?;
    let start = line.find(*open)? + open.len_utf8();
    let rest = &line[start..];
    // A name may hold quotes itself, so the last mark of the line closes it.
    let end = rest.rfind(*close)?;
    Some(rest[..end].trim()).filter(|name| !name.is_empty())
}

/// A statement without its literals: numbers and strings become `?`, blanks one blank, lists of
/// literals one `?`. Two statements of one shape are equal after it.
pub(super) fn shape(statement: &str) -> String {
    let mut shape = String::new();
    let mut rest = head(statement, STATEMENT_BYTES).chars().peekable();
    while let Some(c) = rest.next() {
        let in_word = shape.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        match c {
            '\'' => {
                while let Some(inner) = rest.next() {
                    if inner == '\\' || (inner == '\'' && rest.next_if_eq(&'\'').is_some()) {
                        if inner == '\\' {
                            rest.next();
                        }
                    } else if inner == '\'' {
                        break;
                    }
                }
                shape.push('?');
            }
            c if c.is_ascii_digit() && !in_word && !shape.ends_with('$') => {
                while rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '.').is_some() {}
                shape.push('?');
            }
            c if c.is_whitespace() => {
                if !shape.ends_with(' ') {
                    shape.push(' ');
                }
            }
            c => shape.extend(c.to_lowercase()),
        }
    }
    collapsed(shape.trim().trim_end_matches(';'))
}

/// `?, ?, ?` and `?,?` as one `?`.
fn collapsed(shape: &str) -> String {
    let mut out = String::with_capacity(shape.len());
    for part in shape.split_inclusive(',') {
        let bare = part.trim_end_matches(',').trim();
        if bare == "?" && out.trim_end_matches([',', ' ']).ends_with('?') && part.ends_with(',') {
            continue;
        }
        if bare.starts_with('?') && out.trim_end_matches([',', ' ']).ends_with('?') {
            out.truncate(out.trim_end_matches([',', ' ']).len());
            out.push_str(part.trim_start().trim_start_matches('?'));
            continue;
        }
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_do_not_shape_a_statement() {
        let one = shape("UPDATE t SET v='it''s 7'\n WHERE id IN (1, 2,3) AND t2.x = $1;");
        assert_eq!(one, "update t set v=? where id in (?) and t2.x = $1");
        assert_eq!(shape("update t set v='x' where id in (9) and t2.x = $1"), one);
    }

    #[test]
    fn names_are_read_from_every_kind_of_quote() {
        for line in [
            "while updating tuple (0,2) in relation \"t\"",
            "beim Aktualisieren von Tupel (0,2) in Relation »t«",
            "lors de la mise à jour de la ligne (0,2) dans la relation « t »",
            "リレーション\"t\"のタプル(0,2)の更新中",
        ] {
            assert_eq!(quoted(line), Some("t"), "{line}");
            assert_eq!(tuple(line).map(|(tuple, _)| tuple), Some((0, 2)), "{line}");
        }
        assert_eq!(quoted("no name"), None);
        assert_eq!(quoted("\""), None);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(head("ñandú", 1), "");
        assert_eq!(head("ñandú", 3), "ña");
    }
}
