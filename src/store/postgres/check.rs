//! `cupping check` on PostgreSQL: version, migrations, mapping, triggers, rights, settings.
//!
//! Decides: what is a problem and what only deserves a look. Never does: change anything.

use super::PostgresStore;
use super::migrate::{OLDEST, owns_catalogue, pending};
use super::roles::on_catalogue;
use super::schema::{read_schema, server_version};
use super::snapshot::failed;
use crate::config::{CatalogueConfig, PipelineConfig, Refresh};
use crate::store::mapping::{self, DbSchema};
use crate::store::{Finding, Severity, StoreError};
use std::time::Duration;

const RUN_MIGRATE: &str = "run `cupping migrate` as the owner of the tables";

/// What a worker needs in the schema `cupping`.
const OURS: [(&str, &str); 7] = [
    ("change_log", "SELECT, INSERT, DELETE"),
    ("change_log_seq_seq", "USAGE"),
    ("source_state", "SELECT, INSERT, UPDATE, DELETE"),
    ("state", "SELECT, INSERT, UPDATE, DELETE"),
    ("note", "SELECT, INSERT, UPDATE, DELETE"),
    ("queue_message", "SELECT, INSERT, UPDATE, DELETE"),
    ("queue_failed", "SELECT, INSERT, UPDATE, DELETE"),
];

fn finding(subject: &str, severity: Severity, message: impl Into<String>) -> Finding {
    Finding { subject: subject.to_owned(), severity, message: message.into() }
}

