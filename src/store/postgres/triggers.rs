//! The triggers that a mapping needs: which, on which tables.
//!
//! Decides: the set of our triggers, as values; the difference to those that exist is what
//! `migrate` creates and drops, and what `check` reports. Never does: execute anything.

use crate::config::{CatalogueConfig, Refresh};
use crate::store::mapping::{quote, quote_qualified};
use crate::txn::GateLock;
use std::collections::{BTreeMap, BTreeSet};

/// The graph lock: shared by writers, taken alone by whoever deletes beans of a database whose
/// similarity table has foreign keys. The halves spell `CUPP` and `GRPH` in ASCII.
pub(super) const GRAPH: GateLock = GateLock { class: 0x4355_5050, object: 0x4752_5048 };

/// One trigger of ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Trigger {
    /// The table, without its schema.
    pub(super) table: String,
    /// Its name.
    pub(super) name: String,
    /// The arguments of its function.
    pub(super) arguments: Vec<String>,
    /// When, and of which rows: `AFTER INSERT`, `REFERENCING …`.
    timing: &'static str,
    rows: &'static str,
    function: &'static str,
}

/// The three statements that change rows: a trigger with transition tables serves one of them.
const CHANGES: [(&str, &str, &str); 3] = [
    ("insert", "AFTER INSERT", "REFERENCING NEW TABLE AS new_rows"),
    ("update", "AFTER UPDATE", "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows"),
    ("delete", "AFTER DELETE", "REFERENCING OLD TABLE AS old_rows"),
];

impl Trigger {
    /// The statement that creates it, or brings it up to date.
    pub(super) fn create(&self, schema: &str) -> String {
        let arguments: Vec<String> =
            self.arguments.iter().map(|a| format!("'{}'", a.replace('\'', "''"))).collect();
        format!(
            "CREATE OR REPLACE TRIGGER {} {} ON {} {} FOR EACH STATEMENT \
             EXECUTE FUNCTION cupping.{}({})",
            quote(&self.name),
            self.timing,
            quote_qualified(schema, &self.table),
            self.rows,
            self.function,
            arguments.join(", "),
        )
    }

    fn new(
        table: &str,
        name: String,
        timing: &'static str,
        rows: &'static str,
        function: &'static str,
    ) -> Self {
        Self { table: table.to_owned(), name, arguments: Vec::new(), timing, rows, function }
    }
}

/// Every trigger the mapping needs; none where changes are found by reloading.
pub(super) fn wanted(config: &CatalogueConfig, guarded: bool) -> BTreeSet<Trigger> {
    let mut triggers = BTreeSet::new();
    if config.refresh == Refresh::Log {
        log_triggers(config, &mut triggers);
    }
    if guarded {
        for (event, timing) in [("delete", "BEFORE DELETE"), ("truncate", "BEFORE TRUNCATE")] {
            let name = format!("cupping_graph_{event}");
            let mut trigger = Trigger::new(&config.bean_table, name, timing, "", "lock_graph");
            trigger.arguments = vec![GRAPH.class.to_string(), GRAPH.object.to_string()];
            triggers.insert(trigger);
        }
    }
    triggers
}

fn log_triggers(config: &CatalogueConfig, triggers: &mut BTreeSet<Trigger>) {
    // The columns that name a bean, by table; a set, since a table may serve several dimensions.
    let mut beans: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut taxonomies: BTreeSet<&str> = BTreeSet::new();
    beans.entry(&config.bean_table).or_default().insert(&config.bean_id);
    for dimension in &config.dimensions {
        if let Some(join) = &dimension.join {
            beans.entry(&join.table).or_default().insert(&join.from);
        }
        if let Some(text) = &dimension.text {
            beans.entry(&text.table).or_default().insert(&text.bean);
        }
        if let Some(values) = &dimension.values {
            taxonomies.insert(&values.table);
            taxonomies.extend(values.parents.as_ref().map(|parents| parents.table.as_str()));
        }
    }
    for (table, columns) in &beans {
        for (number, column) in (1..).zip(columns) {
            for (event, timing, rows) in CHANGES {
                let name = match number {
                    1 => format!("cupping_log_{event}"),
                    _ => format!("cupping_log_{event}_{number}"),
                };
                let mut trigger = Trigger::new(table, name, timing, rows, "log_beans");
                trigger.arguments = vec![(*column).to_owned()];
                triggers.insert(trigger);
            }
        }
    }
    for table in &taxonomies {
        for (event, timing, rows) in CHANGES {
            let name = format!("cupping_epoch_{event}");
            triggers.insert(Trigger::new(table, name, timing, rows, "log_epoch"));
        }
    }
    for table in beans.keys().chain(&taxonomies) {
        let name = "cupping_epoch_truncate".to_owned();
        triggers.insert(Trigger::new(table, name, "AFTER TRUNCATE", "", "log_epoch"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_of_the_default_mapping_is_watched() {
        let triggers = wanted(&CatalogueConfig::default(), false);
        let tables: BTreeSet<&str> = triggers.iter().map(|t| t.table.as_str()).collect();
        assert_eq!(tables.len(), 13, "{tables:?}");
        assert!(!tables.contains("coffee_bean_similarity"));
        assert_eq!(triggers.len(), 13 * 4);
    }

    #[test]
    fn reloading_needs_no_trigger_and_the_guard_is_apart() {
        let config = CatalogueConfig { refresh: Refresh::Reload, ..CatalogueConfig::default() };
        assert!(wanted(&config, false).is_empty());
        assert_eq!(wanted(&config, true).len(), 2);
    }

    #[test]
    fn a_quote_in_a_column_name_stays_inside_its_argument() {
        let config = CatalogueConfig { bean_id: "it's".into(), ..CatalogueConfig::default() };
        let triggers = wanted(&config, false);
        let first = triggers.iter().find(|t| t.arguments == ["it's"]).expect("bean trigger");
        assert!(first.create("public").ends_with("cupping.log_beans('it''s')"));
    }
}
