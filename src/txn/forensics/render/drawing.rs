//! Explanations as drawings: Mermaid and Graphviz.
//!
//! Decides: node names of its own (`d0n1`), so that no id of a log becomes syntax; every text
//! stands quoted and escaped. Never does: draw a report without a graph.

use super::{plain, wanted, who};
use crate::txn::forensics::model::Node;
use crate::txn::forensics::{Deadlock, Explanation};
use std::collections::HashMap;

/// Longest statement in a box, in characters.
const BOX: usize = 80;

impl Explanation {
    /// A Mermaid flowchart: one subgraph a deadlock, the victim marked.
    /// Example: see [`Explanation`].
    #[must_use]
    pub fn mermaid(&self) -> String {
        let mut lines = vec!["flowchart LR".to_owned()];
        lines.extend(self.undrawn().map(|note| format!("  %% {note}")));
        for (at, deadlock) in self.drawn() {
            let title = mermaid(&title(deadlock));
            lines.push(format!("  subgraph d{at}[\"{title}\"]"));
            let (nodes, names) = boxes(at, deadlock);
            for (name, node) in &nodes {
                let label: Vec<String> = label(node).iter().map(|line| mermaid(line)).collect();
                let class = if node.victim { ":::victim" } else { "" };
                lines.push(format!("    {name}[\"{}\"]{class}", label.join("<br/>")));
            }
            for edge in &deadlock.report.edges {
                let (from, to) = (&names[edge.waiter.as_str()], &names[edge.holder.as_str()]);
                lines.push(format!("    {from} -->|\"{}\"| {to}", mermaid(&wanted(edge))));
            }
            lines.push("  end".to_owned());
        }
        lines.push("  classDef victim stroke:#c00,stroke-width:3px".to_owned());
        lines.join("\n")
    }

    /// A Graphviz digraph: one cluster a deadlock, the victim marked. Example: see [`Explanation`].
    #[must_use]
    pub fn dot(&self) -> String {
        let mut lines = vec!["digraph deadlocks {".to_owned(), "  node [shape=box];".to_owned()];
        lines.extend(self.undrawn().map(|note| format!("  // {note}")));
        for (at, deadlock) in self.drawn() {
            lines.push(format!("  subgraph cluster_d{at} {{"));
            lines.push(format!("    label=\"{}\";", dot(&title(deadlock))));
            let (nodes, names) = boxes(at, deadlock);
            for (name, node) in &nodes {
                let label: Vec<String> = label(node).iter().map(|line| dot(line)).collect();
                let look = if node.victim { ", color=red, penwidth=3" } else { "" };
                lines.push(format!("    {name} [label=\"{}\"{look}];", label.join("\\n")));
            }
            for edge in &deadlock.report.edges {
                let (from, to) = (&names[edge.waiter.as_str()], &names[edge.holder.as_str()]);
                lines.push(format!("    {from} -> {to} [label=\"{}\"];", dot(&wanted(edge))));
            }
            lines.push("  }".to_owned());
        }
        lines.push("}".to_owned());
        lines.join("\n")
    }

    /// What a drawing cannot show, for a comment.
    fn undrawn(&self) -> impl Iterator<Item = String> {
        let nothing = (self.reports == 0).then(|| "no deadlock report found".to_owned());
        let unread = self.unread.len();
        let unread =
            (unread > 0).then(|| format!("{unread} not read: the text format says where and why"));
        nothing.into_iter().chain(unread)
    }

    fn drawn(&self) -> impl Iterator<Item = (usize, &Deadlock)> {
        self.deadlocks.iter().enumerate().filter(|(_, one)| !one.report.nodes.is_empty())
    }
}

fn title(deadlock: &Deadlock) -> String {
    let times =
        if deadlock.count == 1 { "once".into() } else { format!("{} times", deadlock.count) };
    format!("{} ({}): {times}", deadlock.fingerprint, deadlock.report.engine.name())
}

/// The lines in the box of a node.
fn label(node: &Node) -> Vec<String> {
    let mut lines = vec![who(node)];
    if node.victim {
        lines.push("rolled back".to_owned());
    }
    lines.extend(node.statement.as_deref().map(|statement| plain(statement, BOX)));
    lines
}

/// The boxes of a deadlock with their names, and the name of each id. An id that only an edge
/// names gets a box too.
fn boxes(at: usize, deadlock: &Deadlock) -> (Vec<(String, Node)>, HashMap<&str, String>) {
    let mut boxes: Vec<(String, Node)> = Vec::new();
    let mut names: HashMap<&str, String> = HashMap::new();
    let report = &deadlock.report;
    let ends = report.edges.iter().flat_map(|edge| [edge.waiter.as_str(), edge.holder.as_str()]);
    let known = report.nodes.iter().map(|node| (node.id.as_str(), Some(node)));
    for (id, node) in known.chain(ends.map(|id| (id, None))) {
        if !names.contains_key(id) {
            let name = format!("d{at}n{}", boxes.len());
            names.insert(id, name.clone());
            boxes.push((name, node.cloned().unwrap_or_else(|| Node::new(id))));
        }
    }
    (boxes, names)
}

/// A text inside the quotes of Mermaid, whose labels are also read as Markdown and HTML.
fn mermaid(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            'a'..='z'
            | 'A'..='Z'
            | '0'..='9'
            | ' '
            | '.'
            | ','
            | ':'
            | '('
            | ')'
            | '='
            | '/'
            | '-'
            | '+'
            | '…' => out.push(c),
            c if c.is_alphanumeric() => out.push(c),
            c => out.push_str(&format!("#{};", u32::from(c))),
        }
    }
    out
}

/// A text inside the quotes of Graphviz.
fn dot(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_the_formats_are_escaped() {
        assert_eq!(mermaid("a\"]; <b>`#"), "a#34;#93;#59; #60;b#62;#96;#35;");
        assert_eq!(dot("a\"\\l\\"), "a\\\"\\\\l\\\\");
    }
}
