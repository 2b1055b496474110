//! The triggers that feed the change log, from the mapping.
//!
//! Decides: which tables are watched, and what a change of them logs: the bean for bean, join and
//! text tables; an epoch for taxonomies. Never does: execute anything.

use crate::config::CatalogueConfig;
use crate::store::mapping::quote;
use std::collections::BTreeMap;

/// What the names of our triggers begin with.
pub(super) const PREFIX: &str = "cupping_log_";

/// Every trigger of a mapping: name to statement.
pub(super) fn wanted(config: &CatalogueConfig) -> BTreeMap<String, String> {
    let mut triggers = BTreeMap::new();
    let mut watch = |table: &str, columns: &[&str]| {
        for (event, rows) in
            [("INSERT", &["NEW"][..]), ("UPDATE", &["OLD", "NEW"]), ("DELETE", &["OLD"])]
        {
            let name = format!("{PREFIX}{table}_{}", event.to_lowercase());
            let logged: String = if columns.is_empty() {
                "INSERT INTO cupping_change_log (kind) VALUES ('epoch');".into()
            } else {
                columns.iter().flat_map(|c| rows.iter().map(|row| log_bean(row, c))).collect()
            };
            let sql = format!(
                "CREATE TRIGGER {} AFTER {event} ON {} BEGIN {logged} END",
                quote(&name),
                quote(table),
            );
            triggers.insert(name, sql);
        }
    };
    watch(&config.bean_table, &[&config.bean_id]);
    for dimension in &config.dimensions {
        if let Some(values) = &dimension.values {
            watch(&values.table, &[]);
            if let Some(parents) = &values.parents {
                watch(&parents.table, &[]);
            }
        }
        if let Some(join) = &dimension.join {
            watch(&join.table, &[&join.from]);
        }
        if let Some(text) = &dimension.text {
            watch(&text.table, &[&text.bean]);
        }
    }
    triggers
}

/// One row; none for a row that belongs to no bean.
fn log_bean(row: &str, column: &str) -> String {
    let column = quote(column);
    format!(
        "INSERT INTO cupping_change_log (kind, bean_id) \
         SELECT 'bean', CAST({row}.{column} AS TEXT) WHERE {row}.{column} IS NOT NULL; "
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beans_joins_texts_and_taxonomies_are_watched() {
        let triggers = wanted(&CatalogueConfig::default());
        // Bean, five joins, one text table, five taxonomies, one table of parents.
        assert_eq!(triggers.len(), 3 * 13);
        let update = &triggers["cupping_log_coffee_bean_region_update"];
        assert!(update.contains("OLD.\"coffee_bean_id\"") && update.contains("NEW.\"coffee_bean"));
        assert!(triggers["cupping_log_region_delete"].contains("'epoch'"));
    }
}
