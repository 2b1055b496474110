//! One source of settings, taken apart into single values with their origin.
//!
//! Decides: which keys of a source are known, and how text from the environment or a flag becomes
//! a value. Never does: judge values (see `load`), or merge sources.

use super::problem::{ConfigProblem, Origin};
use super::schema::{self, Known};
use figment::value::{Dict, Value};
use figment::{Metadata, Profile, Provider};
use std::path::Path;

/// The prefix of our environment variables; sections and keys are joined by two underscores.
pub(super) const PREFIX: &str = "CUPPING__";

/// One setting as one source gave it.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) path: Vec<String>,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

impl Leaf {
    pub(super) fn key(&self) -> String {
        self.path.join(".")
    }

    /// The value inside its sections.
    pub(super) fn nested(&self) -> Dict {
        let (last, sections) = self.path.split_last().expect("a setting has a name");
        let innermost = Dict::from([(last.clone(), self.value.clone())]);
        sections.iter().rev().fold(innermost, |inner, name| {
            Dict::from([(name.clone(), Value::Dict(figment::value::Tag::Default, inner))])
        })
    }
}

impl Provider for Leaf {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.to_string())
    }

    fn data(&self) -> Result<figment::value::Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.nested()))
    }
}

/// What a source held, and what was wrong with it.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) leaves: Vec<Leaf>,
    pub(super) problems: Vec<ConfigProblem>,
}

impl Layer {
    fn problem(&mut self, key: &str, origin: &Origin, message: String) {
        self.problems.push(ConfigProblem { key: key.into(), origin: origin.clone(), message });
    }

    fn unknown(&mut self, key: &str, origin: &Origin, near: Option<String>) {
        let hint = near.map_or_else(
            || "`cupping config init` prints every setting".to_owned(),
            |near| match origin {
                Origin::Environment(_) => format!("did you mean {}?", variable(&near)),
                _ => format!("did you mean `{near}`?"),
            },
        );
        self.problem(key, origin, format!("there is no such setting; {hint}"));
    }

    /// Reads a TOML file.
    pub(super) fn file(&mut self, path: &Path, known: &Dict) {
        let origin = Origin::File(path.to_owned());
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let message = format!(
                    "cannot be read: {error}; name another file with -c or CUPPING_CONFIG, or \
                     write one with `cupping config init`"
                );
                return self.problem("", &origin, message);
            }
        };
        match toml::from_str::<Dict>(&text) {
            Ok(table) => self.table(&table, &mut Vec::new(), &origin, known),
            Err(error) => {
                let message = format!("is not TOML: {}{}", place(&text, &error), error.message());
                self.problem("", &origin, message);
            }
        }
    }

    fn table(&mut self, table: &Dict, path: &mut Vec<String>, origin: &Origin, known: &Dict) {
        for (key, value) in table {
            path.push(key.clone());
            let name = path.join(".");
            match (schema::find(known, path), value) {
                (Err(near), _) => self.unknown(&name, origin, near),
                (Ok(Known::Section), Value::Dict(_, inner)) => {
                    self.table(inner, path, origin, known);
                }
                (Ok(Known::Section), _) => {
                    let message = format!("is a section; write [{name}] and settings below it");
                    self.problem(&name, origin, message);
                }
                (Ok(Known::Leaf(_) | Known::Free), value) => self.leaves.push(Leaf {
                    path: path.clone(),
                    value: value.clone(),
                    origin: origin.clone(),
                }),
            }
            path.pop();
        }
    }

    /// Takes a setting given as text: by an environment variable or by `--set`.
    pub(super) fn text(&mut self, path: Vec<String>, text: &str, origin: Origin, known: &Dict) {
        let name = path.join(".");
        let value = match schema::find(known, &path) {
            Ok(Known::Leaf(default)) => typed(text, default),
            Ok(Known::Free) => Value::from(text),
            Ok(Known::Section) if name == "score.aliases" => typed(text, &Value::from(Dict::new())),
            Ok(Known::Section) => {
                let message = "is a section; name one of its settings".to_owned();
                return self.problem(&name, &origin, message);
            }
            Err(near) => return self.unknown(&name, &origin, near),
        };
        self.leaves.push(Leaf { path, value, origin });
    }

    /// Takes every `CUPPING__…` variable, and `…_FILE` for secrets.
    pub(super) fn environment(&mut self, variables: &[(String, String)], known: &Dict) {
        for (name, text) in variables {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            let path: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
            let origin = Origin::Environment(name.clone());
            let key = path.join(".");
            let secret = key.strip_suffix("_file").filter(|key| schema::SECRETS.contains(key));
            let Some(secret) = secret else {
                self.text(path, text, origin, known);
                continue;
            };
            if variables.iter().any(|(other, _)| *other == variable(secret)) {
                let message = format!("is given twice: here and by {}", variable(secret));
                self.problem(secret, &origin, message);
                continue;
            }
            match std::fs::read_to_string(text) {
                Ok(content) => {
                    let path = secret.split('.').map(str::to_owned).collect();
                    self.text(path, content.trim_end_matches(['\r', '\n']), origin, known);
                }
                Err(error) => {
                    let message =
                        format!("the file {text} with the secret cannot be read: {error}");
                    self.problem(secret, &origin, message);
                }
            }
        }
    }

    /// Takes one `--set key.path=value`.
    pub(super) fn set(&mut self, assignment: &str, known: &Dict) {
        let origin = Origin::Flag("--set");
        let Some((key, text)) = assignment.split_once('=') else {
            let message =
                format!("{assignment:?} has no `=`; write key.path=value, as in retry.delay=1s");
            return self.problem("", &origin, message);
        };
        let key = key.trim();
        let path = match key.strip_prefix("score.aliases.") {
            Some(phrase) => {
                vec!["score".into(), "aliases".into(), phrase.trim_matches('"').into()]
            }
            None => key.split('.').map(|part| part.trim().to_owned()).collect(),
        };
        self.text(path, text, origin, known);
    }
}

/// Where an error is. The line itself is not shown: it may hold a password.
fn place(text: &str, error: &toml::de::Error) -> String {
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return String::new();
    };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: ")
}

/// The environment variable of a setting.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// Text as a value of the default's type, quoted as in TOML or bare; text that does not fit stays
/// text, to be refused with what is allowed.
fn typed(text: &str, default: &Value) -> Value {
    let toml = || {
        let table = toml::from_str::<Dict>(&format!("value = {text}")).ok()?;
        table.into_values().next()
    };
    match default {
        Value::String(..) | Value::Char(..) | Value::Empty(..) => {
            let quoted = text.starts_with(['"', '\'']).then(toml).flatten();
            quoted.unwrap_or_else(|| Value::from(text))
        }
        Value::Array(..) => toml().unwrap_or_else(|| {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::from(items.map(Value::from).collect::<Vec<_>>())
        }),
        _ => toml().unwrap_or_else(|| Value::from(text)),
    }
}
