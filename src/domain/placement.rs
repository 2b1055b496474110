//! Where a free-text note belongs on the flavour wheel.
//!
//! Decides: phrase to node: the exact phrase, else its longest trailing words. Configured aliases
//! come before the names of nodes. Never does: guess at spelling.

use super::dimension::{Node, NodeMap};
use super::lineage;
use super::phrase;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The phrases of one taxonomy that lead to one of its nodes.
#[derive(Debug, Clone)]
pub(crate) struct Placement {
    by_phrase: HashMap<String, Arc<str>>,
}

impl Placement {
    /// Reads node names and aliases. An alias to a path that the taxonomy lacks is no alias.
    pub(crate) fn new(nodes: &NodeMap, aliases: &BTreeMap<String, String>) -> Self {
        let mut by_path: BTreeMap<String, Arc<str>> = BTreeMap::new();
        let mut by_name: BTreeMap<String, (usize, String)> = BTreeMap::new();
        for node in nodes.values() {
            let chain = lineage::chain(nodes, node);
            let path = path_of(&chain);
            by_path.entry(path.clone()).or_insert_with(|| node.key.clone());
            // Of nodes with one name the one nearest to the root stands, then the smaller path:
            // never the key, which differs from one database to the next.
            let place = (chain.len(), path);
            let held = by_name.entry(phrase::normalised(&node.name)).or_insert(place.clone());
            if place < *held {
                *held = place;
            }
        }
        let names = by_name.into_iter().map(|(name, (_, path))| (name, path));
        let aliases = aliases.iter().map(|(text, path)| (phrase::normalised(text), path.clone()));
        let by_phrase = names
            .chain(aliases)
            .filter(|(text, _)| !text.is_empty())
            .filter_map(|(text, path)| Some((text, by_path.get(&path)?.clone())))
            .collect();
        Self { by_phrase }
    }

    /// The key of the node a text (in normal form) belongs to.
    pub(crate) fn place(&self, normalised: &str) -> Option<&Arc<str>> {
        let mut rest = normalised;
        loop {
            if let Some(key) = self.by_phrase.get(rest) {
                return Some(key);
            }
            rest = rest.split_once(' ')?.1;
        }
    }
}

fn path_of(chain: &[&Node]) -> String {
    let names: Vec<&str> = chain.iter().map(|node| node.name.as_ref()).collect();
    phrase::path(&names)
}
