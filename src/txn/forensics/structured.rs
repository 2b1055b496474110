//! Structured logs: jsonlog and csvlog of PostgreSQL, MySQL's JSON sink, anything in JSON lines.
//!
//! Decides: which fields hold what. Never does: fail; what is no record is read as text.

use super::postgres::assembly::Record;
use super::postgres::prefix::{self, Meta};
use super::{event, mentions};
use crate::txn::forensics::DeadlockReport;
use serde_json::Value;

/// Strings read from one JSON line.
const STRINGS: usize = 64;
/// Columns of csvlog that are read: up to the application's name.
const COLUMNS: usize = 23;

/// What a JSON line is.
pub(super) enum Json {
    /// A record of PostgreSQL's jsonlog.
    Record(Box<Record>),
    /// An event of our own.
    Event(Box<DeadlockReport>),
    /// Texts to be read as lines.
    Texts(Vec<String>),
}

/// Reads a JSON object; `None` when the line is none.
pub(super) fn json(number: usize, line: &str) -> Option<Json> {
    let value: Value = serde_json::from_str(line).ok()?;
    let object = value.as_object()?;
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(report) = event::json(&value, number) {
        return Some(Json::Event(Box::new(report)));
    }
    if object.contains_key("error_severity") && object.contains_key("message") {
        let some = |key: &str| Some(text(key)).filter(|text| !text.is_empty());
        let meta = Meta {
            line: number,
            time: prefix::time(&text("timestamp")),
            pid: object.get("pid").map(ToString::to_string),
            user: some("user"),
            application: some("application_name"),
        };
        return Some(Json::Record(Box::new(Record {
            meta,
            deadlock: text("state_code") == "40P01",
            message: text("message"),
            detail: text("detail"),
            context: text("context"),
            statement: text("statement"),
        })));
    }
    let time = ["time", "timestamp", "@timestamp", "ts", "date", "datetime"]
        .iter()
        .find_map(|key| object.get(*key).and_then(Value::as_str))
        .unwrap_or_default();
    if object.contains_key("msg") && object.contains_key("prio") {
        let inside = object.get("subsystem").and_then(Value::as_str) == Some("InnoDB");
        let texts = if inside {
            vec![format!("{time} 0 [Note] [InnoDB] {}", text("msg"))]
        } else {
            Vec::new()
        };
        return Some(Json::Texts(texts));
    }
    // A container's runner or the journal wraps one line of another program.
    for key in ["log", "MESSAGE"] {
        if let Some(line) = object.get(key).and_then(Value::as_str) {
            return Some(Json::Texts(vec![line.trim_end_matches('\n').to_owned()]));
        }
    }
    let mut texts = Vec::new();
    strings(&value, &mut texts);
    texts.retain(|text| text.contains(char::is_whitespace));
    // The name of the error first, whatever the names of fields: it begins the report.
    texts.sort_by_key(|text| mentions::engine(text).is_none());
    if let Some(first) = texts.first_mut()
        && mentions::engine(first).is_some()
        && prefix::time(first).is_none()
        && !time.is_empty()
    {
        *first = format!("{time} {first}");
    }
    Some(Json::Texts(texts))
}

/// Every string of a value, outer ones first. The depth is bounded by the parser.
fn strings(value: &Value, texts: &mut Vec<String>) {
    if texts.len() >= STRINGS {
        return;
    }
    match value {
        Value::String(text) => texts.push(text.trim_end_matches('\n').to_owned()),
        Value::Array(values) => values.iter().for_each(|value| strings(value, texts)),
        Value::Object(fields) => fields.values().for_each(|value| strings(value, texts)),
        _ => {}
    }
}

/// Whether a line begins a record of csvlog: a time, then at least the columns up to the process.
pub(super) fn begins_csv(line: &str) -> bool {
    let Some((time, rest)) = line.split_once(',') else { return false };
    time.len() <= 40
        && line.starts_with(|c: char| c.is_ascii_digit())
        && prefix::time(time).is_some()
        && columns(rest, 3)
            .get(2)
            .is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether the quotes of a text are closed.
pub(super) fn quotes_closed(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'"').count().is_multiple_of(2)
}

/// The first columns of a record, quotes taken off.
fn columns(text: &str, most: usize) -> Vec<String> {
    let mut columns = vec![String::new()];
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => push(&mut columns, '"'),
            '"' => quoted = !quoted,
            ',' if !quoted => {
                if columns.len() == most {
                    break;
                }
                columns.push(String::new());
            }
            c => push(&mut columns, c),
        }
    }
    columns
}

fn push(columns: &mut [String], c: char) {
    if let Some(last) = columns.last_mut() {
        last.push(c);
    }
}

/// Reads a record of csvlog; `None` when it has too few columns.
pub(super) fn csv(number: usize, text: &str) -> Option<Record> {
    let mut columns = columns(text, COLUMNS);
    if columns.len() < 20 {
        return None;
    }
    columns.resize(COLUMNS, String::new());
    let mut take = |at: usize| std::mem::take(&mut columns[at]);
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let meta = Meta {
        line: number,
        time: prefix::time(&take(0)),
        pid: some(take(3)),
        user: some(take(1)),
        application: some(take(22)),
    };
    Some(Record {
        meta,
        deadlock: take(12) == "40P01",
        message: take(13),
        detail: take(14),
        context: take(18),
        statement: take(19),
    })
}
