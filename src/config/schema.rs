//! The keys that exist, derived from the settings themselves.
//!
//! Decides: which key is known, and which known one is nearest to an unknown one.
//! Never does: judge values.

use super::{
    Config, DimensionConfig, ExpansionConfig, JoinTable, TextTable, Thousandths, ValueTable,
};
use figment::value::{Dict, Value};

/// Settings that hold a secret: an environment variable may name a file instead (`…_FILE`).
pub(super) const SECRETS: [&str; 3] =
    ["database.url", "transport.url", "transport.amqp.client_identity_password"];

/// Tables whose keys are free.
const FREE: [&str; 1] = ["score.aliases"];

/// Lists of tables, whose elements are checked by [`dimension`].
pub(super) const DIMENSIONS: &str = "catalogue.dimensions";

/// Every setting with its default.
pub(super) fn settings() -> Dict {
    dict(Value::serialize(Config::default()))
}

/// Every key that a dimension can have, whatever its expansion.
pub(super) fn dimension() -> Dict {
    let join = || JoinTable { table: String::new(), from: String::new(), to: String::new() };
    let one = Thousandths(1000);
    let example = DimensionConfig {
        name: String::new(),
        weight: one,
        prior: one,
        expansion: ExpansionConfig::Notes { levels: vec![], text: one, word: one },
        values: Some(ValueTable {
            table: String::new(),
            id: String::new(),
            name: String::new(),
            parent: Some(String::new()),
            rank: Some(String::new()),
            parents: Some(join()),
        }),
        join: Some(join()),
        text: Some(TextTable { table: String::new(), bean: String::new(), text: String::new() }),
    };
    let mut keys = dict(Value::serialize(example));
    if let Some(Value::Dict(_, expansion)) = keys.get_mut("expansion") {
        for key in ["own", "neighbour", "generations"] {
            expansion.insert(key.into(), Value::from(0));
        }
    }
    keys
}

fn dict(value: Result<Value, figment::Error>) -> Dict {
    value.ok().and_then(Value::into_dict).expect("settings serialise to a table")
}

/// A known setting, found by its path.
pub(super) enum Known<'a> {
    /// A single value, with its default.
    Leaf(&'a Value),
    /// A section.
    Section,
    /// A key below a table of free keys.
    Free,
}

/// Looks a path up; the error is the nearest known path, if one is near.
pub(super) fn find<'a>(known: &'a Dict, path: &[String]) -> Result<Known<'a>, Option<String>> {
    let joined = path.join(".");
    if FREE.contains(&joined.as_str()) {
        return Ok(Known::Section);
    }
    if FREE.iter().any(|free| joined.starts_with(&format!("{free}."))) {
        return Ok(Known::Free);
    }
    let mut table = known;
    for (depth, key) in path.iter().enumerate() {
        match table.get(key) {
            Some(Value::Dict(_, inner)) if depth + 1 == path.len() && !inner.is_empty() => {
                return Ok(Known::Section);
            }
            Some(Value::Dict(_, inner)) => table = inner,
            Some(leaf) if depth + 1 == path.len() => return Ok(Known::Leaf(leaf)),
            _ => return Err(nearest(&joined, leaves(known).iter().map(String::as_str))),
        }
    }
    Ok(Known::Section)
}

/// The dotted paths of all single values.
pub(super) fn leaves(known: &Dict) -> Vec<String> {
    fn walk(table: &Dict, prefix: &str, out: &mut Vec<String>) {
        for (key, value) in table {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                Value::Dict(_, inner) if !inner.is_empty() => walk(inner, &path, out),
                _ => out.push(path),
            }
        }
    }
    let mut out = Vec::new();
    walk(known, "", &mut out);
    out
}

/// The candidate nearest to `word`, if near enough to be what was meant.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or(path).to_owned();
    let distance = |candidate: &str| {
        let whole = strsim::normalized_damerau_levenshtein(word, candidate);
        let tail = strsim::normalized_damerau_levenshtein(&last(word), &last(candidate));
        whole.max(tail * 0.95) + whole * 0.01
    };
    candidates
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(similarity, _)| *similarity >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}

/// Says which keys a dimension does not have; each with the nearest one.
pub(super) fn unknown_in_dimension(given: &Dict) -> Vec<(String, Option<String>)> {
    fn walk(given: &Dict, known: &Dict, prefix: &str, out: &mut Vec<(String, Option<String>)>) {
        for (key, value) in given {
            let path = format!("{prefix}{key}");
            match (known.get(key), value) {
                (None, _) => {
                    let near = nearest(key, known.keys().map(String::as_str));
                    out.push((path, near.map(|key| format!("{prefix}{key}"))));
                }
                (Some(Value::Dict(_, known)), Value::Dict(_, given)) => {
                    walk(given, known, &format!("{path}."), out);
                }
                _ => {}
            }
        }
    }
    let mut out = Vec::new();
    walk(given, &dimension(), "", &mut out);
    out
}
