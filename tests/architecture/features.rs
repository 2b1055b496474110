//! The toolkit alone: what `--no-default-features --features txn,postgres` brings into a build.
//!
//! Decides: which crates must stay out. Never does: build anything (`cargo tree` reads the lock
//! file).

use std::collections::BTreeSet;
use std::process::Command;

/// The crates in the toolkit's build, ours left out; the direct ones only with depth 1.
fn tree(depth: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none"])
        .args(["--no-default-features", "--features", "txn,postgres"])
        .args(depth)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs its own tests");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = text.lines().filter_map(|line| line.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "cupping").map(str::to_owned).collect()
}

/// What the feature `service` enables in our manifest, as package names.
fn of_the_service() -> BTreeSet<String> {
    let manifest = include_str!("../../Cargo.toml");
    let (_, rest) = manifest.split_once("\nservice = [").expect("the feature is there");
    let (list, _) = rest.split_once("\n]").expect("the list ends");
    let names = list.split('"').filter_map(|word| word.strip_prefix("dep:"));
    // Renamed in the manifest.
    names.map(|name| if name == "figment" { "figment2".into() } else { name.to_owned() }).collect()
}

#[test]
fn the_toolkit_builds_without_the_service_s_dependencies() {
    let service = of_the_service();
    assert!(service.contains("lapin") && service.contains("actix"), "the list was not read");
    let direct = tree(&["--depth", "1"]);
    assert!(direct.contains("sqlx"), "the tree was not read: {direct:?}");
    let named: Vec<&String> = direct.intersection(&service).collect();
    assert!(named.is_empty(), "the toolkit alone depends on {named:?}");
    // Small crates such as `url` come with sqlx; these can come only from us.
    let all = tree(&[]);
    let large = ["actix", "actix-rt", "actix-web", "lapin", "amq-protocol", "clap", "figment2"];
    let larger = ["rayon", "csv", "tracing-subscriber", "metrics-exporter-prometheus", "redis"];
    let others = ["sqlx-mysql", "sqlx-sqlite", "libsqlite3-sys"];
    for name in [large.as_slice(), &larger, &others].concat() {
        assert!(!all.contains(name), "the toolkit alone builds {name}");
    }
}
