//! Rows into values of the domain: ids, bags, taxonomies and lists, the same for every database.
//!
//! Decides: how rows become beans (bags sorted and without repetition, ids canonical), and which
//! ids a catalogue can have. A bean whose id no message could name is left out with a warning.
//! Never does: query.

use super::StoreError;
use crate::config::IdType;
use crate::domain::bean::{BeanId, Value};
use crate::domain::dimension::{Node, NodeMap};
use crate::domain::ranking::{Similar, SimilarList, read_score};
use std::collections::HashMap;
use std::sync::Arc;

/// A row of a taxonomy: key, name, parent, rank.
pub(super) type TreeRow = (String, Option<String>, Option<String>, Option<i64>);

/// A row of the similarity table: source, similar bean, score.
pub(super) type StoredRow = (String, String, f64);

/// The nodes of a taxonomy; `pairs` are child and parent, where parents have a table of their own.
pub(super) fn nodes(rows: Vec<TreeRow>, pairs: Vec<(String, String)>) -> NodeMap {
    let mut nodes = NodeMap::new();
    for (key, name, parent, rank) in rows {
        let key: Arc<str> = key.into();
        let name = name.map_or_else(|| Arc::clone(&key), Into::into);
        let parents = parent.into_iter().map(Into::into).collect();
        nodes.insert(Arc::clone(&key), Node { key, name, parents, rank });
    }
    if pairs.is_empty() {
        return nodes;
    }
    for (child, parent) in pairs {
        if let Some(node) = nodes.get_mut(child.as_str()) {
            node.parents.push(parent.into());
        }
    }
    for node in nodes.values_mut() {
        node.parents.sort();
        node.parents.dedup();
    }
    nodes
}

/// What a bean has in one dimension.
pub(super) fn bag(nodes: Vec<String>, texts: Vec<String>) -> Vec<Value> {
    let nodes = nodes.into_iter().map(|key| Value::Node(key.into()));
    let texts = texts.into_iter().filter(|text| !text.trim().is_empty());
    let mut bag: Vec<Value> = nodes.chain(texts.map(|text| Value::Text(text.into()))).collect();
    bag.sort();
    bag.dedup();
    bag
}

/// The id, if a message could name this bean: in a text column, a UUID in another spelling than
/// the canonical one could not be found again.
pub(super) fn readable_id(text: &str) -> Option<BeanId> {
    match BeanId::parse(text) {
        Ok(id) if id.as_str() == text => Some(id),
        Ok(id) => {
            tracing::warn!(
                bean.id = text,
                canonical = id.as_str(),
                "bean left out: its id is a uuid in an unusual spelling; store the canonical one"
            );
            None
        }
        Err(error) => {
            tracing::warn!(bean.id = text, %error, "bean left out: its id cannot be used");
            None
        }
    }
}

/// Whether a column of this type can hold the id; the message says what it holds.
pub(super) fn accepts(id_type: IdType, id: &BeanId) -> Result<(), String> {
    let text = id.as_str();
    match id_type {
        IdType::Uuid => uuid::Uuid::try_parse(text).map(drop).map_err(|_| {
            "this catalogue's ids are uuids, such as 018f2b1e-7b52-7cc0-a1b2-0123456789ab"
                .to_owned()
        }),
        IdType::Bigint => match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => Ok(()),
            _ => Err("this catalogue's ids are whole numbers of 64 bits, without a plus sign or \
                      leading zeros"
                .to_owned()),
        },
        IdType::Auto | IdType::Text => Ok(()),
    }
}

/// The id of a bean that the similarity table names.
pub(super) fn read_id(text: &str) -> Result<BeanId, StoreError> {
    BeanId::parse(text).map_err(|error| StoreError::Data {
        what: format!("the id {text:?} in the similarity table"),
        message: format!("{error}; delete the row"),
    })
}

/// One row's similar bean.
pub(super) fn read_similar(similar: &str, score: f64) -> Result<Similar, StoreError> {
    Ok(Similar { bean: read_id(similar)?, ppm: read_score(score) })
}

/// The rows as lists in order, by source; a source without rows is not there.
pub(super) fn lists(rows: Vec<StoredRow>) -> Result<HashMap<String, SimilarList>, StoreError> {
    let mut lists: HashMap<String, SimilarList> = HashMap::new();
    for (source, similar, score) in rows {
        lists.entry(source).or_default().push(read_similar(&similar, score)?);
    }
    lists.values_mut().for_each(|list| list.sort_unstable());
    Ok(lists)
}
