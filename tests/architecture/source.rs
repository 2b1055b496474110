//! A Rust source as the rules see it: its text, and its code without comments and strings.
//!
//! Decides: what counts as code, a path, a function. Never does: know a rule.

use std::path::Path;

/// One file.
pub(crate) struct Source {
    /// Path from the root of the repository, with `/`.
    pub(crate) name: String,
    pub(crate) text: String,
    /// The text with the inside of comments and literals blanked, line for line.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn read(root: &Path, path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a readable source");
        let name = path.strip_prefix(root).expect("below the root").to_string_lossy();
        Self::of(&name.replace('\\', "/"), &text)
    }

    pub(crate) fn of(name: &str, text: &str) -> Self {
        Self { name: name.into(), text: text.into(), code: code(text) }
    }
}

/// Blanks comments, strings and characters; keeps line breaks.
pub(crate) fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let end = literal_end(&chars, i);
        if end == i {
            out.push(chars[i]);
            i += 1;
        } else {
            out.extend(chars[i..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            i = end;
        }
    }
    out
}

/// The end of the comment, string or character that begins at `i`; `i` when none does.
fn literal_end(chars: &[char], i: usize) -> usize {
    let at = |k: usize| chars.get(k).copied().unwrap_or('\0');
    let find = |from: usize, hit: &dyn Fn(usize) -> bool| {
        (from..chars.len()).find(|k| hit(*k)).unwrap_or(chars.len())
    };
    match (at(i), at(i + 1)) {
        ('/', '/') => find(i, &|k| at(k) == '\n'),
        ('/', '*') => {
            let (mut depth, mut k) = (1, i + 2);
            while depth > 0 && k < chars.len() {
                match (at(k), at(k + 1)) {
                    ('/', '*') => (depth, k) = (depth + 1, k + 2),
                    ('*', '/') => (depth, k) = (depth - 1, k + 2),
                    _ => k += 1,
                }
            }
            k
        }
        ('r', '"' | '#') if i == 0 || !is_word(at(i - 1)) || at(i - 1) == 'b' => {
            let quote = find(i + 1, &|k| at(k) != '#');
            let hashes = quote - i - 1;
            if at(quote) != '"' {
                return i; // a raw identifier
            }
            let closes = |k: usize| at(k) == '"' && (1..=hashes).all(|h| at(k + h) == '#');
            (find(quote + 1, &closes) + 1 + hashes).min(chars.len())
        }
        ('"', _) => {
            let mut k = i + 1;
            while k < chars.len() && at(k) != '"' {
                k += if at(k) == '\\' { 2 } else { 1 };
            }
            (k + 1).min(chars.len())
        }
        ('\'', '\\') => find(i + 3, &|k| at(k) == '\'') + 1,
        ('\'', _) if at(i + 2) == '\'' => i + 3,
        _ => i,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether the line has `name` as a word of its own (not as the end of a longer one).
pub(crate) fn names(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        !name.starts_with(is_word) || !line[..at].chars().next_back().is_some_and(is_word)
    })
}

/// A path such as `crate::store::Store`, imports expanded.
pub(crate) struct CodePath {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    /// How many inline modules it stands in.
    pub(crate) inline_depth: usize,
}

/// Every path in the code.
pub(crate) fn paths(code: &str) -> Vec<CodePath> {
    let modules = inline_modules(code);
    let mut out = Vec::new();
    let mut push = |at: usize, segments: Vec<String>| {
        let line = code[..at].matches('\n').count() + 1;
        let inline_depth = modules.iter().filter(|(from, to)| (*from..*to).contains(&at)).count();
        out.push(CodePath { segments, line, inline_depth });
    };
    let imports = statements(code, "use ", ';');
    for &(at, tree) in &imports {
        expand(tree.trim(), &[], &mut |segments| push(at, segments));
    }
    let mut at = 0;
    while let Some(start) = code[at..].find(is_word).map(|found| at + found) {
        let rest = &code[start..];
        let end = rest.find(|c| !is_word(c) && c != ':').map_or(code.len(), |found| start + found);
        let segments: Vec<String> = code[start..end].split("::").map(str::to_owned).collect();
        let imported = imports.iter().any(|(at, tree)| (*at..at + tree.len() + 4).contains(&start));
        if segments.len() > 1 && !imported {
            push(start, segments);
        }
        at = end;
    }
    out
}

