//! What an import changes: the records against what is stored.
//!
//! Decides: which beans are new, which differ and which are left alone, so that nothing of an
//! equal bean is logged and nothing computed anew; and that of two records with one id the later
//! counts. Never does: read or write a database.

use super::{ImportRecord, ImportReport, NewNode, Resolved, Taxa};
use crate::domain::bean::BeanId;
use crate::store::StoreError;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A bean as the tables hold it; its values sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::store) struct StoredBean {
    pub(in crate::store) name: String,
    pub(in crate::store) roaster: Option<String>,
    pub(in crate::store) values: Resolved,
}

/// A bean to be written: new where nothing was stored.
#[derive(Debug)]
pub(in crate::store) struct Change<'a> {
    pub(in crate::store) id: &'a str,
    pub(in crate::store) old: Option<StoredBean>,
    pub(in crate::store) new: StoredBean,
}

/// What an import comes to.
#[derive(Debug)]
pub(in crate::store) struct Difference<'a> {
    pub(in crate::store) report: ImportReport,
    /// Taxonomy nodes to insert before the beans that have them; parents first.
    pub(in crate::store) nodes: Vec<NewNode>,
    pub(in crate::store) changes: Vec<Change<'a>>,
}

/// The last record of each id, in the order of ids.
pub(in crate::store) fn latest(
    records: &[ImportRecord],
    accepted: impl Fn(&BeanId) -> Result<(), StoreError>,
) -> Result<Arc<[ImportRecord]>, StoreError> {
    let mut latest = BTreeMap::new();
    for record in records {
        accepted(&record.id)?;
        latest.insert(&record.id, record);
    }
    Ok(latest.into_values().cloned().collect())
}

/// Compares the records with what is stored of them.
pub(in crate::store) fn difference<'a>(
    records: &'a [ImportRecord],
    taxa: &mut Taxa,
    mut stored: HashMap<String, StoredBean>,
) -> Difference<'a> {
    let mut report = ImportReport::default();
    let mut changes = Vec::new();
    for record in records {
        let id = record.id.as_str();
        let roaster = record.roaster.as_deref().map(str::trim).filter(|text| !text.is_empty());
        let new = StoredBean {
            name: record.display_name().to_owned(),
            roaster: roaster.map(str::to_owned),
            values: taxa.resolve(record),
        };
        let old = stored.remove(id);
        match &old {
            Some(old) if *old == new => report.unchanged += 1,
            Some(_) => report.updated += 1,
            None => report.created += 1,
        }
        if old.as_ref() != Some(&new) {
            changes.push(Change { id, old, new });
        }
    }
    let nodes = taxa.take_new();
    let named = |node: &NewNode| (node.kind.dimension().to_owned(), node.name.clone());
    report.added = nodes.iter().map(named).collect();
    Difference { report, nodes, changes }
}
