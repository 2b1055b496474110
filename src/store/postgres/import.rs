//! Puts beans into the default catalogue.
//!
//! Decides: the order of the statements; imports take turns, by a lock of their own. A bean that is
//! stored as the record says is not touched, so nothing is logged for it. Needs the importer's
//! role. Never does: write a mapped catalogue, or a list.

use super::PostgresStore;
use super::import_rows::{Difference, Stored, write_beans, write_nodes};
use super::migrate::is_default;
use crate::domain::bean::BeanId;
use crate::domain::seed::SeedTaxonomy;
use crate::store::StoreError;
use crate::store::import::{
    CatalogueWriter, ImportRecord, ImportReport, Kind, NewNode, Resolved, Taxa, mapped_refusal,
};
use crate::txn::{BodyError, LockKeys, Tx, lock_key, work};
use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Postgres};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A node as it is read: key, name, parent, position.
type NodeRow = (String, String, Option<String>, Option<i64>);

/// A bean as it is read: id, name, roaster, then its keys a taxonomy, and its texts.
type BeanRow = (
    String,
    String,
    Option<String>,
    Vec<String>,
    Vec<String>,
    Vec<String>,
    Vec<String>,
    Vec<String>,
    Vec<String>,
);

#[async_trait]
impl CatalogueWriter for PostgresStore {
    async fn import(&self, records: &[ImportRecord]) -> Result<ImportReport, StoreError> {
        self.refuse_mapped()?;
        let mut latest: BTreeMap<String, ImportRecord> = BTreeMap::new();
        for record in records {
            self.accepted(&record.id)?;
            latest.insert(record.id.to_string(), record.clone());
        }
        let records = Arc::new(latest);
        let options = &self.settings.transaction;
        let report = self
            .transactor
            .run("import_beans", options, work!([records] => |tx| { import(tx, &records).await }))
            .await?;
        Ok(report)
    }

    async fn seed(&self, taxonomy: &SeedTaxonomy) -> Result<u64, StoreError> {
        self.refuse_mapped()?;
        let seed = Arc::new(taxonomy.clone());
        let options = &self.settings.transaction;
        let added = self
            .transactor
            .run(
                "seed_taxonomies",
                options,
                work!([seed] => |tx| {
                    tx.advisory_xact_locks(&turn()).await?;
                    let mut taxa = known_taxa(tx).await?;
                    taxa.seed(&seed);
                    let new = taxa.take_new();
                    write_nodes(tx, &new).await?;
                    Ok(new.len() as u64)
                }),
            )
            .await?;
        Ok(added)
    }

    async fn delete(&self, ids: &[BeanId]) -> Result<u64, StoreError> {
        self.refuse_mapped()?;
        let ids = Arc::new(self.id_texts(ids)?);
        let options = &self.settings.transaction;
        let deleted = self
            .transactor
            .run(
                "delete_beans",
                options,
                work!([ids] => |tx| {
                    tx.advisory_xact_locks(&turn()).await?;
                    let sql = "DELETE FROM public.coffee_bean WHERE id = ANY ($1::text[]::uuid[])";
                    let done = tx.execute(sqlx::query(sql).bind(ids.to_vec())).await?;
                    Ok(done.rows_affected())
                }),
            )
            .await?;
        Ok(deleted)
    }
}

impl PostgresStore {
    fn refuse_mapped(&self) -> Result<(), StoreError> {
        if is_default(&self.settings.catalogue) { Ok(()) } else { Err(mapped_refusal()) }
    }
}

/// Imports take turns: two of them would add the same taxonomy value twice.
fn turn() -> LockKeys {
    LockKeys::new([lock_key("cupping.import", "")])
}

