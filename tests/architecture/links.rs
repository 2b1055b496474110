//! Whether links from page to page lead somewhere.
//!
//! Decides: what a link of a page is. Never does: ask the network.

/// The targets of a page's links to files of ours, without their anchors, with their lines.
pub(crate) fn targets(markdown: &str) -> Vec<(usize, &str)> {
    let mut targets = Vec::new();
    let mut fenced = false;
    for (number, line) in markdown.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        for (_, rest) in line.match_indices("](").map(|(at, mark)| (at, &line[at + mark.len()..])) {
            let target = rest.split([')', '#', ' ']).next().unwrap_or_default();
            // Of the rest some are anchors of this page, some are paths of Rust.
            if !target.contains(':') && (target.contains('.') || target.contains('/')) {
                targets.push((number + 1, target));
            }
        }
    }
    targets
}

#[test]
fn links_to_files_are_found_and_others_are_not() {
    let page = "[a](b.md), [c](d/e.md#f) and [g](https://example.org/h.md)\n```\n[i](j.md)\n```\n\
                [k](#l) [`m`](n::o) [p](q/)";
    assert_eq!(targets(page), [(1, "b.md"), (1, "d/e.md"), (5, "q/")]);
}
