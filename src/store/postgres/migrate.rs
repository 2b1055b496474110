//! Brings a database up to what this release needs.
//!
//! Decides: what is ours to create: the schema `cupping` and the triggers always; the default
//! catalogue only where the mapping is the default one and no catalogue is there; the similarity
//! table where a mapped catalogue has none. Needs the rights of the tables' owner, more than a
//! worker has. Never does: change a table it did not make; each trigger is a statement of its own,
//! so that no two tables are locked at once.

use super::PostgresStore;
use super::fitting::{create_lists, refuse_problems, with_lists};
use super::schema::{read_schema, server_version};
use super::snapshot::failed;
use super::triggers::{Trigger, wanted};
use crate::config::{CatalogueConfig, IdType};
use crate::store::StoreError;
use crate::store::import::is_own_schema;
use crate::store::mapping::{quote, quote_qualified};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, SqlSafeStr};
use std::collections::BTreeSet;

/// The oldest release whose functions and triggers we use.
pub(super) const OLDEST: i32 = 150_000;

const CUPPING: [(i64, &str, &str); 1] =
    [(1, "cupping", include_str!("../../../migrations/postgres/cupping/0001_cupping.sql"))];

const CATALOGUE: [(i64, &str, &str); 1] =
    [(1, "catalogue", include_str!("../../../migrations/postgres/catalogue/0001_catalogue.sql"))];

pub(super) const DOING: &str = "migrating the database";

/// Where sqlx notes the migrations of the schema `cupping`.
const NOTED: &str = "cupping.migration";
/// Where it notes those of the default catalogue.
const NOTED_CATALOGUE: &str = "cupping.catalogue_migration";

impl PostgresStore {
    /// Brings the database up to date; answers what was done, a line each, nothing if all was
    /// there. Running it again is harmless.
    ///
    /// # Errors
    /// [`StoreError`] when the role may not, or the mapping does not fit (all problems at once).
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        let (number, version) = server_version(&self.pool).await?;
        if number < OLDEST {
            let message = format!("PostgreSQL {version} is too old; 15 or later is needed");
            return Err(StoreError::Schema(message));
        }
        let catalogue = &self.settings.catalogue;
        let owns = owns_catalogue(&self.pool, catalogue).await?;
        if !owns {
            // Before anything is made: a mapping that cannot fit is refused.
            let schema = read_schema(&self.pool, &catalogue.schema).await?;
            refuse_problems(catalogue, &with_lists(catalogue, schema))?;
        }
        let mut done = Vec::new();
        run(&self.pool, NOTED, &CUPPING, &mut done).await?;
        if owns {
            run(&self.pool, NOTED_CATALOGUE, &CATALOGUE, &mut done).await?;
        }
        let mut schema = read_schema(&self.pool, &catalogue.schema).await?;
        if !schema.tables.contains_key(&catalogue.similarity.table) {
            create_lists(&self.pool, catalogue, &schema).await?;
            done.push(format!("created the table {}", catalogue.similarity.table));
            schema = read_schema(&self.pool, &catalogue.schema).await?;
        }
        refuse_problems(catalogue, &schema)?;
        self.install_triggers(&mut done).await?;
        Ok(done)
    }

    /// Refuses a database that has not been migrated for this mapping: without our triggers
    /// changes would go unnoticed.
    ///
    /// # Errors
    /// [`StoreError::Schema`] says what is missing.
    pub async fn ensure_migrated(&self) -> Result<(), StoreError> {
        let pending = pending(&self.pool).await?;
        if !pending.is_empty() {
            let message = "this database has not been migrated for this release; run `cupping \
                           migrate` as the owner of the tables";
            return Err(StoreError::Schema(message.into()));
        }
        let missing = self.trigger_difference().await?.missing;
        let tables: BTreeSet<&str> = missing.iter().map(|t| t.table.as_str()).collect();
        if tables.is_empty() {
            return Ok(());
        }
        let tables: Vec<&str> = tables.into_iter().collect();
        Err(StoreError::Schema(format!(
            "changes of {} would go unnoticed, since triggers of ours are missing; run `cupping \
             migrate` as the owner of the tables, or set catalogue.refresh = \"reload\"",
            tables.join(", ")
        )))
    }

    async fn install_triggers(&self, done: &mut Vec<String>) -> Result<(), StoreError> {
        let difference = self.trigger_difference().await?;
        let mut connection = self.pool.acquire().await.map_err(failed(DOING))?;
        let schema = &self.settings.catalogue.schema;
        for trigger in &difference.missing {
            self.alter(&mut connection, trigger.create(schema)).await?;
            done.push(format!("created the trigger {} on {}", trigger.name, trigger.table));
        }
        for (schema, table, name) in &difference.surplus {
            let table = quote_qualified(schema, table);
            let drop = format!("DROP TRIGGER IF EXISTS {} ON {table}", quote(name));
            self.alter(&mut connection, drop).await?;
            done.push(format!("dropped the trigger {name} on {table}"));
        }
        Ok(())
    }

    /// One DDL statement, which does not wait longer for its lock than a writer would.
    async fn alter(&self, connection: &mut PgConnection, sql: String) -> Result<(), StoreError> {
        let wait = format!("{}ms", self.lock_timeout().as_millis());
        let mut alone = connection.begin().await.map_err(failed(DOING))?;
        sqlx::query("SELECT set_config('lock_timeout', $1, true)")
            .bind(wait)
            .execute(&mut *alone)
            .await
            .map_err(failed(DOING))?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *alone).await.map_err(failed(DOING))?;
        alone.commit().await.map_err(failed(DOING))
    }

    /// Which triggers are missing (or differ), and which of ours are not wanted any more.
    pub(super) async fn trigger_difference(&self) -> Result<Difference, StoreError> {
        let catalogue = &self.settings.catalogue;
        let wanted = wanted(catalogue, self.guarded);
        let installed = installed(&self.pool).await?;
        let is_installed = |trigger: &Trigger| {
            installed.iter().any(|found| {
                found.schema == catalogue.schema
                    && found.table == trigger.table
                    && found.name == trigger.name
                    && found.arguments() == trigger.arguments
            })
        };
        let is_wanted = |found: &Installed| {
            found.schema == catalogue.schema
                && wanted.iter().any(|t| t.table == found.table && t.name == found.name)
        };
        Ok(Difference {
            missing: wanted.iter().filter(|t| !is_installed(t)).cloned().collect(),
            surplus: installed
                .iter()
                .filter(|found| !is_wanted(found))
                .map(|found| (found.schema.clone(), found.table.clone(), found.name.clone()))
                .collect(),
            disabled: installed
                .iter()
                .filter(|found| is_wanted(found) && found.disabled)
                .map(|found| format!("{}.{}", found.table, found.name))
                .collect(),
        })
    }
}