async fn import(
    tx: &mut Tx<Postgres>,
    records: &BTreeMap<String, ImportRecord>,
) -> Result<ImportReport, BodyError> {
    tx.advisory_xact_locks(&turn()).await?;
    let mut taxa = known_taxa(tx).await?;
    let resolved: Vec<(&ImportRecord, Resolved)> =
        records.values().map(|record| (record, taxa.resolve(record))).collect();
    let new = taxa.take_new();
    write_nodes(tx, &new).await?;
    let stored = stored_beans(tx, records.keys().cloned().collect()).await?;
    let mut report = ImportReport { added: named(new), ..ImportReport::default() };
    let mut difference = Difference::default();
    for (record, resolved) in resolved {
        let roaster = record.roaster.as_deref().map(str::trim).filter(|text| !text.is_empty());
        let wanted = Stored {
            name: record.display_name().to_owned(),
            roaster: roaster.map(str::to_owned),
            values: resolved,
        };
        match stored.get(record.id.as_str()) {
            Some(old) if *old == wanted => report.unchanged += 1,
            Some(old) => {
                report.updated += 1;
                difference.update(record.id.as_str(), old, &wanted);
            }
            None => {
                report.created += 1;
                difference.create(record.id.as_str(), &wanted);
            }
        }
    }
    write_beans(tx, difference).await?;
    Ok(report)
}

fn named(new: Vec<NewNode>) -> Vec<(String, String)> {
    new.into_iter().map(|node| (node.kind.dimension().to_owned(), node.name)).collect()
}

/// The taxonomies as they stand, parents before their children.
async fn known_taxa(tx: &mut Tx<Postgres>) -> Result<Taxa, BodyError> {
    let mut taxa = Taxa::default();
    for kind in Kind::ALL {
        let table = kind.table();
        let sql = if kind.is_tree() {
            format!(
                "WITH RECURSIVE tree (id, name, parent_id, depth) AS ( \
                     SELECT id, name, parent_id, 1 FROM public.{table} WHERE parent_id IS NULL \
                     UNION ALL \
                     SELECT node.id, node.name, node.parent_id, tree.depth + 1 \
                     FROM public.{table} node JOIN tree ON tree.id = node.parent_id) \
                 SELECT id::text, name, parent_id::text, NULL::bigint FROM tree ORDER BY depth"
            )
        } else {
            let position = if kind == Kind::Roast { "position::bigint" } else { "NULL::bigint" };
            format!("SELECT id::text, name, NULL::text, {position} FROM public.{table}")
        };
        let rows: Vec<NodeRow> = tx.fetch_all_as(sqlx::query(AssertSqlSafe(sql))).await?;
        taxa.know_all(kind, rows);
    }
    Ok(taxa)
}

/// The stored beans among the ids, in the shape of what is wanted.
async fn stored_beans(
    tx: &mut Tx<Postgres>,
    ids: Vec<String>,
) -> Result<HashMap<String, Stored>, BodyError> {
    let keys: Vec<String> = Kind::ALL
        .iter()
        .map(|kind| {
            format!(
                "ARRAY(SELECT {}::text FROM public.{} WHERE coffee_bean_id = bean.id)",
                kind.join_column(),
                kind.join_table()
            )
        })
        .collect();
    let sql = format!(
        "SELECT bean.id::text, bean.name, bean.roaster, {}, \
         ARRAY(SELECT note FROM public.non_standard_flavor_note WHERE coffee_bean_id = bean.id) \
         FROM public.coffee_bean bean WHERE bean.id = ANY ($1::text[]::uuid[])",
        keys.join(", ")
    );
    let rows: Vec<BeanRow> = tx.fetch_all_as(sqlx::query(AssertSqlSafe(sql)).bind(ids)).await?;
    let read = |(id, name, roaster, regions, processing, roast, varieties, wheel, texts)| {
        let mut values = Resolved { keys: [regions, processing, roast, varieties, wheel], texts };
        for bag in values.keys.iter_mut().chain([&mut values.texts]) {
            bag.sort_unstable();
        }
        (id, Stored { name, roaster, values })
    };
    Ok(rows.into_iter().map(read).collect())
}
