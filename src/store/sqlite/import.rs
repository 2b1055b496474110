//! Import, seed and delete on SQLite, in our own schema.
//!
//! Decides: the statements. Never does: write a mapped catalogue, or a list.

use super::{SqliteStore, json_array};
use crate::config::IdType;
use crate::domain::bean::BeanId;
use crate::domain::seed::SeedTaxonomy;
use crate::store::StoreError;
use crate::store::import::{
    CatalogueWriter, Change, ImportRecord, ImportReport, Kind, NewNode, StoredBean, Taxa,
    difference, is_own_schema, latest, refuse_mapped,
};
use crate::txn::{BodyError, Tx, work};
use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Sqlite};
use std::collections::HashMap;
use std::sync::Arc;

#[async_trait]
impl CatalogueWriter for SqliteStore {
    async fn import(&self, records: &[ImportRecord]) -> Result<ImportReport, StoreError> {
        self.refuse_mapped()?;
        let records = latest(records, |id| self.accepted(id))?;
        let options = &self.settings.transaction;
        let body = work!([records] => |tx: Sqlite| { import(tx, &records).await });
        Ok(self.writer.run("import_beans", options, body).await?)
    }

    async fn seed(&self, taxonomy: &SeedTaxonomy) -> Result<u64, StoreError> {
        self.refuse_mapped()?;
        let taxonomy = Arc::new(taxonomy.clone());
        let options = &self.settings.transaction;
        let body = work!([taxonomy] => |tx: Sqlite| {
            let mut taxa = read_taxa(tx).await?;
            taxa.seed(&taxonomy);
            let new = taxa.take_new();
            insert_nodes(tx, &new).await?;
            Ok(new.len() as u64)
        });
        Ok(self.writer.run("seed_taxonomies", options, body).await?)
    }

    async fn delete(&self, ids: &[BeanId]) -> Result<u64, StoreError> {
        self.refuse_mapped()?;
        let ids = Arc::new(self.bound(ids)?);
        let options = &self.settings.transaction;
        let body = work!([ids] => |tx: Sqlite| {
            let sql = "DELETE FROM coffee_bean WHERE id IN (SELECT value FROM json_each(?1))";
            Ok(tx.execute(sqlx::query(sql).bind(ids.to_string())).await?.rows_affected())
        });
        Ok(self.writer.run("delete_beans", options, body).await?)
    }
}

impl SqliteStore {
    /// Whether the mapping is that of our own catalogue, whose ids are text here.
    pub(super) fn has_own_schema(&self) -> bool {
        let id_types = [IdType::Auto, IdType::Uuid, IdType::Text];
        is_own_schema(&self.settings.catalogue, &id_types)
    }

    fn refuse_mapped(&self) -> Result<(), StoreError> {
        refuse_mapped(self.has_own_schema())
    }
}

async fn import(tx: &mut Tx<Sqlite>, records: &[ImportRecord]) -> Result<ImportReport, BodyError> {
    let mut taxa = read_taxa(tx).await?;
    let ids = json_array(records.iter().map(|record| record.id.as_str()));
    let stored = read_stored(tx, &ids).await?;
    let found = difference(records, &mut taxa, stored);
    insert_nodes(tx, &found.nodes).await?;
    for change in &found.changes {
        write_bean(tx, change).await?;
    }
    Ok(found.report)
}

async fn read_taxa(tx: &mut Tx<Sqlite>) -> Result<Taxa, BodyError> {
    let mut taxa = Taxa::default();
    for kind in Kind::ALL {
        let (parent, position) = (
            if kind.is_tree() { "parent_id" } else { "NULL" },
            if kind == Kind::Roast { "position" } else { "NULL" },
        );
        let sql = format!("SELECT id, name, {parent}, {position} FROM {}", kind.table());
        let rows: Vec<(String, String, Option<String>, Option<i64>)> =
            tx.fetch_all_as(sqlx::query(AssertSqlSafe(sql))).await?;
        taxa.know_all(kind, rows);
    }
    Ok(taxa)
}

