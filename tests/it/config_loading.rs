//! Configuration: precedence, origins, every problem at once, secrets hidden, the commented file
//! equal to the defaults.

use cupping::config::{
    Config, ConfigErrors, DEFAULT_TOML, Loaded, LogFormat, Mode, Origin, Sources,
};
use secrecy::ExposeSecret;
use std::path::PathBuf;
use std::time::Duration;

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn sets(assignments: &[&str]) -> Sources {
    Sources { sets: assignments.iter().map(|s| (*s).to_owned()).collect(), ..Sources::default() }
}

fn refused(sources: &Sources) -> ConfigErrors {
    Config::load(sources).expect_err("should have been refused")
}

struct File(tempfile::TempDir);

impl File {
    fn new(content: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("c.toml"), content).expect("writable");
        Self(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("c.toml")
    }
}

fn load_file(content: &str) -> Result<Loaded, ConfigErrors> {
    let file = File::new(content);
    Config::load(&Sources { file: Some(file.path()), ..Sources::default() })
}

#[test]
fn flags_beat_environment_beats_file_beats_defaults() {
    let file = File::new(
        "[retry]\nmax_retries = 1\nmultiplier = 3.0\njitter = 0.2\n[log]\nformat = \"json\"\n",
    );
    let sources = Sources {
        file: Some(file.path()),
        env: env(&[("CUPPING__RETRY__MAX_RETRIES", "2"), ("CUPPING__RETRY__MULTIPLIER", "4")]),
        sets: vec!["retry.max_retries=3".into()],
        log_format: Some(LogFormat::Pretty),
        data_dir: Some("elsewhere".into()),
        ..Sources::default()
    };
    let loaded = Config::load(&sources).expect("valid");
    let retry = &loaded.config.retry;
    assert_eq!((retry.max_retries, retry.delay), (3, Duration::from_millis(500)));
    assert!((retry.multiplier - 4.0).abs() < 1e-9 && (retry.jitter - 0.2).abs() < 1e-9);
    assert_eq!(loaded.config.log.format, LogFormat::Pretty);
    assert_eq!(loaded.config.data.dir, PathBuf::from("elsewhere"));
    assert_eq!(loaded.origin("retry.max_retries"), Origin::Flag("--set"));
    let variable = "CUPPING__RETRY__MULTIPLIER".to_owned();
    assert_eq!(loaded.origin("retry.multiplier"), Origin::Environment(variable));
    assert_eq!(loaded.origin("retry.jitter"), Origin::File(file.path()));
    assert_eq!(loaded.origin("retry.delay"), Origin::Default);
}

#[test]
fn the_variable_names_a_file_and_the_flag_another() {
    let (one, two) =
        (File::new("[score]\nlist_length = 7\n"), File::new("[score]\nlist_length = 8\n"));
    let variable = one.path().to_string_lossy().into_owned();
    let mut sources = Sources { env: env(&[("CUPPING_CONFIG", &variable)]), ..Sources::default() };
    assert_eq!(Config::load(&sources).expect("valid").config.score.list_length.get(), 7);
    sources.file = Some(two.path());
    assert_eq!(Config::load(&sources).expect("valid").config.score.list_length.get(), 8);
}

#[test]
fn every_problem_is_reported_at_once_with_its_origin_and_what_is_allowed() {
    let file = File::new(
        "[retry]\ndelya = \"1s\"\njitter = 2.0\n\
         [database]\nguarded = \"atuo\"\nmax_connections = 0\n\
         [pipelin]\nbatch = 1\n[shutdown]\ngrace = 5\n",
    );
    let sources = Sources {
        file: Some(file.path()),
        env: env(&[
            ("CUPPING__RETRY__MAX_RETRYS", "1"),
            ("CUPPING__PIPELINE__BATCH", "many"),
            ("CUPPING__ADMIN__LISTEN", "nowhere"),
        ]),
        sets: vec!["score.list_lenght=3".into(), "transaction.attempts=-1".into(), "x".into()],
        ..Sources::default()
    };
    let errors = refused(&sources);
    let text = errors.to_string();
    let path = file.path().display().to_string();
    for expected in [
        format!("retry.delya (file {path}): there is no such setting; did you mean `retry.delay`?"),
        format!("retry.jitter (file {path}): 2 is not allowed: give 0 to 1"),
        format!(
            "database.guarded (file {path}): \"atuo\" is not allowed: give one of \"auto\", \
             \"on\", \"off\"; did you mean \"auto\"?"
        ),
        format!("database.max_connections (file {path}): "),
        format!("pipelin (file {path}): there is no such setting"),
        format!("shutdown.grace (file {path}): "),
        "such as \"500ms\"".into(),
        "(environment variable CUPPING__RETRY__MAX_RETRYS): there is no such setting; did you \
         mean CUPPING__RETRY__MAX_RETRIES?"
            .into(),
        "pipeline.batch (environment variable CUPPING__PIPELINE__BATCH): ".into(),
        "admin.listen (environment variable CUPPING__ADMIN__LISTEN): \"nowhere\" is not allowed: \
         give an address and a port"
            .into(),
        "score.list_lenght (flag --set): there is no such setting; did you mean \
         `score.list_length`?"
            .into(),
        "transaction.attempts (flag --set): ".into(),
        "\"x\" has no `=`".into(),
    ] {
        assert!(text.contains(&expected), "{expected}\n--- is not in ---\n{text}");
    }
    assert_eq!(errors.0.len(), 12, "{text}");
}

