//! Our own log event of a deadlock, in JSON or as a line of text.
//!
//! Decides: that relation and fingerprint are taken as logged: they were computed where the
//! context was known. Never does: read anything else of an event.

use super::DeadlockReport;
use super::model::{Engine, ObjectKind};
use super::postgres::prefix;
use super::scan;
use serde_json::Value;

/// Reads the event from a JSON object, its fields flat or below `fields`.
pub(super) fn json(value: &Value, line: usize) -> Option<DeadlockReport> {
    let fields = value.get("fields").unwrap_or(value);
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    let report = report(text("graph")?, text("relation")?, text("fingerprint")?)?;
    let time = value.get("timestamp").and_then(Value::as_str).and_then(prefix::time);
    Some(DeadlockReport { timestamp: time, line, ..report })
}

/// Reads the event from a line: `… deadlock … fingerprint="…" graph="…"`.
pub(super) fn text(text: &str, line: usize) -> Option<DeadlockReport> {
    let value = |key: &str| {
        let (_, after) = text.split_once(&format!("{key}=\""))?;
        let mut end = 0;
        for (at, c) in after.char_indices() {
            if c == '"' && !after[..at].ends_with('\\') {
                end = at;
                break;
            }
        }
        Some(after[..end].replace("\\n", "\n").replace("\\\"", "\""))
    };
    let report = report(&value("graph")?, &value("relation")?, &value("fingerprint")?)?;
    Some(DeadlockReport { timestamp: prefix::time(text), line, ..report })
}

fn report(graph: &str, relation: &str, fingerprint: &str) -> Option<DeadlockReport> {
    let hex = fingerprint.len() == 16 && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut report = DeadlockReport::from_postgres(Some(graph), None);
    if !hex || report.edges.is_empty() {
        return None;
    }
    let inside = |kind| matches!(kind, ObjectKind::Record | ObjectKind::Table);
    if report.edges.iter().any(|edge| inside(edge.object.kind)) {
        report.engine = Engine::InnoDb;
        // The victim is not the first there, and the event does not tell it.
        report.nodes.iter_mut().for_each(|node| node.victim = false);
        report.nodes.dedup_by(|one, other| one.id == other.id);
    }
    scan::head(relation, 256).clone_into(&mut report.relation);
    fingerprint.clone_into(&mut report.fingerprint);
    Some(report)
}
