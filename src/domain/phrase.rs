//! Text as the score sees it: normal form, slugs, paths and words.
//!
//! Decides: when two spellings are one phrase. Never does: place a phrase on a taxonomy (see
//! [`super::expansion`]).

/// Fewest letters of a word that counts.
const MIN_WORD_LETTERS: usize = 3;

/// The normal form of a free text: trimmed, lower-case, runs of white space as one space. Empty
/// when the text holds nothing but white space: no value.
#[must_use]
pub fn normalised(text: &str) -> String {
    text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A name as part of a path: lower-case letters and digits, everything else as single hyphens
/// (`Brown, Roast` is `brown-roast`).
#[must_use]
pub fn slug(name: &str) -> String {
    name.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

/// The path of a node: the slugs of the names from the root down, joined by dots.
#[must_use]
pub fn path<S: AsRef<str>>(names_root_first: &[S]) -> String {
    names_root_first.iter().map(|name| slug(name.as_ref())).collect::<Vec<_>>().join(".")
}

/// The words of a text: runs of at least three letters a–z, lower-case; repeats are kept.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| !c.is_ascii_lowercase())
        .filter(|run| run.len() >= MIN_WORD_LETTERS)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_phrase_meet() {
        assert_eq!(normalised("  Cherry\t COLA \n"), "cherry cola");
        assert_eq!(normalised(" \t "), "");
    }

    #[test]
    fn a_path_is_made_of_slugs() {
        assert_eq!(path(&["Roasted", "Burnt", "Brown, Roast"]), "roasted.burnt.brown-roast");
        assert_eq!(slug("Nutty/Cocoa"), "nutty-cocoa");
        assert_eq!(slug("—"), "");
    }

    #[test]
    fn words_are_runs_of_three_or_more_letters() {
        assert_eq!(words("Grandma's plum jam, 74110"), ["grandma", "plum", "jam"]);
        assert_eq!(words("Crème de ça"), Vec::<String>::new());
        assert_eq!(words("Tea-tea"), ["tea", "tea"]);
    }
}
