//! Which public items of the toolkit lack an example in their documentation.
//!
//! Decides: what counts as an item, as its documentation, and as an example. Never does: run one
//! (`cargo test --doc` does).

use super::source::{Source, names};

/// Words that may stand between `pub` and the kind of an item.
const QUALIFIERS: [&str; 3] = ["async", "const", "unsafe"];
const KINDS: [&str; 4] = ["fn", "struct", "enum", "trait"];
/// How a method's documentation names the example that shows it.
const REFERENCE: &str = "Example: see [`";

/// Violations in one file.
pub(crate) fn missing(source: &Source) -> Vec<String> {
    let text: Vec<&str> = source.text.lines().collect();
    let code: Vec<&str> = source.code.lines().collect();
    let tests = code.iter().position(|line| line.trim() == "mod tests {").unwrap_or(code.len());
    let mut violations = Vec::new();
    for (at, line) in code[..tests].iter().enumerate() {
        let Some(name) = item(line) else { continue };
        let documentation = documentation(&text[..at], &code[..at]);
        let has = |attribute: &str| documentation.iter().any(|line| line.starts_with(attribute));
        // An exported macro is hidden at the root of the crate and shown where it belongs.
        let public = match names(line, "macro_rules!") {
            true => has("#[macro_export]"),
            false => !has("#[doc(hidden)]"),
        };
        if !public {
            continue;
        }
        // What stands inside of a block is a method.
        let referred = line.starts_with(' ')
            && documentation.iter().any(|line| line.contains(REFERENCE));
        if !referred && !has_example(&documentation) {
            violations.push(format!("{}:{}: {name} has no example", source.name, at + 1));
        }
    }
    violations
}

/// The name of the public item that a line declares.
fn item(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|word| *word == "macro_rules!");
    if names(line, "macro_rules!") {
        return words.next();
    }
    if words.next() != Some("pub") {
        return None;
    }
    let kind = words.find(|word| !QUALIFIERS.contains(word))?;
    let name = words.next().filter(|_| KINDS.contains(&kind))?;
    name.split(['(', '<', ';', ':', '{']).next()
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
    let found = missing(&Source::of("src/txn/x.rs", text));
    let named: Vec<&str> = found.iter().filter_map(|v| v.split(": ").nth(1)).collect();
    assert_eq!(
        named,
        ["Plain has no example", "bare has no example", "free has no example"],
        "{found:?}"
    );
}
