//! Least privilege: the script that gives the worker and the importer their roles.
//!
//! Decides: which rights on which tables of the mapping. The script of the default catalogue is
//! `migrations/postgres/roles.sql` itself; a mapped one gets the same with its own names. Never
//! does: give a login, or more than a worker or an importer needs.

use super::PostgresStore;
use super::migrate::is_default;
use super::snapshot::failed;
use crate::config::CatalogueConfig;
use crate::store::StoreError;
use crate::store::mapping::{quote, quote_qualified};
use sqlx::AssertSqlSafe;
use std::collections::BTreeSet;

const SCRIPT: &str = include_str!("../../../migrations/postgres/roles.sql");
/// Where the script begins to name tables of the catalogue, and where it has named them all.
const NAMES_TABLES: &str = "-- The catalogue: both read it";
const NAMES_OURS: &str = "-- Our own schema.";

/// The script that creates the roles and grants what they need, with the names of a mapping.
#[must_use]
pub fn roles_sql(catalogue: &CatalogueConfig) -> String {
    let parts = SCRIPT.find(NAMES_TABLES).zip(SCRIPT.find(NAMES_OURS));
    let (begins, ends) = parts.expect("the script names the catalogue's tables, then ours");
    if is_default(catalogue) {
        return SCRIPT.to_owned();
    }
    let schema = quote(&catalogue.schema);
    let tables: Vec<String> = on_catalogue(catalogue).into_iter().map(|(table, _)| table).collect();
    let lists = quote_qualified(&catalogue.schema, &catalogue.similarity.table);
    format!(
        "{}\n\n\
         -- The catalogue as [catalogue] maps it: both read it. (`cupping import` writes our own\n\
         -- catalogue only, so the importer has nothing to write here.)\n\
         GRANT USAGE ON SCHEMA {schema} TO cupping_worker, cupping_importer;\n\n\
         GRANT SELECT ON\n    {}\nTO cupping_worker, cupping_importer;\n\n\
         -- The lists: the worker replaces whole rows, it never updates one.\n\
         GRANT INSERT, DELETE ON {lists} TO cupping_worker;\n\n{}",
        SCRIPT[..begins].trim_end(),
        tables.join(",\n    "),
        &SCRIPT[ends..],
    )
}

/// What a worker needs on the tables of the mapping.
pub(super) fn on_catalogue(catalogue: &CatalogueConfig) -> Vec<(String, &'static str)> {
    let mut read = BTreeSet::from([catalogue.bean_table.as_str()]);
    for dimension in &catalogue.dimensions {
        read.extend(dimension.join.as_ref().map(|join| join.table.as_str()));
        read.extend(dimension.text.as_ref().map(|text| text.table.as_str()));
        if let Some(values) = &dimension.values {
            read.insert(&values.table);
            read.extend(values.parents.as_ref().map(|parents| parents.table.as_str()));
        }
    }
    let lists = catalogue.similarity.table.as_str();
    read.remove(lists);
    let qualified = |table| quote_qualified(&catalogue.schema, table);
    let mut rights: Vec<_> = read.into_iter().map(|table| (qualified(table), "SELECT")).collect();
    rights.push((qualified(lists), "SELECT, INSERT, DELETE"));
    rights
}

impl PostgresStore {
    /// Creates the roles where they are missing, and grants what they need. Running it again is
    /// harmless.
    ///
    /// # Errors
    /// [`StoreError`] when this role may not, or the database has not been migrated.
    pub async fn grant(&self) -> Result<(), StoreError> {
        sqlx::raw_sql(AssertSqlSafe(roles_sql(&self.settings.catalogue)))
            .execute(&self.pool)
            .await
            .map(drop)
            .map_err(failed("granting the roles their rights"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_catalogue_s_script_grants_what_a_worker_needs() {
        let catalogue = CatalogueConfig::default();
        let script = roles_sql(&catalogue);
        assert_eq!(script, SCRIPT);
        let select = script.split("GRANT SELECT ON").nth(1).and_then(|s| s.split("TO ").next());
        let select = select.expect("the worker reads");
        for (table, _) in on_catalogue(&catalogue) {
            let plain = table.replace('"', "");
            assert!(select.contains(&format!(" {plain},")), "{plain} cannot be read");
        }
    }

    #[test]
    fn a_mapped_catalogue_s_script_names_its_tables_and_no_other() {
        let mut catalogue = CatalogueConfig {
            schema: "Shop".into(),
            bean_table: "bean\"s".into(),
            ..CatalogueConfig::default()
        };
        catalogue.similarity.table = "alike".into();
        catalogue.dimensions.truncate(1);
        let script = roles_sql(&catalogue);
        assert!(script.contains("\"Shop\".\"bean\"\"s\""), "{script}");
        assert!(script.contains("GRANT INSERT, DELETE ON \"Shop\".\"alike\""), "{script}");
        assert!(!script.contains("public."), "{script}");
        assert!(script.contains("CREATE ROLE cupping_worker"), "{script}");
        assert!(script.contains("cupping.queue_message"), "{script}");
    }
}
