//! Brings a file up to what this release needs.
//!
//! Decides: what is ours to create: our bookkeeping and the triggers always; the default catalogue
//! only where the mapping is the default one and no catalogue is there; the similarity table where
//! a mapped catalogue has none. Never does: change a table it did not make.

use super::triggers::{PREFIX, wanted};
use super::{SqliteStore, failed};
use crate::config::{CatalogueConfig, Refresh};
use crate::store::StoreError;
use crate::store::mapping::quote;
use crate::txn::{BodyError, Tx, work};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr, Sqlite};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A set of migrations, and the table in which sqlx notes them: each applied once, by checksum.
struct Scripts {
    noted: &'static str,
    scripts: &'static [(i64, &'static str, &'static str)],
}

const CUPPING: Scripts = Scripts {
    noted: "cupping_migration",
    scripts: &[(1, "cupping", include_str!("../../../migrations/sqlite/cupping/0001_cupping.sql"))],
};

const CATALOGUE: Scripts = Scripts {
    noted: "cupping_catalogue_migration",
    scripts: &[(
        1,
        "catalogue",
        include_str!("../../../migrations/sqlite/catalogue/0001_catalogue.sql"),
    )],
};

const DOING: &str = "migrating the SQLite file";

impl SqliteStore {
    /// Brings the file up to date; answers what was done, a line each, nothing if all was there.
    /// Running it again is harmless.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be written, holds migrations that were changed, or
    /// lacks tables that the mapping names.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        let mut done = Vec::new();
        let catalogue = &self.settings.catalogue;
        let has_beans = self.has_table(&catalogue.bean_table).await?;
        self.apply(&CUPPING, &mut done).await?;
        // A catalogue of ours is brought up to date; one that was here before us is left alone.
        let is_ours = !has_beans || !self.noted(&CATALOGUE).await?.is_empty();
        if self.has_own_schema() && is_ours {
            self.apply(&CATALOGUE, &mut done).await?;
        }
        if !self.has_table(&catalogue.similarity.table).await? {
            self.create_lists().await?;
            done.push(format!("created the table {}", catalogue.similarity.table));
        }
        self.refuse_missing_tables().await?;
        if self.install_triggers().await? {
            done.push("installed the triggers of the change log".into());
        }
        Ok(done)
    }

    async fn apply(&self, scripts: &Scripts, done: &mut Vec<String>) -> Result<(), StoreError> {
        let before = self.noted(scripts).await?;
        let migrations = scripts.scripts.iter().map(|(version, name, sql)| {
            let sql = sql.into_sql_str();
            Migration::new(*version, (*name).into(), MigrationType::Simple, sql, false)
        });
        let mut migrator = Migrator::with_migrations(migrations.collect());
        migrator.dangerous_set_table_name(scripts.noted);
        migrator.run(&self.write_pool).await.map_err(|error| match error {
            MigrateError::Execute(source) => failed(DOING)(source),
            other => StoreError::Schema(format!("{DOING}: {other}")),
        })?;
        let new = scripts.scripts.iter().filter(|(version, ..)| !before.contains(version));
        done.extend(new.map(|(version, name, _)| format!("applied migration {version:04} {name}")));
        Ok(())
    }

    async fn noted(&self, scripts: &Scripts) -> Result<Vec<i64>, StoreError> {
        if !self.has_table(scripts.noted).await? {
            return Ok(Vec::new());
        }
        let sql = format!("SELECT version FROM {} WHERE success", quote(scripts.noted));
        sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&self.write_pool)
            .await
            .map_err(failed(DOING))
    }

    async fn has_table(&self, table: &str) -> Result<bool, StoreError> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM sqlite_master \
             WHERE type IN ('table', 'view') AND name = ?1)",
        )
        .bind(table.to_owned())
        .fetch_one(&self.write_pool)
        .await
        .map_err(failed(DOING))
    }

    async fn create_lists(&self) -> Result<(), StoreError> {
        let lists = &self.settings.catalogue.similarity;
        let (source, similar) = (quote(&lists.source), quote(&lists.similar));
        let sql = format!(
            "CREATE TABLE {table} ({source} NOT NULL, {similar} NOT NULL, {score} REAL NOT NULL, \
             PRIMARY KEY ({source}, {similar})) WITHOUT ROWID; \
             CREATE INDEX {index} ON {table} ({similar})",
            table = quote(&lists.table),
            score = quote(&lists.score),
            index = quote(&format!("{}_similar", lists.table)),
        );
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&self.write_pool)
            .await
            .map(drop)
            .map_err(failed(DOING))
    }

    /// All at once, before a trigger on a table that is not there would fail on the first.
    async fn refuse_missing_tables(&self) -> Result<(), StoreError> {
        let mut missing = Vec::new();
        for table in tables(&self.settings.catalogue) {
            if !self.has_table(table).await? {
                missing.push(table);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(StoreError::Schema(format!(
            "[catalogue] names tables that the SQLite file does not have: {}; correct the names, \
             or leave [catalogue] out to let Cupping make its own",
            missing.join(", ")
        )))
    }

    /// Makes the triggers what the mapping wants. Whatever changed while they were different is
    /// not in the log, so an epoch says: read everything anew.
    async fn install_triggers(&self) -> Result<bool, StoreError> {
        let catalogue = &self.settings.catalogue;
        let wanted = match catalogue.refresh {
            Refresh::Log => wanted(catalogue),
            Refresh::Reload => BTreeMap::new(),
        };
        let wanted = Arc::new(wanted);
        let options = &self.settings.transaction;
        let body = work!([wanted] => |tx: Sqlite| { replace_triggers(tx, &wanted).await });
        Ok(self.writer.run("install_triggers", options, body).await?)
    }
}

async fn replace_triggers(
    tx: &mut Tx<Sqlite>,
    wanted: &BTreeMap<String, String>,
) -> Result<bool, BodyError> {
    let query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' \
                 AND substr(name, 1, length(?1)) = ?1";
    let installed: Vec<(String, String)> = tx.fetch_all_as(sqlx::query(query).bind(PREFIX)).await?;
    let installed: BTreeMap<String, String> = installed.into_iter().collect();
    if installed == *wanted {
        return Ok(false);
    }
    for name in installed.keys() {
        tx.execute(sqlx::query(AssertSqlSafe(format!("DROP TRIGGER {}", quote(name))))).await?;
    }
    for sql in wanted.values() {
        tx.execute(sqlx::query(AssertSqlSafe(sql.clone()))).await?;
    }
    tx.execute(sqlx::query("INSERT INTO cupping_change_log (kind) VALUES ('epoch')")).await?;
    Ok(true)
}

/// Every table the mapping names.
fn tables(config: &CatalogueConfig) -> Vec<&str> {
    let mut tables = vec![config.bean_table.as_str(), &config.similarity.table];
    for dimension in &config.dimensions {
        let values = dimension.values.as_ref();
        let parents = values.and_then(|values| values.parents.as_ref());
        tables.extend(values.map(|values| values.table.as_str()));
        tables.extend(parents.map(|join| join.table.as_str()));
        tables.extend(dimension.join.as_ref().map(|join| join.table.as_str()));
        tables.extend(dimension.text.as_ref().map(|text| text.table.as_str()));
    }
    tables
}
