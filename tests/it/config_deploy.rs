//! What is shipped for deployment uses settings that exist, and a worker that scales.

use cupping::config::{Config, Mode, Sources};

const COMPOSE: &str = include_str!("../../docker-compose.yml");
const DOCKERFILE: &str = include_str!("../../Dockerfile");
const INIT: &str = include_str!("../../deploy/postgres-init.sh");
const UNIT: &str = include_str!("../../deploy/cupping.service");

/// Every `CUPPING__…` name with its value: `NAME=value` or `NAME: value`.
fn variables(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let mut words = line.split_whitespace();
        while let Some(word) = words.next() {
            let pair = match word.strip_suffix(':') {
                Some(name) => words.next().map(|value| (name, value)),
                None => word.split_once('='),
            };
            found.extend(pair.filter(|(name, _)| name.starts_with("CUPPING__")));
        }
    }
    found.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_containers_environment_is_valid_and_chooses_the_broker() {
    let mut env = variables(COMPOSE);
    env.extend(variables(DOCKERFILE));
    for name in [
        "CUPPING__DATABASE__URL",
        "CUPPING__TRANSPORT__URL",
        "CUPPING__DATA__DIR",
        "CUPPING__ADMIN__LISTEN",
        "CUPPING__LOG__FORMAT",
    ] {
        assert!(env.iter().any(|(found, _)| found == name), "{name} is not in {env:?}");
    }
    let loaded = Config::load(&Sources { env, ..Sources::default() });
    assert_eq!(loaded.expect("valid settings").config.mode(), Mode::Broker);
}

#[test]
fn containers_log_in_with_the_least_rights_and_only_migrate_is_the_owner() {
    let service = |name: &str| {
        let after = COMPOSE.split_once(&format!("\n  {name}:\n")).expect("a service").1;
        after.lines().take_while(|line| line.is_empty() || line.starts_with("    ")).collect()
    };
    let (migrate, worker, sample): (String, String, String) =
        (service("migrate"), service("worker"), service("sample"));
    assert!(migrate.contains("\"--grant\"") && migrate.contains("postgres://cupping:"));
    assert!(sample.contains("postgres://importer:"), "{sample}");
    assert!(!worker.contains("postgres://"), "it logs in as the shared setting says: {worker}");
    let shared = COMPOSE.split_once("\nservices:").expect("services").0;
    assert!(shared.contains("postgres://worker:"), "{shared}");
    for role in ["worker LOGIN", "importer LOGIN"] {
        assert!(INIT.contains(&format!("CREATE ROLE {role}")), "{role}");
    }
}

#[test]
fn the_service_names_settings_that_exist() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = [("database_url", "postgres://u:p@h/d"), ("transport_url", "amqp://u:p@h/%2f")];
    for (name, content) in files {
        std::fs::write(dir.path().join(name), content).expect("writable");
    }
    let credentials = dir.path().to_string_lossy().into_owned();
    let env: Vec<(String, String)> = UNIT
        .lines()
        .filter_map(|line| line.strip_prefix("Environment=")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.replace("%d", &credentials)))
        .collect();
    assert!(env.len() >= 3, "{env:?}");
    let loaded = Config::load(&Sources { env, ..Sources::default() });
    assert_eq!(loaded.expect("valid settings").config.mode(), Mode::Broker);
}

#[test]
fn workers_scale_without_clashing_and_may_finish_their_drain() {
    let worker: Vec<&str> = COMPOSE
        .lines()
        .skip_while(|line| *line != "  worker:")
        .skip(1)
        .take_while(|line| line.is_empty() || line.starts_with("    ") || line.starts_with("  #"))
        .collect();
    assert!(worker.iter().any(|line| line.contains("command: [\"run\"]")), "{worker:?}");
    for clash in ["ports:", "container_name:", "hostname:"] {
        assert!(!worker.iter().any(|line| line.trim().starts_with(clash)), "{clash} in worker");
    }
    let grace = |text: &str, key: &str| -> u64 {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key));
        line.and_then(|value| value.trim_end_matches('s').parse().ok()).expect("seconds")
    };
    let drain = Config::default().shutdown.grace.as_secs();
    assert!(grace(&worker.join("\n"), "stop_grace_period: ") > drain);
    assert!(grace(UNIT, "TimeoutStopSec=") > drain);
}
