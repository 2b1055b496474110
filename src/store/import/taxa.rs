//! How a record's words become nodes of the taxonomies.
//!
//! Decides: which node a word means, and which nodes must be added; the same for every store, so
//! that the same file gives the same lists. Never does: read or write a database.
//!
//! Names match whatever their case. A region's first part is a country, found below any
//! continent; an unknown one goes below the continent `Other`. Where the wheel has a name twice,
//! the node nearer to the root is meant. An unknown note is free text, never a node.

use super::{ImportRecord, Kind};
use crate::domain::seed::{SeedNode, SeedTaxonomy};
use std::collections::{BTreeMap, BTreeSet};

/// The continent of a country nobody placed.
const OTHER: &str = "Other";

/// A node that must be inserted. Parents stand before their children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct NewNode {
    /// Which taxonomy.
    pub(in crate::store) kind: Kind,
    /// Its key, a new random UUID in text form.
    pub(in crate::store) key: String,
    /// Its name.
    pub(in crate::store) name: String,
    /// The key of its parent, in a tree.
    pub(in crate::store) parent: Option<String>,
    /// Its place on a scale, for a roast level.
    pub(in crate::store) position: Option<i64>,
    /// The keys of its parents, for a variety.
    pub(in crate::store) parents: Vec<String>,
}

/// A bean as rows: keys per taxonomy, and free text. Sorted, without duplicates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::store) struct Resolved {
    /// `keys[kind as usize]`, in the order of [`Kind::ALL`].
    pub(in crate::store) keys: [Vec<String>; 5],
    /// Free-text notes.
    pub(in crate::store) texts: Vec<String>,
}

#[derive(Debug, Clone)]
struct Known {
    key: String,
    name: String,
    parent: Option<String>,
    depth: usize,
}

/// The taxonomies as they stand, with what has been added in passing.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Taxa {
    nodes: BTreeMap<Kind, Vec<Known>>,
    last_position: i64,
    new: Vec<NewNode>,
}