#[test]
fn a_file_that_is_no_toml_is_refused_without_showing_its_secrets() {
    let errors = load_file("[database]\nurl = \"postgres://u:hunter2@h/d\n").expect_err("refused");
    let text = errors.to_string();
    assert!(text.contains("is not TOML: line 2, column "), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn relations_between_settings_are_held() {
    for (assignments, key) in [
        (&["pipeline.batch=300"][..], "pipeline.batch"),
        (&["transaction.lock_timeout=11s"], "transaction.lock_timeout"),
        (&["transaction.statement_timeout=30s"], "transaction.statement_timeout"),
        (&["retry.multiplier=0.5"], "retry.multiplier"),
        (&["retry.multiplier=nan"], "retry.multiplier"),
        (&["retry.delay=20s"], "retry.delay"),
        (&["transport.url=amqp://h"], "transport.url"),
        (&["transport.url=http://h"], "transport.url"),
        (&["database.url=mysql://h/d"], "database.url"),
        (&["database.url=postgres://u:a#b@h/d"], "database.url"),
        (&["database.url=postgres://h/d", "pipeline.workers=10"], "database.max_connections"),
        (&["transport.amqp.bulk_queue=similarity_calculation"], "transport.amqp.bulk_queue"),
        (&["transport.queue.visibility_timeout=100ms"], "transport.queue.visibility_timeout"),
        (&["catalogue.similarity.source=score"], "catalogue.similarity.source"),
        (&["catalogue.dimensions=[]"], "catalogue.dimensions"),
        (&["log.level=inof"], "log.level"),
        (&["transaction.max_rows=10"], "transaction.max_rows"),
    ] {
        let errors = refused(&sets(assignments));
        assert!(errors.0.iter().any(|p| p.key == key), "{assignments:?} gave {errors}");
        assert!(errors.0.iter().all(|p| p.origin == Origin::Flag("--set")), "{errors}");
    }
}

#[test]
fn every_problem_of_the_dimensions_is_reported_at_once() {
    let errors = load_file(
        r#"
        [[catalogue.dimensions]]
        name = "grape"
        weight = 0.5
        prior = 1.5
        expansion = { kind = "tree", levels = [] }
        values = { table = "grape" }
        [[catalogue.dimensions]]
        name = "grape"
        weight = 0.5
        prior = 0.1
        expansion = { kind = "ordinal", own = 1, neighbour = 0.5 }
        values = { table = "sweetness" }
        join = { table = "wine_sweetness", from = "wine", to = "sweetness" }
        "#,
    )
    .expect_err("refused")
    .to_string();
    for expected in [
        "catalogue.dimensions[1].prior",
        "catalogue.dimensions[1].expansion.levels",
        "catalogue.dimensions[1].join",
        "catalogue.dimensions[2].name",
        "catalogue.dimensions[2].values.rank",
    ] {
        assert!(errors.contains(expected), "{expected} is not in {errors}");
    }
    let errors = load_file(
        r#"
        [[catalogue.dimensions]]
        name = "a"
        wieght = 0.5
        [[catalogue.dimensions]]
        name = "b"
        weight = 0.12345
        prior = 0
        expansion = { kind = "flat" }
        "#,
    )
    .expect_err("refused")
    .to_string();
    assert!(
        errors.contains("catalogue.dimensions[1].wieght") && errors.contains("`weight`"),
        "{errors}"
    );
    assert!(
        errors.contains("catalogue.dimensions[2]") && errors.contains("three decimal"),
        "{errors}"
    );
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let secret = dir.path().join("url");
    std::fs::write(&secret, "postgres://u:hunter2@h/d\n").expect("writable");
    let file = secret.to_string_lossy().into_owned();
    let sources = Sources {
        env: env(&[
            ("CUPPING__DATABASE__URL_FILE", &file),
            ("CUPPING__TRANSPORT__AMQP__CLIENT_IDENTITY_PASSWORD", "hunter2"),
            ("CUPPING__TRANSPORT__URL", "amqp://u:hunter2@h/%2f"),
        ]),
        ..Sources::default()
    };
    let loaded = Config::load(&sources).expect("valid");
    assert_eq!(loaded.config.database.url.expose_secret(), "postgres://u:hunter2@h/d");
    assert_eq!(loaded.config.mode(), Mode::Broker);
    let shown = loaded.show();
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(!format!("{loaded:?}").contains("hunter2"));
    assert!(shown.contains("url = \"postgres://u:***@h/d\"  # environment variable"), "{shown}");
    assert!(shown.contains("client_identity_password = \"***\""), "{shown}");

    let mut twice = sources;
    twice.env.push(("CUPPING__DATABASE__URL".into(), "postgres://u:hunter2@h/e".into()));
    let errors = refused(&twice).to_string();
    assert!(errors.contains("is given twice") && !errors.contains("hunter2"), "{errors}");
    let missing = Sources {
        env: env(&[("CUPPING__DATABASE__URL_FILE", "nowhere/at/all")]),
        ..Sources::default()
    };
    assert!(refused(&missing).to_string().contains("nowhere/at/all"));
}

#[test]
fn the_commented_file_equals_the_defaults_and_names_every_setting() {
    let from_file = load_file(DEFAULT_TOML).expect("the shipped file is valid");
    let defaults = Config::load(&Sources::default()).expect("the defaults are valid");
    let text = |config: &Config| serde_json::to_string_pretty(config).expect("serialises");
    assert_eq!(text(&from_file.config), text(&defaults.config));

    let mut section = String::new();
    let mut named = std::collections::BTreeSet::new();
    for line in DEFAULT_TOML.lines() {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_matches(['[', ']']).to_owned();
            named.insert(section.clone());
        } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") {
            named.insert(format!("{section}.{key}"));
        }
    }
    let json = serde_json::to_value(&defaults.config).expect("serialises");
    let mut missing = Vec::new();
    keys(&json, "", &mut |key| {
        if !named.contains(key) {
            missing.push(key.to_owned());
        }
    });
    assert!(missing.is_empty(), "config/cupping.toml does not name {missing:?}");

    let docs = include_str!("../../docs/CONFIGURATION.md");
    keys(&json, "", &mut |key| {
        assert!(docs.contains(&format!("`{key}`")), "docs/CONFIGURATION.md lacks `{key}`");
    });
}

