//! Operands and arguments, become values.
//!
//! Decides: nothing. Never does: guess: what cannot be seen is opaque.

use super::Argument;
use crate::txn::lockdep::access::{Operand, Pair, Values};
use crate::txn::lockdep::class::Key;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Known(Key),
    Null,
    Opaque,
}

pub(super) fn one(operand: &Operand, arguments: &[Argument]) -> Value {
    match operand {
        Operand::Literal(key) => Value::Known(key.clone()),
        Operand::Null => Value::Null,
        Operand::Opaque => Value::Opaque,
        Operand::Bound(number) => match arguments.get(*number) {
            Some(Argument::One(key)) => Value::Known(key.clone()),
            Some(Argument::Null) => Value::Null,
            _ => Value::Opaque,
        },
    }
}

/// Every value; an array that cannot be seen is two opaque ones, for it may have several.
pub(super) fn resolve(values: &Values, arguments: &[Argument]) -> Vec<Value> {
    match values {
        Values::Listed(operands) | Values::OneOf(operands) => {
            operands.iter().map(|o| one(o, arguments)).collect()
        }
        Values::AnyOf(array) | Values::Unnested(array) => match array {
            Operand::Bound(number) => match arguments.get(*number) {
                Some(Argument::Many(keys)) => keys.iter().cloned().map(Value::Known).collect(),
                Some(Argument::One(Key::Text(text))) => match elements(text) {
                    Some(keys) => keys.into_iter().map(Value::Known).collect(),
                    None => vec![Value::Opaque, Value::Opaque],
                },
                _ => vec![Value::Opaque, Value::Opaque],
            },
            _ => vec![Value::Opaque, Value::Opaque],
        },
    }
}

/// The elements of an array that was bound as PostgreSQL's text: integers, UUIDs, or plain texts.
fn elements(array: &str) -> Option<Vec<Key>> {
    let inside = array.strip_prefix('{')?.strip_suffix('}')?;
    if inside.is_empty() {
        return Some(Vec::new());
    }
    let numbers: Option<Vec<Key>> =
        inside.split(',').map(|number| number.parse().ok().map(Key::Int)).collect();
    let uuids = || inside.split(',').map(uuid).collect::<Option<Vec<Key>>>();
    numbers.or_else(uuids).or_else(|| {
        let quoted = inside.strip_prefix('"')?.strip_suffix('"')?;
        let plain = !quoted.contains('\\');
        plain.then(|| quoted.split("\",\"").map(Key::from).collect())
    })
}

/// As an argument of that type is read.
fn uuid(text: &str) -> Option<Key> {
    let hex = (text.len() == 36).then(|| text.replace('-', ""))?;
    let number = u128::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == 32)?;
    Some(Key::Bytes(number.to_be_bytes().to_vec()))
}

/// Every value, if all can be seen.
pub(super) fn keys(values: &Values, arguments: &[Argument]) -> Option<Vec<Key>> {
    let known = |value| match value {
        Value::Known(key) => Some(key),
        _ => None,
    };
    resolve(values, arguments).into_iter().map(known).collect()
}

/// The values of several columns together, in the order of their list, and whether rows are
/// visited in that order.
pub(super) fn tuples(
    pairs: &[Pair],
    columns: &[Arc<str>],
    arguments: &[Argument],
) -> Option<(Vec<Key>, bool)> {
    let (mut listed, mut sets) = (false, 0);
    let mut lists = Vec::new();
    for column in columns {
        let (_, values) = pairs.iter().find(|(name, _)| name == column)?;
        listed |= matches!(values, Values::Unnested(_));
        listed |= matches!(values, Values::Listed(of) if of.len() > 1);
        let list = keys(values, arguments)?;
        let set = matches!(values, Values::OneOf(_) | Values::AnyOf(_));
        sets += usize::from(set && list.len() > 1);
        lists.push(list);
    }
    if let [list] = lists.as_slice() {
        return Some((list.clone(), listed));
    }
    let long = lists.iter().filter(|list| list.len() > 1).count();
    if sets > 0 && long > 1 {
        return None; // every combination, of which few exist
    }
    if lists.iter().any(Vec::is_empty) {
        return Some((Vec::new(), listed));
    }
    let rows = lists.iter().map(Vec::len).max()?;
    if lists.iter().any(|list| list.len() != rows && list.len() != 1) {
        return None;
    }
    let row = |at: usize| {
        let parts = lists.iter().map(|list| list[at.min(list.len() - 1)].clone()).collect();
        Key::Tuple(parts)
    };
    Some(((0..rows).map(row).collect(), listed))
}
