//! The taxonomies and flavour phrases that come with the program, from `assets/taxonomy`.
//!
//! Decides: what a fresh catalogue knows about regions, processing, roasts, varieties and flavours.
//! Never does: give nodes keys (each store has its own), or read a file at run time.

use super::phrase;
use std::collections::BTreeMap;

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
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn parents_stand_before_their_children_and_no_node_twice() {
        let seed = builtin_taxonomy();
        for tree in [&seed.regions, &seed.processing, &seed.wheel] {
            let mut seen: BTreeSet<&[String]> = BTreeSet::new();
            for node in tree {
                assert!(node.parent().is_empty() || seen.contains(node.parent()), "{node:?}");
                assert!(seen.insert(&node.path), "{node:?} stands twice");
            }
        }
        let mut seen = BTreeSet::new();
        for (variety, parents) in &seed.varieties {
            assert!(parents.iter().all(|parent| seen.contains(parent)), "{variety}");
            assert!(seen.insert(variety), "{variety} stands twice");
        }
    }

    #[test]
    fn the_taxonomies_are_complete() {
        let seed = builtin_taxonomy();
        assert_eq!(seed.roast.len(), 5);
        assert_eq!(seed.wheel.len(), 110);
        assert!(seed.processing.iter().any(|node| node.path == ["Washed", "Double Washed"]));
        assert!(seed.regions.iter().any(|node| node.path == ["Africa", "Ethiopia", "Guji"]));
        assert!(seed.varieties.iter().any(|(name, _)| name == "Gesha"));
        // A country or region is found by "Country" or "Country/Name", so neither may be
        // ambiguous.
        let short: Vec<_> = seed.regions.iter().filter(|n| n.path.len() > 1).collect();
        let unique: BTreeSet<_> = short.iter().map(|n| &n.path[1..]).collect();
        assert_eq!(unique.len(), short.len());
    }

    #[test]
    fn every_alias_leads_to_a_node_of_the_wheel() {
        let seed = builtin_taxonomy();
        let paths: BTreeSet<_> = seed.wheel.iter().map(|node| phrase::path(&node.path)).collect();
        assert_eq!(paths.len(), seed.wheel.len(), "two nodes have one path");
        let aliases = builtin_aliases();
        assert!(aliases.len() > 350);
        for (text, path) in &aliases {
            assert!(paths.contains(path), "{text} leads to {path}, which is no node");
        }
        assert_eq!(aliases["cassis"], "fruity.berry");
    }
}
