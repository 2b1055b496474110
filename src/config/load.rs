//! Loading: all sources read, checked value by value, merged in order of precedence, validated.
//!
//! Decides: precedence (defaults < file < environment < flags) and that every problem of every
//! source is reported at once. Never does: connect to anything.

use super::layer::{Layer, Leaf};
use super::problem::{ConfigErrors, ConfigProblem, Origin};
use super::{Config, DimensionConfig, LogFormat, schema, validate};
use figment::Figment;
use figment::error::Kind;
use figment::value::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Used when it exists and no other file is named.
const DEFAULT_FILE: &str = "cupping.toml";

/// Names the file when no flag does.
const FILE_VARIABLE: &str = "CUPPING_CONFIG";

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `-c/--config`; unset: the variable `CUPPING_CONFIG`, else `./cupping.toml` if there is one.
    pub file: Option<PathBuf>,
    /// Each `--set key.path=value`.
    pub sets: Vec<String>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--log-format`.
    pub log_format: Option<LogFormat>,
    /// The level that `-v` or `-q` ask for.
    pub log_level: Option<String>,
    /// The environment; [`Sources::from_environment`] takes the process's own.
    pub env: Vec<(String, String)>,
}

impl Sources {
    /// The process's environment, and no flags.
    #[must_use]
    pub fn from_environment() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { env: std::env::vars_os().filter_map(text).collect(), ..Self::default() }
    }

    /// The process's arguments, as they were given; the program's name is not among them.
    pub fn arguments() -> impl Iterator<Item = std::ffi::OsString> {
        std::env::args_os().skip(1)
    }

    /// Whether colours are unwelcome (`NO_COLOR` is set and not empty).
    #[must_use]
    pub fn no_color(&self) -> bool {
        self.variable("NO_COLOR").is_some_and(|value| !value.is_empty())
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn config_file(&self) -> Option<PathBuf> {
        let named = self.variable(FILE_VARIABLE).filter(|path| !path.is_empty());
        self.file.clone().or_else(|| named.map(PathBuf::from)).or_else(|| {
            let path = Path::new(DEFAULT_FILE);
            path.is_file().then(|| path.to_owned())
        })
    }
}

/// Settings, and where each came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Origin by dotted key; a key that is not in it has its default.
    pub origins: BTreeMap<String, Origin>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

impl Loaded {
    /// Where a setting came from.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }
}

impl Config {
    /// Loads, checks and validates all settings.
    ///
    /// # Errors
    /// [`ConfigErrors`] with every problem of every source, each with its origin.
    pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
        let known = schema::settings();
        let file = sources.config_file();
        let mut layer = Layer::default();
        if let Some(path) = &file {
            layer.file(path, &known);
        }
        layer.environment(&sources.env, &known);
        for assignment in &sources.sets {
            layer.set(assignment, &known);
        }
        for (key, value, flag) in flags(sources) {
            let path = key.split('.').map(str::to_owned).collect();
            layer.leaves.push(Leaf { path, value: value.into(), origin: Origin::Flag(flag) });
        }

        let Layer { leaves, mut problems } = layer;
        let mut figment = Figment::new();
        let mut origins = BTreeMap::new();
        for leaf in leaves {
            let found = check(&leaf);
            if found.is_empty() {
                origins.insert(leaf.key(), leaf.origin.clone());
                figment = figment.merge(leaf);
            }
            problems.extend(found);
        }
        let config: Config = figment.extract().map_err(|error| {
            let origin = Origin::Default;
            ConfigErrors(vec![ConfigProblem { key: String::new(), origin, message: say(&error) }])
        })?;
        let broken: Vec<String> = problems.iter().map(|problem| problem.key.clone()).collect();
        for finding in validate::all(&config) {
            if broken.iter().any(|key| finding.about(key)) {
                continue; // it was judged by a default that nobody asked for
            }
            let origin = finding.keys.iter().find_map(|key| origins.get(*key).cloned());
            problems.push(ConfigProblem {
                key: finding.key,
                origin: origin.unwrap_or(Origin::Default),
                message: finding.message,
            });
        }
        if problems.is_empty() {
            Ok(Loaded { config, origins, file })
        } else {
            Err(ConfigErrors(problems))
        }
    }
}

fn flags(sources: &Sources) -> Vec<(&'static str, String, &'static str)> {
    let format = sources.log_format.map(|format| match format {
        LogFormat::Auto => "auto",
        LogFormat::Pretty => "pretty",
        LogFormat::Json => "json",
    });
    let dir = sources.data_dir.as_ref().map(|dir| dir.to_string_lossy().into_owned());
    [
        dir.map(|dir| ("data.dir", dir, "--data-dir")),
        format.map(|format| ("log.format", format.to_owned(), "--log-format")),
        sources.log_level.clone().map(|level| ("log.level", level, "-v/-q")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What is wrong with one value, taken by itself.
fn check(leaf: &Leaf) -> Vec<ConfigProblem> {
    let key = leaf.key();
    let problem =
        |key: String, message: String| ConfigProblem { key, origin: leaf.origin.clone(), message };
    if key == schema::DIMENSIONS
        && let Value::Array(_, dimensions) = &leaf.value
    {
        return dimensions
            .iter()
            .enumerate()
            .flat_map(|(i, value)| check_dimension(value).into_iter().map(move |p| (i, p)))
            .map(|(i, (path, message))| {
                problem(
                    format!("{key}[{}]{}{path}", i + 1, if path.is_empty() { "" } else { "." }),
                    message,
                )
            })
            .collect();
    }
    match Figment::from(leaf).extract::<Config>() {
        Ok(_) => Vec::new(),
        Err(_) if schema::SECRETS.contains(&key.as_str()) => {
            vec![problem(key, "is not text".into())]
        }
        Err(errors) => {
            errors.into_iter().map(|e| problem(key.clone(), say_of(&leaf.value, &e))).collect()
        }
    }
}

fn check_dimension(value: &Value) -> Vec<(String, String)> {
    let unknown = match value {
        Value::Dict(_, table) => schema::unknown_in_dimension(table),
        _ => Vec::new(),
    };
    if !unknown.is_empty() {
        let message = |near: Option<String>| match near {
            Some(near) => format!("there is no such setting; did you mean `{near}`?"),
            None => "there is no such setting in a dimension".into(),
        };
        return unknown.into_iter().map(|(path, near)| (path, message(near))).collect();
    }
    match value.deserialize::<DimensionConfig>() {
        Ok(_) => Vec::new(),
        Err(errors) => errors.into_iter().map(|e| (e.path.join("."), say(&e))).collect(),
    }
}

/// What was found and what is allowed, where the error itself may not tell what was found.
fn say_of(value: &Value, error: &figment::Error) -> String {
    let shown = serde_json::to_string(value).unwrap_or_default();
    let said = say(error);
    match (&error.kind, value) {
        (Kind::Message(_), Value::Dict(..) | Value::Array(..)) => said,
        (Kind::Message(_), _) if !said.contains(shown.trim_matches('"')) => {
            format!("{shown} {said}")
        }
        _ => said,
    }
}

/// What was found and what is allowed, for people.
fn say(error: &figment::Error) -> String {
    match &error.kind {
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            format!("{found} is not allowed: give {}", allowed(expected))
        }
        Kind::UnknownVariant(found, expected) => {
            let near = schema::nearest(found, expected.iter().copied());
            let hint = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
            let list: Vec<String> = expected.iter().map(|e| format!("\"{e}\"")).collect();
            format!("\"{found}\" is not allowed: give one of {}{hint}", list.join(", "))
        }
        Kind::UnknownField(found, expected) => {
            format!("`{found}` does not belong here; these do: {}", expected.join(", "))
        }
        Kind::MissingField(field) => format!("`{field}` is missing"),
        Kind::Message(message) if message.contains("socket address") => {
            "is not allowed: give an address and a port, such as 127.0.0.1:9464".into()
        }
        kind => kind.to_string(),
    }
}

/// An expectation in plain words.
fn allowed(expected: &str) -> String {
    match expected {
        "a duration" => "a duration, such as \"500ms\", \"10s\" or \"2m\"".into(),
        "f32" | "f64" => "a number".into(),
        "a boolean" => "true or false".into(),
        "a string" | "path string" => "text".into(),
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" | "u64" | "usize" => "a whole number from 0".into(),
        other if other.contains("nonzero") => "a whole number from 1".into(),
        other => other.into(),
    }
}
