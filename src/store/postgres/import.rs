//! Puts beans into the default catalogue.
//!
//! Decides: the order of the statements; imports take turns, by a lock of their own. Needs the
//! importer's role. Never does: write a mapped catalogue, or a list.

use super::PostgresStore;
use super::import_rows::{write_beans, write_nodes};
use super::migrate::is_default;
use crate::domain::bean::BeanId;
use crate::domain::seed::SeedTaxonomy;
use crate::store::StoreError;
use crate::store::import::{
    CatalogueWriter, ImportRecord, ImportReport, Kind, Resolved, StoredBean, Taxa, difference,
    latest, refuse_mapped,
};
use crate::txn::{BodyError, LockKeys, Tx, lock_key, work};
use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Postgres};
use std::collections::HashMap;
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
        let records = latest(records, |id| self.accepted(id))?;
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
        refuse_mapped(is_default(&self.settings.catalogue))
    }
}

/// Imports take turns: two of them would add the same taxonomy value twice.
fn turn() -> LockKeys {
    LockKeys::new([lock_key("cupping.import", "")])
}

async fn import(
    tx: &mut Tx<Postgres>,
    records: &[ImportRecord],
) -> Result<ImportReport, BodyError> {
    tx.advisory_xact_locks(&turn()).await?;
    let mut taxa = known_taxa(tx).await?;
    let ids = records.iter().map(|record| record.id.to_string()).collect();
    let stored = stored_beans(tx, ids).await?;
    let found = difference(records, &mut taxa, stored);
    write_nodes(tx, &found.nodes).await?;
    write_beans(tx, &found.changes).await?;
    Ok(found.report)
}

/// The taxonomies as they stand.
async fn known_taxa(tx: &mut Tx<Postgres>) -> Result<Taxa, BodyError> {
    let mut taxa = Taxa::default();
    for kind in Kind::ALL {
        let parent = if kind.is_tree() { "parent_id::text" } else { "NULL::text" };
        let position = if kind == Kind::Roast { "position::bigint" } else { "NULL::bigint" };
        let table = kind.table();
        let sql = format!("SELECT id::text, name, {parent}, {position} FROM public.{table}");
        let rows: Vec<NodeRow> = tx.fetch_all_as(sqlx::query(AssertSqlSafe(sql))).await?;
        taxa.know_all(kind, rows);
    }
    Ok(taxa)
}

/// The stored beans among the ids, in the shape of what is wanted.
async fn stored_beans(
    tx: &mut Tx<Postgres>,
    ids: Vec<String>,
) -> Result<HashMap<String, StoredBean>, BodyError> {
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
        (id, StoredBean { name, roaster, values })
    };
    Ok(rows.into_iter().map(read).collect())
}