impl Taxa {
    /// Puts in the nodes that the database has, in any order: key, name, parent, position.
    pub(in crate::store) fn know_all(
        &mut self,
        kind: Kind,
        rows: impl IntoIterator<Item = (String, String, Option<String>, Option<i64>)>,
    ) {
        let mut waiting: Vec<_> = rows.into_iter().collect();
        waiting.sort_unstable();
        let mut known: BTreeSet<String> = BTreeSet::new();
        while !waiting.is_empty() {
            let is_ready = |parent: &Option<String>| {
                parent.as_ref().is_none_or(|parent| known.contains(parent))
            };
            let (ready, rest): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|(_, _, parent, _)| is_ready(parent));
            if ready.is_empty() {
                // Parents that are missing or form a circle: such nodes hang on nothing.
                rest.into_iter()
                    .for_each(|(key, name, _, at)| self.know(kind, key, name, None, at));
                return;
            }
            for (key, name, parent, position) in ready {
                known.insert(key.clone());
                self.know(kind, key, name, parent, position);
            }
            waiting = rest;
        }
    }

    /// Puts in one node; its parent must be known already.
    fn know(
        &mut self,
        kind: Kind,
        key: String,
        name: String,
        parent: Option<String>,
        position: Option<i64>,
    ) {
        self.last_position = self.last_position.max(position.unwrap_or(0));
        let nodes = self.nodes.entry(kind).or_default();
        let above = parent.as_ref().and_then(|parent| nodes.iter().find(|n| n.key == *parent));
        let depth = above.map_or(1, |above| above.depth + 1);
        nodes.push(Known { key, name, parent, depth });
    }

    /// The nodes added since the last call, parents first.
    pub(in crate::store) fn take_new(&mut self) -> Vec<NewNode> {
        std::mem::take(&mut self.new)
    }

    /// Turns a record's words into keys, adding nodes for those unknown.
    pub(in crate::store) fn resolve(&mut self, record: &ImportRecord) -> Resolved {
        let mut resolved = Resolved::default();
        for words in &record.regions {
            resolved.keys[Kind::Region as usize].extend(self.region(words));
        }
        for (kind, words) in [
            (Kind::Processing, &record.processing),
            (Kind::Roast, &record.roast),
            (Kind::Variety, &record.varieties),
        ] {
            for word in words.iter().map(|word| word.trim()).filter(|word| !word.is_empty()) {
                let key = self.find(kind, word).unwrap_or_else(|| self.add(kind, word, None, &[]));
                resolved.keys[kind as usize].push(key);
            }
        }
        for note in record.notes.iter().map(|note| note.trim()).filter(|note| !note.is_empty()) {
            match self.find(Kind::Wheel, note) {
                Some(key) => resolved.keys[Kind::Wheel as usize].push(key),
                None => resolved.texts.push(note.to_owned()),
            }
        }
        for values in resolved.keys.iter_mut().chain([&mut resolved.texts]) {
            values.sort_unstable();
            values.dedup();
        }
        resolved
    }

    /// Adds the nodes of a seed that are not there yet.
    pub(in crate::store) fn seed(&mut self, seed: &SeedTaxonomy) {
        let trees = [
            (Kind::Region, &seed.regions),
            (Kind::Processing, &seed.processing),
            (Kind::Wheel, &seed.wheel),
        ];
        for (kind, nodes) in trees {
            nodes.iter().for_each(|node| self.seed_node(kind, node));
        }
        for name in &seed.roast {
            self.find(Kind::Roast, name).unwrap_or_else(|| self.add(Kind::Roast, name, None, &[]));
        }
        for (name, parents) in &seed.varieties {
            if self.find(Kind::Variety, name).is_none() {
                let parents: Vec<String> =
                    parents.iter().filter_map(|name| self.find(Kind::Variety, name)).collect();
                self.add(Kind::Variety, name, None, &parents);
            }
        }
    }

    fn seed_node(&mut self, kind: Kind, node: &SeedNode) {
        let mut parent: Option<String> = None;
        for name in &node.path {
            let found = self.child(kind, parent.as_deref(), name);
            parent = Some(found.unwrap_or_else(|| self.add(kind, name, parent, &[])));
        }
    }

    fn region(&mut self, words: &str) -> Option<String> {
        let mut parts = words.split('/').map(str::trim).filter(|part| !part.is_empty());
        let country = parts.next()?;
        // A country, below whatever continent; else whatever has this name.
        let mut key = match self.find_at(Kind::Region, country, |depth| depth == 2) {
            Some(key) => key,
            None => match self.find(Kind::Region, country) {
                Some(key) => key,
                None => self.add_country(country),
            },
        };
        for part in parts {
            let found = self.child(Kind::Region, Some(&key), part);
            key = found.unwrap_or_else(|| self.add(Kind::Region, part, Some(key), &[]));
        }
        Some(key)
    }

    fn add_country(&mut self, country: &str) -> String {
        let continent = self.child(Kind::Region, None, OTHER);
        let continent = continent.unwrap_or_else(|| self.add(Kind::Region, OTHER, None, &[]));
        self.add(Kind::Region, country, Some(continent), &[])
    }

    fn find(&self, kind: Kind, name: &str) -> Option<String> {
        self.find_at(kind, name, |_| true)
    }

    /// The node with this name nearest to the root.
    fn find_at(&self, kind: Kind, name: &str, depth: impl Fn(usize) -> bool) -> Option<String> {
        let name = name.trim().to_lowercase();
        let nodes = self.nodes.get(&kind)?.iter();
        let same = nodes.filter(|node| depth(node.depth) && node.name.to_lowercase() == name);
        same.min_by_key(|node| node.depth).map(|node| node.key.clone())
    }

    fn child(&self, kind: Kind, parent: Option<&str>, name: &str) -> Option<String> {
        let name = name.trim().to_lowercase();
        let mut nodes = self.nodes.get(&kind)?.iter();
        let found =
            nodes.find(|node| node.parent.as_deref() == parent && node.name.to_lowercase() == name);
        found.map(|node| node.key.clone())
    }

    fn add(
        &mut self,
        kind: Kind,
        name: &str,
        parent: Option<String>,
        parents: &[String],
    ) -> String {
        let key = uuid::Uuid::new_v4().to_string();
        let position = (kind == Kind::Roast).then_some(self.last_position + 1);
        self.know(kind, key.clone(), name.to_owned(), parent.clone(), position);
        let (name, parents) = (name.to_owned(), parents.to_vec());
        self.new.push(NewNode { kind, key: key.clone(), name, parent, position, parents });
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::seed::builtin_taxonomy;

    fn record(json: &str) -> ImportRecord {
        serde_json::from_str(json).expect("a record")
    }

    fn seeded() -> Taxa {
        let mut taxa = Taxa::default();
        taxa.seed(&builtin_taxonomy());
        taxa.take_new();
        taxa
    }

    #[test]
    fn a_known_country_gets_its_new_region_and_an_unknown_one_its_continent() {
        let mut taxa = seeded();
        taxa.resolve(&record(r#"{"id":1,"regions":["ethiopia/Guji","Ethiopia/Nowhere"]}"#));
        let new = taxa.take_new();
        assert_eq!(new.len(), 1);
        assert_eq!((new[0].name.as_str(), new[0].kind), ("Nowhere", Kind::Region));
        taxa.resolve(&record(r#"{"id":1,"regions":["Atlantis/Deep"]}"#));
        let names: Vec<_> = taxa.take_new().into_iter().map(|node| node.name).collect();
        assert_eq!(names, ["Other", "Atlantis", "Deep"]);
    }

    #[test]
    fn a_note_on_the_wheel_is_a_node_whatever_its_case_and_any_other_is_text() {
        let mut taxa = seeded();
        let bean = r#"{"id":1,"notes":["bLACKBERRY","cherry cola"," ","cherry cola"]}"#;
        let resolved = taxa.resolve(&record(bean));
        assert_eq!(resolved.keys[Kind::Wheel as usize].len(), 1);
        assert_eq!(resolved.texts, ["cherry cola"]);
        assert_eq!(taxa.take_new(), []);
    }

    #[test]
    fn seeding_twice_adds_nothing() {
        let mut taxa = seeded();
        taxa.seed(&builtin_taxonomy());
        assert_eq!(taxa.take_new(), []);
    }
}
