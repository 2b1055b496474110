//! Which public items of the toolkit lack an example in their documentation.
//!
//! Decides: what counts as an item, as its documentation, and as an example. Never does: run one
//! (`cargo test --doc` does).

use super::source::Source;
use std::collections::BTreeSet;

/// Words that may stand between `pub` and the kind of an item.
const QUALIFIERS: [&str; 3] = ["async", "const", "unsafe"];
const KINDS: [&str; 4] = ["fn", "struct", "enum", "trait"];
/// How a method's documentation names the example that shows it.
const REFERENCE: &str = "Example: see [`";

/// Violations in the sources of the toolkit.
pub(crate) fn missing(sources: &[Source]) -> Vec<String> {
    let exported: BTreeSet<&str> = sources.iter().flat_map(exports).collect();
    let open: BTreeSet<String> = sources.iter().flat_map(public_modules).collect();
    sources.iter().flat_map(|source| missing_in(source, &exported, &open)).collect()
}

fn missing_in(source: &Source, exported: &BTreeSet<&str>, open: &BTreeSet<String>) -> Vec<String> {
    let text: Vec<&str> = source.text.lines().collect();
    let code: Vec<&str> = source.code.lines().collect();
    let tests = code.iter().position(|line| line.trim() == "mod tests {").unwrap_or(code.len());
    let mut violations = Vec::new();
    let mut of = "";
    for (at, line) in code[..tests].iter().enumerate() {
        if line.starts_with("impl") {
            of = implemented(line);
        }
        let Some((kind, name)) = item(line) else { continue };
        let documentation = documentation(&text[..at], &code[..at]);
        let has = |attribute: &str| documentation.iter().any(|line| line.starts_with(attribute));
        let method = line.starts_with(' ');
        let public = match kind {
            // An exported macro is hidden at the root of the crate and shown where it belongs.
            "macro_rules!" => has("#[macro_export]"),
            _ if has("#[doc(hidden)]") => false,
            "fn" if method => exported.contains(of),
            // What else stands inside of a block is in a private module.
            _ => !method && (exported.contains(name) || open.contains(&source.name)),
        };
        let referred = method && documentation.iter().any(|line| line.contains(REFERENCE));
        if public && !referred && !has_example(&documentation) {
            violations.push(format!("{}:{}: {name} has no example", source.name, at + 1));
        }
    }
    violations
}

/// The names that a file hands on, and those that it declares for everybody (with more besides,
/// which matches nothing).
fn exports(source: &Source) -> Vec<&str> {
    let mut words = Vec::new();
    for (at, keyword) in source.code.match_indices("pub use ") {
        let tree = source.code[at + keyword.len()..].split(';').next().unwrap_or_default();
        words.extend(tree.split(|c: char| !c.is_alphanumeric() && c != '_'));
    }
    words
}

/// The files of the modules that a file makes public.
fn public_modules(source: &Source) -> Vec<String> {
    let folder = source.name.trim_end_matches(".rs");
    let declared = source.code.lines().filter_map(|line| line.strip_prefix("pub mod "));
    declared.map(|name| format!("{folder}/{}.rs", name.trim_end_matches(';'))).collect()
}

/// The type of an `impl`.
fn implemented(line: &str) -> &str {
    let mut rest = line.trim_start_matches("impl");
    if rest.starts_with('<') {
        let mut depth = 0;
        let end = rest.find(|c| {
            depth += i32::from(c == '<') - i32::from(c == '>');
            depth == 0
        });
        rest = &rest[end.map_or(0, |end| end + 1)..];
    }
    let of = rest.split(" for ").last().unwrap_or_default().trim();
    of.split(['<', ' ']).next().unwrap_or_default()
}

/// The kind and the name of the public item that a line declares.
fn item(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_whitespace();
    match words.next()? {
        kind @ "macro_rules!" => return Some((kind, words.next()?)),
        "pub" => {}
        _ => return None,
    }
    let kind = words.find(|word| !QUALIFIERS.contains(word))?;
    let name = words.next().filter(|_| KINDS.contains(&kind))?;
    Some((kind, name.split(['(', '<', ';', ':', '{']).next()?))
}

/// The comments and attributes directly above an item, without their indentation.
fn documentation<'t>(text: &[&'t str], code: &[&str]) -> Vec<&'t str> {
    let above = text.iter().zip(code).rev().take_while(|(text, code)| {
        let code = code.trim_end();
        !text.trim().is_empty() && !code.ends_with(['{', '}', ';'])
    });
    let mut lines: Vec<&str> = above.map(|(text, _)| text.trim()).collect();
    lines.reverse();
    lines
}

/// Whether a block of code is opened that at least compiles.
fn has_example(documentation: &[&str]) -> bool {
    let mut open = false;
    for line in documentation {
        let Some(kind) = line.strip_prefix("/// ```") else { continue };
        open = !open;
        if open && matches!(kind.trim(), "" | "rust" | "no_run") {
            return true;
        }
    }
    false
}

#[test]
fn an_item_without_an_example_is_found_and_one_with_is_not() {
    let text = "
/// Plain.
pub struct Plain;

/// Shown.
///
/// ```
/// let shown = 1;
/// ```
#[derive(Debug)]
pub enum Shown {
    /// A variant needs none.
    One,
}

pub use Shown as Other;

impl Shown {
    /// Refers. Example: see [`Shown`].
    pub const fn refers(&self) {}

    /// Text is no example:
    /// ```text
    /// ```
    pub async fn bare<T>(self) {}

    pub(super) fn inner() {}
}

#[doc(hidden)]
pub fn hidden() {}

/// Example: see [`Shown`].
pub fn free() {}

macro_rules! internal { () => {} }

mod tests {
    pub fn test() {}
}
";
    let root = "pub mod open;\nmod shut;\npub use shut::Taken;";
    let shut = "/// A.\npub struct Taken;\n/// B.\npub struct Left;\nimpl<T: A<B>> Left {\n    \
                /// C.\n    pub fn of_left() {}\n}\nimpl A for Taken<T> {\n    /// D.\n    \
                pub fn of_taken() {}\n}\n";
    let found = missing(&[
        Source::of("src/txn.rs", root),
        Source::of("src/txn/open.rs", text),
        Source::of("src/txn/shut.rs", shut),
    ]);
    let named: Vec<&str> = found.iter().filter_map(|v| v.split(": ").nth(1)).collect();
    assert_eq!(
        named,
        ["Plain", "bare", "free", "Taken", "of_taken"].map(|name| format!("{name} has no example")),
        "{found:?}"
    );
}
