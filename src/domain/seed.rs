//! The taxonomies and flavour phrases that come with the program, from `assets/taxonomy`.
//!
//! Decides: what a fresh catalogue knows about regions, processing, roasts, varieties and flavours.
//! Never does: give nodes keys (each store has its own), or read a file at run time.

use super::dimension::{Node, NodeMap, Taxonomy};
use super::phrase;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A node of a tree, by its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeedNode {
    /// Names from the root down to the node itself; never empty.
    pub path: Vec<String>,
}

impl SeedNode {
    /// The node's own name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.last().expect("a path has at least the node's own name")
    }

    /// The path of its parent; empty for a root.
    #[must_use]
    pub fn parent(&self) -> &[String] {
        &self.path[..self.path.len().saturating_sub(1)]
    }
}

/// The taxonomies of a fresh catalogue. Parents always stand before their children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedTaxonomy {
    /// Continent, country, region.
    pub regions: Vec<SeedNode>,
    /// Family, method.
    pub processing: Vec<SeedNode>,
    /// Flavour wheel: three levels.
    pub wheel: Vec<SeedNode>,
    /// Roast levels, lightest first.
    pub roast: Vec<String>,
    /// Varieties with the names of their parents.
    pub varieties: Vec<(String, Vec<String>)>,
}

impl SeedTaxonomy {
    /// The taxonomies in the order of the default dimensions (regions, processing, roast,
    /// varieties, notes), each node's key being its path: for catalogues without a database, as in
    /// tests and benchmarks.
    #[must_use]
    pub fn keyed_by_path(&self) -> Taxonomy {
        let roast = (0..).zip(&self.roast).map(|(rank, name)| node(name, &[], Some(rank)));
        let varieties = self.varieties.iter().map(|(name, parents)| node(name, parents, None));
        Taxonomy {
            dimensions: vec![
                tree_by_path(&self.regions),
                tree_by_path(&self.processing),
                roast.collect(),
                varieties.collect(),
                tree_by_path(&self.wheel),
            ],
        }
    }
}

fn node(name: &str, parents: &[String], rank: Option<i64>) -> (Arc<str>, Node) {
    let key: Arc<str> = phrase::slug(name).into();
    let parents = parents.iter().map(|parent| phrase::slug(parent).into()).collect();
    (key.clone(), Node { key, name: name.into(), parents, rank })
}

fn tree_by_path(nodes: &[SeedNode]) -> NodeMap {
    let node = |seed: &SeedNode| {
        let key: Arc<str> = phrase::path(&seed.path).into();
        let parents = match seed.parent() {
            [] => Vec::new(),
            parent => vec![phrase::path(parent).into()],
        };
        (key.clone(), Node { key, name: seed.name().into(), parents, rank: None })
    };
    nodes.iter().map(node).collect()
}

type TwoLevels = BTreeMap<String, Vec<String>>;
type ThreeLevels = BTreeMap<String, TwoLevels>;

const IS_SOUND: &str = "the file is compiled in, and a test reads it";

/// The taxonomies that come with the program.
#[must_use]
pub fn builtin_taxonomy() -> SeedTaxonomy {
    let regions: ThreeLevels =
        serde_json::from_str(include_str!("../../assets/taxonomy/regions.json")).expect(IS_SOUND);
    let processing: TwoLevels =
        serde_json::from_str(include_str!("../../assets/taxonomy/processing.json"))
            .expect(IS_SOUND);
    let wheel: ThreeLevels =
        serde_json::from_str(include_str!("../../assets/taxonomy/flavor_wheel.json"))
            .expect(IS_SOUND);
    SeedTaxonomy {
        regions: three_levels(&regions),
        processing: two_levels(&[], &processing),
        wheel: three_levels(&wheel),
        roast: serde_json::from_str(include_str!("../../assets/taxonomy/roast.json"))
            .expect(IS_SOUND),
        varieties: serde_json::from_str(include_str!("../../assets/taxonomy/varieties.json"))
            .expect(IS_SOUND),
    }
}

/// Flavour phrases (in normal form) and the path of the wheel node each belongs to.
#[must_use]
pub fn builtin_aliases() -> BTreeMap<String, String> {
    let by_path: TwoLevels =
        serde_json::from_str(include_str!("../../assets/taxonomy/flavor_aliases.json"))
            .expect(IS_SOUND);
    let mut aliases = BTreeMap::new();
    for (path, phrases) in by_path {
        for text in phrases {
            aliases.insert(phrase::normalised(&text), path.clone());
        }
    }
    aliases
}

fn two_levels(above: &[String], families: &TwoLevels) -> Vec<SeedNode> {
    let mut nodes = Vec::new();
    for (family, members) in families {
        let path = [above, std::slice::from_ref(family)].concat();
        nodes.push(SeedNode { path: path.clone() });
        for member in members {
            nodes.push(SeedNode { path: [path.as_slice(), std::slice::from_ref(member)].concat() });
        }
    }
    nodes
}

fn three_levels(roots: &ThreeLevels) -> Vec<SeedNode> {
    let mut nodes = Vec::new();
    for (root, families) in roots {
        let path = vec![root.clone()];
        nodes.push(SeedNode { path: path.clone() });
        nodes.extend(two_levels(&path, families));
    }
    nodes
}

#[cfg(test)]
mod tests;