/// The text between a keyword at the start of a word and an end mark, with its position.
fn statements<'a>(code: &'a str, keyword: &'a str, end: char) -> Vec<(usize, &'a str)> {
    code.match_indices(keyword)
        .filter(|(at, _)| !code[..*at].chars().next_back().is_some_and(is_word))
        .filter_map(|(at, _)| {
            let body = &code[at + keyword.len()..];
            Some((at, &body[..body.find(end)?]))
        })
        .collect()
}

/// Expands `a::{b, c::{d, e}}` into `a::b`, `a::c::d`, `a::c::e`.
fn expand(tree: &str, before: &[String], each: &mut impl FnMut(Vec<String>)) {
    let (head, group) = match tree.split_once('{') {
        Some((head, rest)) => (head, Some(rest.rsplit_once('}').map_or(rest, |(inner, _)| inner))),
        None => (tree.split(" as ").next().unwrap_or(tree), None),
    };
    let segments = head.split("::").map(str::trim).filter(|segment| !segment.is_empty());
    let path: Vec<String> = before.iter().cloned().chain(segments.map(str::to_owned)).collect();
    let Some(group) = group else { return each(path) };
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = group[start..at].trim();
                if !part.is_empty() {
                    expand(part, &path, each);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// The end of the block whose brace opens at `open`.
fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + at;
        }
    }
    code.len()
}

fn inline_modules(code: &str) -> Vec<(usize, usize)> {
    statements(code, "mod ", '{')
        .into_iter()
        .filter(|(_, name)| name.trim().chars().all(is_word))
        .map(|(at, name)| {
            let open = at + "mod ".len() + name.len();
            (open, block_end(code, open))
        })
        .collect()
}

/// A function with a body.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// Every function with a body, nested ones too.
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let keyword = "fn ";
    code.match_indices(keyword)
        .filter(|(at, _)| !code[..*at].chars().next_back().is_some_and(is_word))
        .filter_map(|(at, _)| {
            let signature = &code[at + keyword.len()..];
            let name: String = signature.chars().take_while(|c| is_word(*c)).collect();
            let mut depth = 0;
            let (offset, mark) = signature.char_indices().find(|(_, c)| {
                match c {
                    '(' | '[' => depth += 1,
                    ')' | ']' => depth -= 1,
                    _ => {}
                }
                depth == 0 && matches!(c, '{' | ';')
            })?;
            if mark == ';' || name.is_empty() {
                return None;
            }
            let end = block_end(code, at + keyword.len() + offset);
            let line = code[..at].matches('\n').count() + 1;
            Some(Function { name, line, lines: code[at..end].matches('\n').count() + 1 })
        })
        .collect()
}

#[test]
fn comments_and_literals_are_not_code() {
    let text = "a /* b /* c */ d */ \"e\\\"f\" 'g' '\\'' r#\"h\"i\"# b\"j\" &'k l // m\nn";
    let words: Vec<String> = code(text).split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["a", "b", "&'k", "l", "n"]);
    assert_eq!(code("\"a\nb\"").matches('\n').count(), 1);
}

#[test]
fn functions_are_measured_from_signature_to_closing_brace() {
    let text =
        "trait T { fn a(x: [u8; 2]); }\nfn b(\n    x: fn(u8) -> u8,\n) -> u8 {\n    {\n    }\n}\n";
    let found: Vec<(String, usize, usize)> =
        functions(&code(text)).into_iter().map(|f| (f.name, f.line, f.lines)).collect();
    assert_eq!(found, [("b".to_owned(), 2, 6)]);
}
