//! What is compared: the dimensions of a catalogue, their weights, priors and expansions, and the
//! taxonomies their values live in.
//!
//! Decides: the shape of the score's settings, in integers (thousandths).
//! Never does: read configuration (see `config`) or a database (see `store`).

use std::collections::BTreeMap;
use std::sync::Arc;

/// Thousandths: the unit of token weights, dimension weights and priors.
pub type Milli = u32;

/// How a value of a dimension turns into weighted tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expansion {
    /// A tree: the value and its ancestors, each at the weight of its depth (root first); nodes
    /// deeper than the list take the last weight.
    Tree {
        /// Weight by depth, root first; never empty.
        levels: Vec<Milli>,
    },
    /// A scale: the value itself and its direct neighbours by rank.
    Ordinal {
        /// Weight of the value itself.
        own: Milli,
        /// Weight of the next value on either side.
        neighbour: Milli,
    },
    /// A pedigree (several parents allowed): the value, its parents, its grandparents …
    Pedigree {
        /// Weight by generation, the value itself first; never empty.
        generations: Vec<Milli>,
    },
    /// Notes: nodes of a tree as in [`Expansion::Tree`]; free text as a token of its own, placed
    /// on the tree by alias too; and the words of both.
    Notes {
        /// Weight by depth on the tree, root first; never empty.
        levels: Vec<Milli>,
        /// Weight of the whole free text as a token.
        text: Milli,
        /// Weight of each word (a run of three or more letters a–z).
        word: Milli,
    },
    /// The value itself at weight one, nothing else.
    Flat,
}

/// One dimension of the comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimension {
    /// Its name, unique, as configured.
    pub name: String,
    /// Weight in the score, thousandths.
    pub weight: Milli,
    /// Assumed similarity where exactly one of two beans has the dimension, thousandths.
    pub prior: Milli,
    /// How values become tokens.
    pub expansion: Expansion,
}

/// Everything the score depends on besides the two beans and the taxonomies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoreSettings {
    /// The dimensions, in configured order.
    pub dimensions: Vec<Dimension>,
    /// Free-text phrase (normalised) to tree path such as `fruity.berry.blackberry`.
    pub aliases: Arc<BTreeMap<String, String>>,
    /// How many similar beans a list holds (K).
    pub list_length: usize,
    /// Lowest score that is stored, parts per million.
    pub minimum_ppm: u32,
}

/// A node of a taxonomy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its key in the catalogue (the text form of its database id).
    pub key: Arc<str>,
    /// Its name, for people, words and aliases.
    pub name: Arc<str>,
    /// Keys of its parents: at most one in a tree.
    pub parents: Vec<Arc<str>>,
    /// Its place on a scale, for [`Expansion::Ordinal`].
    pub rank: Option<i64>,
}

/// The nodes of one dimension, by key.
pub type NodeMap = BTreeMap<Arc<str>, Node>;

/// The taxonomies of a catalogue: one node map a dimension, in the order of the dimensions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taxonomy {
    /// `dimensions[d]` holds the nodes of dimension `d`.
    pub dimensions: Vec<NodeMap>,
}