/// Calls `each` with the dotted path of every setting.
fn keys(json: &serde_json::Value, path: &str, each: &mut impl FnMut(&str)) {
    match json {
        serde_json::Value::Object(table) if !table.is_empty() => {
            for (key, value) in table {
                let dot = if path.is_empty() { "" } else { "." };
                keys(value, &format!("{path}{dot}{key}"), each);
            }
        }
        _ => each(path),
    }
}

#[test]
fn what_is_shown_can_be_read_again() {
    let sources = sets(&[
        "retry.max_retries=3",
        "score.aliases.\"cherry cola\"=fruity.other-fruit.cherry",
        r"transport.accepted_types=App\Message\One, Two",
    ]);
    let loaded = Config::load(&sources).expect("valid");
    assert_eq!(loaded.config.transport.accepted_types, [r"App\Message\One", "Two"]);
    let shown = loaded.show();
    let again = load_file(&shown).unwrap_or_else(|errors| panic!("{errors}\n{shown}"));
    let text = |config: &Config| serde_json::to_string_pretty(config).expect("serialises");
    assert_eq!(text(&again.config), text(&loaded.config), "{shown}");
    assert_eq!(again.config.fingerprint(), loaded.config.fingerprint());
}

#[test]
fn configured_aliases_join_the_built_in_ones() {
    let config = Config::load(&sets(&["score.aliases.Cherry  Cola=fruity.cherry"])).expect("valid");
    let settings = config.config.score_settings();
    assert_eq!(settings.aliases.get("cherry cola").map(String::as_str), Some("fruity.cherry"));
    assert!(settings.aliases.len() > 1);
    assert_eq!(settings.dimensions.iter().map(|d| d.weight).sum::<u32>(), 1000);
    assert_eq!(config.config.ladder().steps().len(), 5);
}

#[test]
fn a_file_that_cannot_be_read_or_parsed_says_where() {
    let errors = load_file("[retry\n").expect_err("refused").to_string();
    assert!(errors.contains("is not TOML") && errors.contains("line 1"), "{errors}");
    let nowhere = Sources { file: Some("nowhere.toml".into()), ..Sources::default() };
    let errors = refused(&nowhere).to_string();
    assert!(errors.contains("file nowhere.toml: cannot be read"), "{errors}");
}