impl PostgresStore {
    /// Looks at everything the store depends on, and changes nothing.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn check(&self) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Vec::new();
        let (number, version) = server_version(&self.pool).await?;
        findings.push(if number < OLDEST {
            let message = format!("PostgreSQL {version} is too old; 15 or later is needed");
            finding("database.version", Severity::Problem, message)
        } else {
            finding("database.version", Severity::Ok, format!("PostgreSQL {version}"))
        });
        let closed = self.closed_schemas().await?;
        if !closed.is_empty() {
            findings.extend(closed);
            return Ok(findings);
        }
        let catalogue = &self.settings.catalogue;
        let schema = read_schema(&self.pool, &catalogue.schema).await?;
        let pending = pending(&self.pool).await?;
        let unmade = !pending.is_empty() && owns_catalogue(&self.pool, catalogue).await?;
        let mapped = if unmade {
            let message = format!(
                "there is no table {} in schema {} yet; `cupping migrate` makes our catalogue, or \
                 map your own tables in [catalogue]",
                catalogue.bean_table, catalogue.schema
            );
            vec![finding("catalogue", Severity::Problem, message)]
        } else {
            let mut found = mapping::check(catalogue, &schema);
            promise_lists(&mut found, catalogue, &schema);
            found
        };
        if mapped.iter().all(|found| found.severity != Severity::Problem) {
            let message = format!("every table and column is there ({})", catalogue.schema);
            findings.push(finding("catalogue", Severity::Ok, message));
        }
        findings.extend(mapped);
        findings.extend(self.check_migrations(&pending).await?);
        if !pending.is_empty() {
            findings.extend(self.check_server_settings().await?);
            return Ok(findings);
        }
        let ours: Vec<(String, &str)> =
            OURS.iter().map(|(table, rights)| (format!("cupping.{table}"), *rights)).collect();
        let theirs = on_catalogue(catalogue);
        findings.extend(self.check_rights(theirs.into_iter().chain(ours).collect()).await?);
        findings.extend(self.check_server_settings().await?);
        Ok(findings)
    }

    /// The schemas that this role may not even look into.
    async fn closed_schemas(&self) -> Result<Vec<Finding>, StoreError> {
        let closed: Vec<String> = sqlx::query_scalar(
            "SELECT nspname::text FROM pg_catalog.pg_namespace \
             WHERE nspname IN ('cupping', $1) AND NOT has_schema_privilege(oid, 'USAGE')",
        )
        .bind(self.settings.catalogue.schema.clone())
        .fetch_all(&self.pool)
        .await
        .map_err(failed("reading the rights of this role"))?;
        let report = |schema: String| {
            let message = format!(
                "this role lacks USAGE on schema {schema}; give it the role cupping_worker \
                 (`cupping migrate --roles` prints how)"
            );
            finding("database.rights", Severity::Problem, message)
        };
        Ok(closed.into_iter().map(report).collect())
    }

    async fn check_migrations(&self, pending: &[&str]) -> Result<Vec<Finding>, StoreError> {
        let migrations = "database.migrations";
        if !pending.is_empty() {
            let message = format!("not applied: {}; {RUN_MIGRATE}", pending.join(", "));
            return Ok(vec![finding(migrations, Severity::Problem, message)]);
        }
        let mut findings = vec![finding(migrations, Severity::Ok, "up to date")];
        let subject = "database.triggers";
        let difference = self.trigger_difference().await?;
        let missing: Vec<String> =
            difference.missing.iter().map(|t| format!("{}.{}", t.table, t.name)).collect();
        if !missing.is_empty() {
            let message = format!(
                "missing, so changes go unnoticed: {}; {RUN_MIGRATE}, or set catalogue.refresh = \
                 \"reload\"",
                missing.join(", ")
            );
            findings.push(finding(subject, Severity::Problem, message));
        }
        if !difference.disabled.is_empty() {
            let message = format!(
                "disabled, so changes go unnoticed: {}; ALTER TABLE … ENABLE TRIGGER",
                difference.disabled.join(", ")
            );
            findings.push(finding(subject, Severity::Problem, message));
        }
        if !difference.surplus.is_empty() {
            let message = format!("left over from another mapping; {RUN_MIGRATE} to drop them");
            findings.push(finding(subject, Severity::Warning, message));
        }
        if missing.is_empty() && difference.disabled.is_empty() {
            let message = match self.settings.catalogue.refresh {
                Refresh::Log => "changes are logged",
                Refresh::Reload => "none needed: the catalogue is reloaded on an interval",
            };
            findings.push(finding(subject, Severity::Ok, message));
        }
        Ok(findings)
    }

    /// Rights on tables and on the sequence of the log; what does not exist is reported elsewhere.
    async fn check_rights(&self, wanted: Vec<(String, &str)>) -> Result<Vec<Finding>, StoreError> {
        let (tables, rights): (Vec<String>, Vec<String>) = wanted
            .into_iter()
            .flat_map(|(table, rights)| {
                rights.split(", ").map(move |right| (table.clone(), right.to_owned()))
            })
            .unzip();
        let lacking: Vec<(String, String)> = sqlx::query_as(
            "SELECT name, string_agg(wish, ', ' ORDER BY position) \
             FROM unnest($1::text[], $2::text[]) WITH ORDINALITY \
                  AS wanted (name, wish, position) \
             WHERE to_regclass(name) IS NOT NULL \
               AND NOT CASE wish WHEN 'USAGE' \
                   THEN has_sequence_privilege(to_regclass(name), wish) \
                   ELSE has_table_privilege(to_regclass(name), wish) END \
             GROUP BY name ORDER BY name",
        )
        .bind(tables)
        .bind(rights)
        .fetch_all(&self.pool)
        .await
        .map_err(failed("reading the rights of this role"))?;
        let subject = "database.rights";
        if lacking.is_empty() {
            return Ok(vec![finding(subject, Severity::Ok, "the worker may do what it must")]);
        }
        let report = |(table, rights): (String, String)| {
            let message = format!(
                "this role lacks {rights} on {table}; grant it, or give the role cupping_worker \
                 (`cupping migrate --roles` prints how)"
            );
            finding(subject, Severity::Problem, message)
        };
        Ok(lacking.into_iter().map(report).collect())
    }

    async fn check_server_settings(&self) -> Result<Vec<Finding>, StoreError> {
        let (deadlock_ms, locks): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT setting::bigint FROM pg_catalog.pg_settings \
                     WHERE name = 'deadlock_timeout'), \
                    current_setting('max_locks_per_transaction')::bigint \
                    * (current_setting('max_connections')::bigint \
                       + current_setting('max_prepared_transactions')::bigint)",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(failed("reading the server's settings"))?;
        let mut findings = Vec::new();
        let deadlock_timeout = Duration::from_millis(deadlock_ms.unsigned_abs());
        if self.lock_timeout() <= deadlock_timeout {
            let message = format!(
                "{:?} is not above the server's deadlock_timeout ({deadlock_timeout:?}): a \
                 deadlock would be reported as a lock timeout; raise it",
                self.lock_timeout()
            );
            findings.push(finding("transaction.lock_timeout", Severity::Warning, message));
        }
        let connections = u64::from(self.settings.max_connections.max(1));
        let sources = locks.unsigned_abs() / 2 / connections;
        let batch = PipelineConfig::default().batch.get() as u64;
        let (severity, advice) = if sources < batch {
            (Severity::Warning, "; raise max_locks_per_transaction, or lower pipeline.batch")
        } else {
            (Severity::Ok, "")
        };
        let message = format!(
            "half of the server's lock table holds batches of {sources} sources on each of \
             {connections} connections{advice}"
        );
        findings.push(finding("pipeline.batch", severity, message));
        Ok(findings)
    }
}

/// A table of lists that is missing is nothing to worry about: `migrate` makes it.
fn promise_lists(findings: &mut [Finding], catalogue: &CatalogueConfig, schema: &DbSchema) {
    if schema.tables.contains_key(&catalogue.similarity.table) {
        return;
    }
    for found in findings.iter_mut().filter(|f| f.subject == "catalogue.similarity.table") {
        found.message += "; `cupping migrate` makes it";
    }
}
