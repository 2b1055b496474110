//! Expansion: a bean's raw values become weighted tokens, so that near values share something.
//!
//! Decides: which ancestors, neighbours, phrases and words a value brings, and at what weight.
//! Never does: compare two beans (see [`super::similarity`]). A value that the taxonomy does not
//! know is a token of its own, never lost and never an error.

use super::bean::{Features, Value};
use super::dimension::{Dimension, Expansion, Milli, Node, NodeMap, ScoreSettings, Taxonomy};
use super::lineage;
use super::phrase;
use super::placement::Placement;
use super::token::{Token, TokenBag, TokenBags, add};
use std::collections::HashMap;
use std::sync::Arc;

/// Weight of a value of [`Expansion::Flat`]: one.
const FLAT: Milli = 1000;

/// Expands beans under fixed settings and taxonomies. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Expander {
    settings: Arc<ScoreSettings>,
    taxonomy: Arc<Taxonomy>,
    dimensions: Arc<[DimensionExpander]>,
}

impl Expander {
    /// Prepares every node's expansion once; beans then only look them up.
    #[must_use]
    pub fn new(settings: Arc<ScoreSettings>, taxonomy: Arc<Taxonomy>) -> Self {
        let empty = NodeMap::new();
        let dimensions = settings
            .dimensions
            .iter()
            .enumerate()
            .map(|(d, dimension)| {
                let nodes = taxonomy.dimensions.get(d).unwrap_or(&empty);
                DimensionExpander::new(dimension, nodes, &settings)
            })
            .collect();
        Self { settings, taxonomy, dimensions }
    }

    /// The weighted tokens of a bean: one bag a configured dimension.
    #[must_use]
    pub fn expand(&self, features: &Features) -> TokenBags {
        let none = Vec::new();
        let bags = self
            .dimensions
            .iter()
            .enumerate()
            .map(|(d, dimension)| dimension.expand(features.bags.get(d).unwrap_or(&none)))
            .collect();
        TokenBags { bags }
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Arc<ScoreSettings> {
        &self.settings
    }

    /// The taxonomies, for labels.
    #[must_use]
    pub fn taxonomy(&self) -> &Arc<Taxonomy> {
        &self.taxonomy
    }
}

/// What one dimension needs to expand values.
#[derive(Debug)]
struct DimensionExpander {
    /// The expansion of every node of the taxonomy, its own words included.
    by_node: HashMap<Arc<str>, TokenBag>,
    /// Weight of a value the taxonomy does not know, and of a text outside [`Expansion::Notes`].
    own: Milli,
    notes: Option<NoteExpander>,
}

/// What free-text notes need besides.
#[derive(Debug)]
struct NoteExpander {
    placement: Placement,
    /// Tree weights of every node, without words: what a placed text brings.
    tree: HashMap<Arc<str>, TokenBag>,
    text: Milli,
    word: Milli,
}

impl DimensionExpander {
    fn new(dimension: &Dimension, nodes: &NodeMap, settings: &ScoreSettings) -> Self {
        let every = |expand: &dyn Fn(&Node) -> TokenBag| -> HashMap<Arc<str>, TokenBag> {
            nodes.values().map(|node| (node.key.clone(), expand(node))).collect()
        };
        match &dimension.expansion {
            Expansion::Tree { levels } => Self {
                by_node: every(&|node| lineage::tree(nodes, node, levels)),
                own: levels.last().copied().unwrap_or(FLAT),
                notes: None,
            },
            Expansion::Ordinal { own, neighbour } => {
                let scale = lineage::scale(nodes);
                Self {
                    by_node: every(&|node| lineage::ordinal(&scale, node, *own, *neighbour)),
                    own: *own,
                    notes: None,
                }
            }
            Expansion::Pedigree { generations } => Self {
                by_node: every(&|node| lineage::pedigree(nodes, node, generations)),
                own: generations.first().copied().unwrap_or(FLAT),
                notes: None,
            },
            Expansion::Notes { levels, text, word } => {
                let tree = every(&|node| lineage::tree(nodes, node, levels));
                let by_node = every(&|node| {
                    let mut bag = tree.get(&node.key).cloned().unwrap_or_default();
                    add_words(&mut bag, &node.name, *word);
                    bag
                });
                let placement = Placement::new(nodes, &settings.aliases);
                Self {
                    by_node,
                    own: levels.last().copied().unwrap_or(FLAT),
                    notes: Some(NoteExpander { placement, tree, text: *text, word: *word }),
                }
            }
            Expansion::Flat => Self { by_node: HashMap::new(), own: FLAT, notes: None },
        }
    }

    fn expand(&self, values: &[Value]) -> TokenBag {
        let mut bag = TokenBag::new();
        for value in values {
            match value {
                Value::Node(key) => match self.by_node.get(key) {
                    Some(expanded) => add_all(&mut bag, expanded),
                    None => add(&mut bag, Token::Node(key.clone()), self.own),
                },
                Value::Text(text) => self.expand_text(&mut bag, &phrase::normalised(text)),
            }
        }
        bag
    }

    fn expand_text(&self, bag: &mut TokenBag, normalised: &str) {
        if normalised.is_empty() {
            return;
        }
        let token = Token::Text(normalised.into());
        let Some(notes) = &self.notes else {
            return add(bag, token, self.own);
        };
        add(bag, token, notes.text);
        add_words(bag, normalised, notes.word);
        if let Some(placed) = notes.placement.place(normalised).and_then(|key| notes.tree.get(key))
        {
            add_all(bag, placed);
        }
    }
}

fn add_all(bag: &mut TokenBag, more: &TokenBag) {
    for (token, weight) in more {
        add(bag, token.clone(), *weight);
    }
}

fn add_words(bag: &mut TokenBag, text: &str, weight: Milli) {
    for word in phrase::words(text) {
        add(bag, Token::Word(word.into()), weight);
    }
}

#[cfg(test)]
mod tests;
