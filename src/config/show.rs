//! The settings in effect, as TOML, each with where it came from.
//!
//! Decides: order and form of `cupping config show`. Never does: show a secret.

use super::{Loaded, Origin, schema};
use figment::value::{Dict, Value};
use std::fmt::Write;

impl Loaded {
    /// The settings in effect as TOML; what is not a default says its origin in a comment.
    /// Secrets are shown as `***`, unset settings as comments.
    #[must_use]
    pub fn show(&self) -> String {
        let settings = Value::serialize(&self.config).ok().and_then(Value::into_dict);
        let settings = settings.expect("settings serialise to a table");
        let mut out = String::new();
        if let Some(file) = &self.file {
            push(&mut out, format_args!("# file: {}\n", file.display()));
        }
        self.section(&settings, "", &mut out);
        out
    }

    fn section(&self, table: &Dict, path: &str, out: &mut String) {
        let is_section = |value: &Value| matches!(value, Value::Dict(..));
        let key_of = |key: &str| if path.is_empty() { key.into() } else { format!("{path}.{key}") };
        if table.is_empty() || table.values().any(|value| !is_section(value)) {
            push(out, format_args!("\n[{path}]\n"));
        }
        for (key, value) in table.iter().filter(|(_, value)| !is_section(value)) {
            let name = key_of(key);
            if name == schema::DIMENSIONS {
                continue; // below, as tables of their own
            }
            let origin = self.note(&name);
            match value {
                Value::Empty(..) => push(out, format_args!("# {key} is unset\n")),
                value => push(out, format_args!("{} = {}{origin}\n", quoted(key), inline(value))),
            }
        }
        for (key, value) in table {
            match value {
                Value::Dict(_, inner) => self.section(inner, &key_of(key), out),
                Value::Array(_, dimensions) if key_of(key) == schema::DIMENSIONS => {
                    for dimension in dimensions {
                        let note = self.note(schema::DIMENSIONS);
                        push(out, format_args!("\n[[{}]]{note}\n", schema::DIMENSIONS));
                        dimension.as_dict().into_iter().flatten().for_each(|(key, value)| {
                            if !matches!(value, Value::Empty(..)) {
                                push(out, format_args!("{key} = {}\n", inline(value)));
                            }
                        });
                    }
                }
                _ => {}
            }
        }
    }

    fn note(&self, key: &str) -> String {
        let below = || {
            let prefix = format!("{key}.");
            self.origins.iter().find(|(name, _)| name.starts_with(&prefix)).map(|(_, o)| o.clone())
        };
        match self.origins.get(key).cloned().or_else(below) {
            None | Some(Origin::Default) => String::new(),
            Some(origin) => format!("  # {origin}"),
        }
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a String does not fail");
}

fn quoted(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) { key.into() } else { string(key) }
}

fn string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A value on one line.
fn inline(value: &Value) -> String {
    match value {
        Value::String(_, text) => string(text),
        Value::Char(_, c) => string(&c.to_string()),
        Value::Bool(_, yes) => yes.to_string(),
        Value::Num(_, number) => match (number.to_i128(), number.to_f64()) {
            (Some(whole), _) => whole.to_string(),
            (None, Some(real)) => format!("{real:?}"),
            (None, None) => number.to_u128().map(|n| n.to_string()).unwrap_or_default(),
        },
        Value::Empty(..) => "\"\"".into(),
        Value::Array(_, items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Dict(_, table) => {
            let set = table.iter().filter(|(_, value)| !matches!(value, Value::Empty(..)));
            let pairs: Vec<String> =
                set.map(|(key, value)| format!("{} = {}", quoted(key), inline(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}
