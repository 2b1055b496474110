//! Results on stdout: text, tables, JSON.
//!
//! Decides: how a result looks. Never does: write to stderr (logs and progress do), or treat a
//! closed pipe as an error worth a message (see [`super::failure`]).

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// The width of a table when stdout is no terminal, or does not say.
const WIDTH: u16 = 100;

/// Writes bytes as they are.
pub(crate) fn bytes(data: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(data)?;
    out.flush()
}

/// Writes text and ends the line.
pub(crate) fn line(text: impl AsRef<str>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref().as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Writes a value as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// An empty table that fits the terminal, without frames.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if !io::stdout().is_terminal() {
        table.set_width(WIDTH);
    }
    table.set_header(header.iter().map(|text| text.to_uppercase()));
    table
}

/// Prints a table; lines carry no trailing blanks.
pub(crate) fn print(table: &Table) -> io::Result<()> {
    line(trimmed(&table.to_string()))
}

fn trimmed(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// A score with all its digits: parts per million as a decimal.
pub(crate) fn score(ppm: u32) -> String {
    format!("{}.{:06}", ppm / 1_000_000, ppm % 1_000_000)
}

/// A count with its noun, in the singular or the plural.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Cuts a text to `width` characters, with an ellipsis where it was longer.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.truncate(cut.trim_end().len());
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_have_six_decimals_and_no_rounding() {
        assert_eq!(score(0), "0.000000");
        assert_eq!(score(7), "0.000007");
        assert_eq!(score(812_345), "0.812345");
        assert_eq!(score(1_000_000), "1.000000");
    }

    #[test]
    fn long_texts_are_cut_with_an_ellipsis() {
        assert_eq!(cut("Guji", 4), "Guji");
        assert_eq!(cut("Kochere Natural", 9), "Kochere…");
        assert_eq!(cut("ñandú ñandú", 5), "ñand…");
    }

    #[test]
    fn counts_agree_with_their_noun() {
        assert_eq!(count(1, "bean"), "1 bean");
        assert_eq!(count(0, "bean"), "0 beans");
    }
}
