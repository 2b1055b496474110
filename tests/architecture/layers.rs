//! Which layer may import which, and which outside crate is named where.
//!
//! Decides: the tables. Never does: parse (see `source`).

use super::source::{Source, paths};

/// Each layer with those it may import; siblings do not import each other.
const LAYERS: [(&str, &[&str]); 12] = [
    ("domain", &[]),
    ("resilience", &[]),
    ("config", &["domain", "resilience"]),
    ("telemetry", &["domain", "resilience"]),
    ("index", &["domain", "resilience"]),
    ("txn", &["resilience"]),
    ("store", &["domain", "resilience", "config", "telemetry", "index", "txn"]),
    ("transport", &["domain", "resilience", "config", "telemetry", "index", "txn"]),
    (
        "pipeline",
        &["domain", "resilience", "config", "telemetry", "index", "txn", "store", "transport"],
    ),
    (
        "app",
        &[
            "domain",
            "resilience",
            "config",
            "telemetry",
            "index",
            "txn",
            "store",
            "transport",
            "pipeline",
        ],
    ),
    (
        "admin",
        &[
            "domain",
            "resilience",
            "config",
            "telemetry",
            "index",
            "txn",
            "store",
            "transport",
            "pipeline",
        ],
    ),
    (
        "cli",
        &[
            "domain",
            "resilience",
            "config",
            "telemetry",
            "index",
            "txn",
            "store",
            "transport",
            "pipeline",
            "app",
            "admin",
        ],
    ),
];

/// An outside crate (or module of the standard library), and the only places that may name it.
const OUTSIDERS: [(&[&str], &[&str]); 7] = [
    (&["sqlx"], &["txn", "store", "transport/queue"]),
    (&["redis"], &["txn/redis"]),
    (&["lapin"], &["transport/amqp"]),
    (&["actix"], &["pipeline", "app", "admin"]),
    (&["actix_rt"], &["pipeline", "app", "admin"]),
    (&["actix_web"], &["pipeline", "app", "admin"]),
    (&["std", "env"], &["config"]),
];

/// What the pure layers do without.
const IMPURE: [&str; 9] =
    ["tokio", "sqlx", "redis", "lapin", "actix", "actix_rt", "actix_web", "tracing", "metrics"];

/// The path below `src/`, without the extension: `transport/queue/postgres`.
fn module(source: &Source) -> &str {
    source.name.trim_start_matches("src/").trim_end_matches(".rs")
}

fn layer(source: &Source) -> &str {
    module(source).split('/').next().unwrap_or_default()
}

/// Imports that do not go downward.
pub(crate) fn imports(source: &Source) -> Vec<String> {
    let own = layer(source);
    if matches!(own, "lib" | "main") {
        return Vec::new();
    }
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == own) else {
        return vec![format!("{}: the layer `{own}` is not in the table of layers", source.name)];
    };
    let depth = module(source).split('/').count();
    let mut violations = Vec::new();
    for path in paths(&source.code) {
        let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
        let supers = segments.iter().take_while(|segment| **segment == "super").count();
        let target = match segments.first() {
            Some(&"crate") => segments.get(1),
            Some(&"super") if supers == depth + path.inline_depth => segments.get(supers),
            _ => None,
        };
        let known = |name: &str| LAYERS.iter().any(|(layer, _)| *layer == name);
        if let Some(target) = target
            && known(target)
            && *target != own
            && !allowed.contains(target)
        {
            violations.push(format!(
                "{}:{}: {own} imports {target}; it may import: {}",
                source.name,
                path.line,
                if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") }
            ));
        }
    }
    violations
}

/// Outside crates named where they do not belong.
pub(crate) fn outsiders(source: &Source) -> Vec<String> {
    let place = module(source);
    let own = layer(source);
    let mut violations = Vec::new();
    for path in paths(&source.code) {
        for (outsider, places) in OUTSIDERS {
            let named = path.segments.iter().map(String::as_str).take(outsider.len());
            let inside = |home: &&str| place == *home || place.starts_with(&format!("{home}/"));
            if named.eq(outsider.iter().copied()) && !places.iter().any(inside) {
                let (name, places) = (outsider.join("::"), places.join(", "));
                violations.push(format!(
                    "{}:{}: names {name}; only these do: {places}",
                    source.name, path.line
                ));
            }
        }
        let first = path.segments.first().map_or("", String::as_str);
        if matches!(own, "domain" | "resilience") && IMPURE.contains(&first) {
            violations
                .push(format!("{}:{}: {own} is pure; it names {first}", source.name, path.line));
        }
    }
    violations
}

#[test]
fn a_forbidden_import_is_found_however_it_is_spelt() {
    for (name, text) in [
        ("src/domain/bean.rs", "use crate::store::Store;"),
        ("src/domain/bean.rs", "fn f() { let x = crate::config::Config::default(); }"),
        ("src/domain/bean.rs", "use crate::{domain::x, config::{A, B}};"),
        ("src/domain/bean.rs", "use super::super::telemetry::events;"),
        ("src/domain.rs", "mod tests { use super::super::index::Index; }"),
        ("src/store/postgres.rs", "use crate::transport::Source;"),
        ("src/txn/lock.rs", "use crate::telemetry::events;"),
        ("src/novelty.rs", ""),
    ] {
        assert!(!imports(&Source::of(name, text)).is_empty(), "{name}: {text}");
    }
    for (name, text) in [
        ("src/domain/bean.rs", "use super::dimension::X; // use crate::store::Store;"),
        ("src/domain/bean.rs", "const A: &str = \"crate::store::Store\";"),
        ("src/store/postgres.rs", "use crate::{config::Config, index::BeanChange};"),
        ("src/store/a/b.rs", "mod tests { use super::super::transport; }"),
        ("src/cli/run.rs", "use crate::app::App; use crate::admin::bind;"),
    ] {
        assert_eq!(imports(&Source::of(name, text)), Vec::<String>::new(), "{name}: {text}");
    }
}

#[test]
fn an_outsider_is_found_however_it_is_spelt() {
    for (name, text) in [
        ("src/pipeline/writer.rs", "use sqlx::PgPool;"),
        ("src/transport/amqp.rs", "fn f() -> sqlx::Result<()> {}"),
        ("src/transport/queue.rs", "use lapin::Channel;"),
        ("src/txn/breaker.rs", "use redis::Client;"),
        ("src/cli/run.rs", "use std::{env, fs};"),
        ("src/cli/run.rs", "let x = std::env::var(\"A\");"),
        ("src/telemetry.rs", "use actix_web::App;"),
        ("src/resilience/clock.rs", "use tokio::time::Instant;"),
    ] {
        assert!(!outsiders(&Source::of(name, text)).is_empty(), "{name}: {text}");
    }
    for (name, text) in [
        ("src/transport/queue/postgres.rs", "use sqlx::PgPool;"),
        ("src/transport/amqp/connection.rs", "use lapin::Channel;"),
        ("src/txn/redis/link.rs", "use redis::Client; use super::super::redis::Other;"),
        ("src/config/load.rs", "use std::env;"),
        ("src/cli/run.rs", "let x = env!(\"CARGO_PKG_VERSION\"); // std::env"),
    ] {
        assert_eq!(outsiders(&Source::of(name, text)), Vec::<String>::new(), "{name}: {text}");
    }
}