/// The triggers that are, against those that should be.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) missing: BTreeSet<Trigger>,
    pub(super) surplus: Vec<(String, String, String)>,
    pub(super) disabled: Vec<String>,
}

#[derive(Debug)]
struct Installed {
    schema: String,
    table: String,
    name: String,
    arguments: Vec<u8>,
    disabled: bool,
}

impl Installed {
    /// PostgreSQL keeps arguments one after the other, each ended by a zero byte.
    fn arguments(&self) -> Vec<String> {
        let mut parts: Vec<String> = self
            .arguments
            .split(|byte| *byte == 0)
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect();
        parts.pop();
        parts
    }
}

async fn installed(pool: &PgPool) -> Result<Vec<Installed>, StoreError> {
    let rows: Vec<(String, String, String, Vec<u8>, bool)> = sqlx::query_as(
        "SELECT n.nspname::text, c.relname::text, t.tgname::text, t.tgargs, t.tgenabled = 'D' \
         FROM pg_catalog.pg_trigger t \
         JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid \
         JOIN pg_catalog.pg_namespace ours ON ours.oid = p.pronamespace \
         WHERE ours.nspname = 'cupping' AND NOT t.tgisinternal AND t.tgparentid = 0 \
         ORDER BY 1, 2, 3",
    )
    .fetch_all(pool)
    .await
    .map_err(failed("reading the triggers"))?;
    let read = |(schema, table, name, arguments, disabled)| Installed {
        schema,
        table,
        name,
        arguments,
        disabled,
    };
    Ok(rows.into_iter().map(read).collect())
}

async fn run(
    pool: &PgPool,
    noted: &'static str,
    scripts: &[(i64, &'static str, &'static str)],
    done: &mut Vec<String>,
) -> Result<(), StoreError> {
    let migrations = scripts.iter().map(|(version, name, sql)| {
        let sql = sql.into_sql_str();
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql, false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.dangerous_set_table_name(noted);
    migrator.create_schema("cupping");
    let before = applied(pool, noted).await?;
    migrator.run(pool).await.map_err(|error| match error {
        MigrateError::Execute(source) => failed(DOING)(source),
        other => StoreError::Schema(format!("{DOING}: {other}")),
    })?;
    let new = scripts.iter().filter(|(version, ..)| !before.contains(version));
    done.extend(new.map(|(version, name, _)| format!("applied migration {version:04} {name}")));
    Ok(())
}

/// The versions that a migration table notes; none where there is no such table.
async fn applied(pool: &PgPool, noted: &'static str) -> Result<Vec<i64>, StoreError> {
    let broken = failed("reading which migrations were applied");
    let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(noted)
        .fetch_one(pool)
        .await
        .map_err(broken)?;
    if !exists {
        return Ok(Vec::new());
    }
    let select = format!("SELECT version FROM {noted} WHERE success");
    sqlx::query_scalar(AssertSqlSafe(select)).fetch_all(pool).await.map_err(broken)
}

/// The migrations of the schema `cupping` that have not been applied.
pub(super) async fn pending(pool: &PgPool) -> Result<Vec<&'static str>, StoreError> {
    let applied = applied(pool, NOTED).await?;
    let pending = CUPPING.iter().filter(|(version, ..)| !applied.contains(version));
    Ok(pending.map(|(_, name, _)| *name).collect())
}

/// Whether the default catalogue is ours to create, or was created by us.
pub(super) async fn owns_catalogue(
    pool: &PgPool,
    catalogue: &CatalogueConfig,
) -> Result<bool, StoreError> {
    if !is_default(catalogue) {
        return Ok(false);
    }
    if !applied(pool, NOTED_CATALOGUE).await?.is_empty() {
        return Ok(true);
    }
    let schema = read_schema(pool, &catalogue.schema).await?;
    Ok(!schema.tables.contains_key(&catalogue.bean_table))
}

/// Whether the mapping is that of our own catalogue.
pub(super) fn is_default(catalogue: &CatalogueConfig) -> bool {
    catalogue.schema == CatalogueConfig::default().schema
        && is_own_schema(catalogue, &[IdType::Auto, IdType::Uuid])
}
