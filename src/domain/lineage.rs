//! The relatives of a node in a taxonomy, and what they weigh.
//!
//! Decides: ancestors by depth, by generation, and neighbours by rank. Survives what no schema
//! forbids: cycles of parents and parents that do not exist.
//! Never does: handle free text (see [`super::placement`]).

use super::dimension::{Milli, Node, NodeMap};
use super::token::{Token, TokenBag, add};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The keys from the root down to the node itself. Follows the first parent; a chain that runs
/// into a cycle or a parent that does not exist begins there.
pub(crate) fn chain<'n>(nodes: &'n NodeMap, node: &'n Node) -> Vec<&'n Node> {
    let mut upward = vec![node];
    let mut visited = BTreeSet::from([&node.key]);
    let mut at = node;
    while let Some(parent) = at.parents.first().and_then(|key| nodes.get(key)) {
        if !visited.insert(&parent.key) {
            break;
        }
        upward.push(parent);
        at = parent;
    }
    upward.reverse();
    upward
}

/// The node and its ancestors, each at the weight of its depth; deeper nodes at the last weight.
pub(crate) fn tree(nodes: &NodeMap, node: &Node, levels: &[Milli]) -> TokenBag {
    let mut bag = TokenBag::new();
    for (depth, member) in chain(nodes, node).into_iter().enumerate() {
        let weight = levels.get(depth).or(levels.last()).copied().unwrap_or_default();
        add(&mut bag, Token::Node(member.key.clone()), weight);
    }
    bag
}

/// The node, its parents, its grandparents …, each generation at its weight.
pub(crate) fn pedigree(nodes: &NodeMap, node: &Node, generations: &[Milli]) -> TokenBag {
    let mut bag = TokenBag::new();
    let mut generation = BTreeSet::from([&node.key]);
    // The list of weights bounds the walk, so a cycle only repeats members already in the bag.
    for weight in generations {
        let members: Vec<&Node> = generation.iter().filter_map(|key| nodes.get(*key)).collect();
        generation = members.iter().flat_map(|member| &member.parents).collect();
        for member in members {
            add(&mut bag, Token::Node(member.key.clone()), *weight);
        }
    }
    bag
}

/// A scale: nodes by rank.
pub(crate) type Scale = BTreeMap<i64, Vec<Arc<str>>>;

/// The scale of a taxonomy; nodes without a rank are not on it.
pub(crate) fn scale(nodes: &NodeMap) -> Scale {
    let mut scale = Scale::new();
    for node in nodes.values() {
        if let Some(rank) = node.rank {
            scale.entry(rank).or_default().push(node.key.clone());
        }
    }
    scale
}

/// The node, and every node at the next lower and the next higher rank there is.
pub(crate) fn ordinal(scale: &Scale, node: &Node, own: Milli, neighbour: Milli) -> TokenBag {
    let mut bag = TokenBag::new();
    add(&mut bag, Token::Node(node.key.clone()), own);
    if let Some(rank) = node.rank {
        let lower = scale.range(..rank).next_back();
        let higher = rank.checked_add(1).and_then(|next| scale.range(next..).next());
        for key in lower.into_iter().chain(higher).flat_map(|(_, keys)| keys) {
            add(&mut bag, Token::Node(key.clone()), neighbour);
        }
    }
    bag
}
