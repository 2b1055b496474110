//! Reads import records from JSON lines and from CSV, line by line.
//!
//! Decides: what a good line is; a bad one is an item of its own and the reading goes on.
//! Never does: open a file.
//!
//! CSV has a header; list columns separate their values by `|` or `;`.

use super::ImportRecord;
use std::io::{BufRead, Read};

/// Longest line of JSON that is read, in bytes.
const MAX_LINE_BYTES: u64 = 1024 * 1024;
const COLUMNS: [&str; 8] =
    ["id", "name", "roaster", "regions", "processing", "roast", "varieties", "notes"];

/// A line that is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct LineError {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// The records of JSON lines; blank lines are skipped.
pub fn json_lines<R: BufRead>(
    mut reader: R,
) -> impl Iterator<Item = Result<ImportRecord, LineError>> {
    let mut line = 0_u64;
    let mut failed = false;
    std::iter::from_fn(move || {
        loop {
            if failed {
                return None;
            }
            let mut bytes = Vec::new();
            line += 1;
            match reader.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut bytes) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => {
                    failed = true;
                    return Some(Err(LineError { line, reason: error.to_string() }));
                }
            }
            if bytes.len() as u64 > MAX_LINE_BYTES {
                // The rest of it cannot be told from the next line.
                failed = true;
                let reason = format!("longer than {MAX_LINE_BYTES} bytes; reading stops here");
                return Some(Err(LineError { line, reason }));
            }
            if let Some(record) = json_line(&bytes) {
                return Some(record.map_err(|reason| LineError { line, reason }));
            }
        }
    })
}

fn json_line(bytes: &[u8]) -> Option<Result<ImportRecord, String>> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Some(Err("no UTF-8".into())) };
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return None;
    }
    Some(serde_json::from_str(text).map_err(|error| without_place(&error.to_string())))
}

/// An error of `serde_json` without its own line, which is always 1 here.
fn without_place(message: &str) -> String {
    message.split(" at line 1 column").next().unwrap_or(message).to_owned()
}

/// The records of a CSV file with a header.
pub fn csv_records<R: Read>(reader: R) -> impl Iterator<Item = Result<ImportRecord, LineError>> {
    let mut csv = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(reader);
    let header = header(&mut csv);
    let mut refusal = header.as_ref().err().cloned();
    let columns = header.unwrap_or_default();
    let width = columns.len();
    let mut ended = refusal.is_some();
    let mut records = csv.into_records();
    std::iter::from_fn(move || {
        if let Some(reason) = refusal.take() {
            return Some(Err(LineError { line: 1, reason }));
        }
        if ended {
            return None;
        }
        match records.next()? {
            Ok(row) => {
                let line = row.position().map_or(0, csv::Position::line);
                let record = if row.len() == width {
                    csv_record(&columns, &row)
                } else {
                    Err(format!("{} values, but the header names {width}", row.len()))
                };
                Some(record.map_err(|reason| LineError { line, reason }))
            }
            Err(error) => {
                ended = error.is_io_error();
                let line = error.position().map_or(0, csv::Position::line);
                Some(Err(LineError { line, reason: error.to_string() }))
            }
        }
    })
}

fn header<R: Read>(csv: &mut csv::Reader<R>) -> Result<Vec<String>, String> {
    let row = csv.headers().map_err(|error| error.to_string())?;
    let names: Vec<String> =
        row.iter().map(|name| name.trim_start_matches('\u{feff}').to_lowercase()).collect();
    if let Some(unknown) = names.iter().find(|name| !COLUMNS.contains(&name.as_str())) {
        return Err(format!("unknown column {unknown:?}; known are {}", COLUMNS.join(", ")));
    }
    if !names.iter().any(|name| name == "id") {
        return Err("the header has no column \"id\"".into());
    }
    Ok(names)
}

fn csv_record(columns: &[String], row: &csv::StringRecord) -> Result<ImportRecord, String> {
    let cell = |name: &str| {
        let at = columns.iter().position(|column| column == name)?;
        row.get(at).filter(|cell| !cell.is_empty())
    };
    let text = |name| cell(name).map(str::to_owned);
    let list = |name| -> Vec<String> {
        let values = cell(name).into_iter().flat_map(|cell| cell.split(['|', ';']));
        values.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect()
    };
    let id = cell("id").unwrap_or_default();
    Ok(ImportRecord {
        id: crate::domain::bean::BeanId::parse(id).map_err(|error| error.to_string())?,
        name: text("name"),
        roaster: text("roaster"),
        regions: list("regions"),
        processing: list("processing"),
        roast: list("roast"),
        varieties: list("varieties"),
        notes: list("notes"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_line_is_named_and_the_rest_is_read() {
        let text = "{\"id\":1,\"notes\":[\"Plum\"]}\n\nnonsense\n{\"id\":\"\"}\n\
                    {\"id\":\"b\",\"regoins\":[]}\n{\"id\":\"c\",\"regions\":null}";
        let items: Vec<_> = json_lines(text.as_bytes()).collect();
        let ids: Vec<_> = items.iter().flatten().map(|record| record.id.as_str()).collect();
        assert_eq!(ids, ["1", "c"]);
        let errors: Vec<_> = items.into_iter().filter_map(Result::err).collect();
        assert_eq!(errors.iter().map(|error| error.line).collect::<Vec<_>>(), [3, 4, 5]);
        assert!(errors[1].reason.contains("empty"), "{}", errors[1]);
        assert!(errors[2].reason.contains("regoins"), "{}", errors[2]);
        assert!(!errors[0].reason.contains("line 1"), "{}", errors[0]);
    }

    #[test]
    fn csv_lists_are_separated_by_bars_or_semicolons() {
        let text = "id,name,notes\n1,\"One, two\",Plum | cherry cola;Fig\n,Nobody,\n2,Short\n3,,\n";
        let items: Vec<_> = csv_records(text.as_bytes()).collect();
        let first = items[0].as_ref().expect("a record");
        assert_eq!(first.notes, ["Plum", "cherry cola", "Fig"]);
        assert_eq!(first.display_name(), "One, two");
        assert_eq!(items[1].as_ref().expect_err("no id").line, 3);
        assert!(items[2].as_ref().expect_err("too short").reason.contains("2 values"));
        assert_eq!(items[3].as_ref().expect("a record").display_name(), "3");
    }

    #[test]
    fn an_unknown_csv_column_is_refused_once() {
        let items: Vec<_> = csv_records("id,region\n1,Kenya\n".as_bytes()).collect();
        assert_eq!(items.len(), 1);
        assert!(items[0].as_ref().expect_err("refused").reason.contains("\"region\""));
    }
}
