//! The house rules, held: layers, who may name what, sizes, forbidden habits.
//!
//! Decides: what every source file must look like; reports all violations at once.
//! Never does: judge style that rustfmt and clippy judge already.

mod examples;
mod features;
mod layers;
mod links;
mod source;

use source::{Source, functions};
use std::path::{Path, PathBuf};

const MAX_FILE_LINES: usize = 350;
const MAX_FUNCTION_LINES: usize = 70;
const MAX_COLUMNS: usize = 100;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `dir`, build output and hidden folders left out, in order of name.
fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    let skipped = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        matches!(name, "target" | "tmp" | "cupping-data") || name.starts_with(".git")
    };
    paths
        .into_iter()
        .filter(|path| !skipped(path))
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}

/// Our Rust sources below the given folders.
fn sources(folders: &[&str]) -> Vec<Source> {
    folders
        .iter()
        .flat_map(|folder| files(&root().join(folder)))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| Source::read(&root(), &path))
        .collect()
}

fn hold(violations: &[String]) {
    assert!(
        violations.is_empty(),
        "{} violations of the house rules:\n  {}",
        violations.len(),
        violations.join("\n  ")
    );
}

const ALL: [&str; 4] = ["src", "tests", "benches", "examples"];

#[test]
fn imports_go_strictly_downward_through_the_layers() {
    let all = sources(&["src"]);
    assert!(all.len() > 20, "the sources were not found");
    hold(&all.iter().flat_map(layers::imports).collect::<Vec<_>>());
}

#[test]
fn each_outside_crate_is_named_only_where_it_belongs() {
    hold(&sources(&["src"]).iter().flat_map(layers::outsiders).collect::<Vec<_>>());
}

#[test]
fn every_file_says_what_it_is_and_stays_readable() {
    let mut violations = Vec::new();
    for source in sources(&ALL) {
        let name = &source.name;
        if name.ends_with("/mod.rs") {
            violations.push(format!("{name}: write foo.rs beside foo/, not foo/mod.rs"));
        }
        if !source.text.starts_with("//!") {
            violations
                .push(format!("{name}: must open with //! (what it is, decides, never does)"));
        }
        let lines = source.text.lines().count();
        if lines > MAX_FILE_LINES {
            violations.push(format!("{name}: {lines} lines, at most {MAX_FILE_LINES}: split it"));
        }
        for (number, line) in source.text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > MAX_COLUMNS {
                let at = number + 1;
                violations.push(format!("{name}:{at}: {columns} columns, at most {MAX_COLUMNS}"));
            }
        }
        for function in functions(&source.code) {
            if function.lines > MAX_FUNCTION_LINES {
                violations.push(format!(
                    "{name}:{}: fn {} has {} lines, at most {MAX_FUNCTION_LINES}",
                    function.line, function.name, function.lines
                ));
            }
        }
    }
    hold(&violations);
}

/// What no source may contain, where (a prefix of the file's name), and why. Spelt in two halves
/// in the tables, so that this file does not contain it.
const FORBIDDEN: [(&str, &str, &str, &str); 9] = [
    ("todo", "!(", "", "nothing is pretended: build it or leave it out"),
    ("unimplemented", "!(", "", "nothing is pretended: build it or leave it out"),
    ("dbg", "!(", "", "log through telemetry::events"),
    ("#[igno", "re", "", "a skipped test is a defect"),
    ("do_", "send(", "", "ignores the mailbox's capacity: send().await or try_send"),
    ("unbounded_", "channel", "", "everything has a limit"),
    ("unbounded", "(", "", "everything has a limit"),
    ("std::sync::mpsc::", "channel", "", "everything has a limit: sync_channel"),
    ("sleep", "(", "tests/", "wait for a condition, a barrier or a notification"),
];

#[test]
fn forbidden_habits_are_nowhere() {
    let mut violations = Vec::new();
    for source in sources(&ALL) {
        for (number, line) in source.code.lines().enumerate() {
            for (start, end, place, why) in FORBIDDEN {
                if source.name.starts_with(place) && source::names(line, &[start, end].concat()) {
                    let at = number + 1;
                    violations.push(format!("{}:{at}: {start}{end}: {why}", source.name));
                }
            }
        }
    }
    hold(&violations);
}

#[test]
fn every_public_item_of_the_toolkit_has_an_example() {
    let toolkit = sources(&["src/txn", "src/resilience"]);
    assert!(toolkit.len() > 40, "the sources were not found");
    hold(&examples::missing(&toolkit));
}

#[test]
fn links_between_pages_lead_somewhere_and_every_guide_is_in_the_index() {
    let pages = files(&root()).into_iter().filter(|path| path.extension() == Some("md".as_ref()));
    let mut violations = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("a readable page");
        let folder = page.parent().expect("a file is in a folder");
        for (line, target) in links::targets(&text) {
            if !folder.join(target).exists() {
                violations.push(format!("{}:{line}: {target} is not there", page.display()));
            }
        }
    }
    let guides = root().join("docs/guides");
    let index = std::fs::read_to_string(guides.join("README.md")).expect("an index");
    for guide in files(&guides) {
        let name = guide.file_name().expect("a file has a name").to_string_lossy().into_owned();
        if name != "README.md" && !index.contains(&format!("]({name})")) {
            violations.push(format!("docs/guides/README.md: {name} is not listed"));
        }
    }
    hold(&violations);
}

#[test]
fn nothing_names_a_path_of_somebody_s_machine() {
    let folders = [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["/Us", "ers/"]];
    let mut violations = Vec::new();
    for path in files(&root()) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue }; // not text
        for (number, line) in text.lines().enumerate() {
            for folder in &folders {
                if line.contains(&folder.concat()) {
                    let name = path.strip_prefix(root()).unwrap_or(&path).display();
                    violations.push(format!("{name}:{}: {}", number + 1, folder.concat()));
                }
            }
        }
    }
    hold(&violations);
}

#[test]
fn every_dependency_says_why_it_is_here() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("readable");
    let reasons = std::fs::read_to_string(root().join("docs/decisions/0001-dependencies.md"));
    let reasons = reasons.expect("readable");
    let mut section = "";
    let mut named = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]")
            && let Some((name, rest)) = line.split_once(" = ")
        {
            let renamed = rest.split_once("package = \"").and_then(|(_, r)| r.split('"').next());
            named.push(format!("| `{}` |", renamed.unwrap_or(name)));
        }
    }
    let listed: Vec<&str> = reasons.lines().filter(|line| line.starts_with("| `")).collect();
    let missing = named.iter().filter(|name| !listed.iter().any(|l| l.starts_with(*name)));
    let surplus = listed.iter().filter(|l| !named.iter().any(|name| l.starts_with(name)));
    hold(&missing.map(|n| format!("no reason: {n}")).collect::<Vec<_>>());
    hold(&surplus.map(|l| format!("not in Cargo.toml: {l}")).collect::<Vec<_>>());
}