async fn read_stored(
    tx: &mut Tx<Sqlite>,
    ids: &str,
) -> Result<HashMap<String, StoredBean>, BodyError> {
    let among = "IN (SELECT value FROM json_each(?1))";
    let sql = format!("SELECT id, name, roaster FROM coffee_bean WHERE id {among}");
    let rows: Vec<(String, String, Option<String>)> =
        tx.fetch_all_as(sqlx::query(AssertSqlSafe(sql)).bind(ids.to_owned())).await?;
    let mut stored: HashMap<String, StoredBean> = rows
        .into_iter()
        .map(|(id, name, roaster)| (id, StoredBean { name, roaster, ..StoredBean::default() }))
        .collect();
    let joins = Kind::ALL.map(|kind| (Some(kind), kind.join_table(), kind.join_column()));
    for (kind, table, column) in joins.into_iter().chain([(None, TEXTS, "note")]) {
        let sql = format!(
            "SELECT coffee_bean_id, {column} FROM {table} WHERE coffee_bean_id {among} ORDER BY 2"
        );
        let rows: Vec<(String, String)> =
            tx.fetch_all_as(sqlx::query(AssertSqlSafe(sql)).bind(ids.to_owned())).await?;
        for (id, value) in rows {
            let Some(bean) = stored.get_mut(&id) else { continue };
            match kind {
                Some(kind) => bean.values.keys[kind as usize].push(value),
                None => bean.values.texts.push(value),
            }
        }
    }
    Ok(stored)
}

const TEXTS: &str = "non_standard_flavor_note";

async fn insert_nodes(tx: &mut Tx<Sqlite>, nodes: &[NewNode]) -> Result<(), BodyError> {
    for node in nodes {
        let (column, value) = match node.kind {
            kind if kind.is_tree() => (", parent_id", ", ?3"),
            Kind::Roast => (", position", ", ?4"),
            _ => ("", ""),
        };
        let table = node.kind.table();
        let sql = format!("INSERT INTO {table} (id, name{column}) VALUES (?1, ?2{value})");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(node.key.clone()).bind(node.name.clone());
        let query = match node.kind {
            kind if kind.is_tree() => query.bind(node.parent.clone()),
            Kind::Roast => query.bind(None::<String>).bind(node.position),
            _ => query,
        };
        tx.execute(query).await?;
        for parent in &node.parents {
            let sql = "INSERT INTO variety_parent (variety_id, parent_id) VALUES (?1, ?2)";
            tx.execute(sqlx::query(sql).bind(node.key.clone()).bind(parent.clone())).await?;
        }
    }
    Ok(())
}

async fn write_bean(tx: &mut Tx<Sqlite>, change: &Change<'_>) -> Result<(), BodyError> {
    let (id, bean) = (change.id, &change.new);
    let sql = "INSERT INTO coffee_bean (id, name, roaster) VALUES (?1, ?2, ?3) \
               ON CONFLICT (id) DO UPDATE SET name = excluded.name, roaster = excluded.roaster, \
               updated_at = excluded.updated_at";
    let query = sqlx::query(sql).bind(id.to_owned()).bind(bean.name.clone());
    tx.execute(query.bind(bean.roaster.clone())).await?;
    let joins = Kind::ALL
        .map(|kind| (kind.join_table(), kind.join_column(), &bean.values.keys[kind as usize]));
    for (table, column, values) in joins.into_iter().chain([(TEXTS, "note", &bean.values.texts)]) {
        let delete = format!("DELETE FROM {table} WHERE coffee_bean_id = ?1");
        tx.execute(sqlx::query(AssertSqlSafe(delete)).bind(id.to_owned())).await?;
        if values.is_empty() {
            continue;
        }
        let insert = format!(
            "INSERT INTO {table} (coffee_bean_id, {column}) \
             SELECT ?1, value FROM json_each(?2) ORDER BY value"
        );
        let bound = json_array(values.iter().map(String::as_str));
        tx.execute(sqlx::query(AssertSqlSafe(insert)).bind(id.to_owned()).bind(bound)).await?;
    }
    Ok(())
}
