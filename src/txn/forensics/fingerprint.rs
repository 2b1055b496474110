//! The fingerprint of a deadlock: equal for deadlocks of one shape.
//!
//! Decides: what belongs to the shape. On PostgreSQL: the lock modes and kinds along the cycle,
//! whether two of them concern one relation, and what the victim was doing to which relation and
//! by which inner statement. On InnoDB: modes, tables and indexes along the cycle. Statements do
//! not count, because a client of PostgreSQL is told none: the error and the log would differ.
//! Never does: let ids, tuples, times, literals, or the place where the cycle is entered count.

use super::model::{Context, Edge, Engine, ObjectKind};
use super::scan;
use crate::txn::locks::fnv1a;
use std::collections::HashMap;

/// The hash of a shape as text.
pub(super) fn of_text(text: &str) -> String {
    format!("{:016x}", fnv1a(text.as_bytes()))
}

/// The fingerprint of a graph.
pub(super) fn of(
    engine: Engine,
    edges: &[Edge],
    context: Option<&Context>,
    relation: &str,
) -> String {
    let cycle = canonical(edges);
    let doing = context.and_then(|context| context.action.as_deref()).unwrap_or_default();
    let inner = context.and_then(|context| context.statement.as_deref()).map(scan::shape);
    let relation = if engine == Engine::InnoDb { "" } else { relation };
    of_text(&format!("{}|{cycle}|{doing}|{relation}|{}", engine.name(), inner.unwrap_or_default()))
}

/// The fingerprint of a report without a graph: nothing but a statement may be known.
pub(super) fn without_graph(engine: Engine, statement: Option<&str>) -> String {
    let shape = statement.map(scan::shape).unwrap_or_default();
    of_text(&format!("{}|no graph|{shape}", engine.name()))
}

/// The labels of the edges along the cycle, from the start that sorts first.
///
/// Edges are rotated, not sorted: the order along the cycle is a fact. Whether two edges concern
/// one relation is a fact too, told as the distance between them; its OID is not, because it
/// changes with a restored dump.
fn canonical(edges: &[Edge]) -> String {
    let length = edges.len();
    let mut labels: Vec<String> = edges.iter().map(label).collect();
    let mut seen: HashMap<u32, usize> = HashMap::new();
    for at in 0..2 * length {
        let Some(oid) = edges[at % length].object.oid else { continue };
        if let Some(before) = seen.insert(oid, at)
            && at >= length
        {
            labels[at % length].push_str(&format!("same {}", at - before));
        }
    }
    let start = least_rotation(&labels);
    labels.rotate_left(start);
    labels.join("\n")
}

fn label(edge: &Edge) -> String {
    let object = &edge.object;
    let mut held: Vec<&str> = edge.held.iter().map(String::as_str).collect();
    held.sort_unstable();
    held.dedup();
    let (table, index) = match object.kind {
        ObjectKind::Record | ObjectKind::Table => (object.relation.as_deref(), &object.index),
        _ => (None, &None),
    };
    format!(
        "{} {:?} {} {} {}",
        edge.mode,
        object.kind,
        table.unwrap_or_default(),
        index.as_deref().unwrap_or_default(),
        held.join(",")
    )
}

/// Where the least rotation of a cyclic sequence starts.
fn least_rotation(labels: &[String]) -> usize {
    let length = labels.len();
    let (mut one, mut other, mut same) = (0, 1, 0);
    while one < length && other < length && same < length {
        match labels[(one + same) % length].cmp(&labels[(other + same) % length]) {
            std::cmp::Ordering::Equal => same += 1,
            std::cmp::Ordering::Greater => {
                one += same + 1;
                same = 0;
            }
            std::cmp::Ordering::Less => {
                other += same + 1;
                same = 0;
            }
        }
        if one == other {
            other += 1;
        }
    }
    one.min(other).min(length.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_rotation_is_one_for_all_rotations() {
        let letters = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        for word in ["a", "ab", "ba", "bab", "aab", "cabcab", "zzzy"] {
            let rotate = |labels: Vec<String>| {
                let start = least_rotation(&labels);
                (0..labels.len())
                    .map(|at| labels[(start + at) % labels.len()].as_str())
                    .collect::<String>()
            };
            let first = rotate(letters(word));
            for at in 0..word.len() {
                let turned = format!("{}{}", &word[at..], &word[..at]);
                assert_eq!(rotate(letters(&turned)), first, "{word} {turned}");
            }
        }
        assert_eq!(least_rotation(&[]), 0);
    }
}
