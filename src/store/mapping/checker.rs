//! The collector of a mapping check: looks tables and columns up, gathers what is wrong.
//!
//! Decides: how a missing name is reported. Never does: know what the mapping is for.

use super::{DbColumn, DbSchema, Finding, Severity, TypeFamily};
use std::collections::BTreeSet;

/// Names less alike than this are no help to anybody.
const LIKENESS: f64 = 0.7;

/// Gathers findings about one schema.
pub(super) struct Checker<'a> {
    pub(super) schema: &'a DbSchema,
    pub(super) findings: Vec<Finding>,
    missing_tables: BTreeSet<String>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(schema: &'a DbSchema) -> Self {
        Self { schema, findings: Vec::new(), missing_tables: BTreeSet::new() }
    }

    pub(super) fn problem(&mut self, subject: &str, message: String) {
        self.add(subject, Severity::Problem, message);
    }

    pub(super) fn warning(&mut self, subject: &str, message: String) {
        self.add(subject, Severity::Warning, message);
    }

    fn add(&mut self, subject: &str, severity: Severity, message: String) {
        self.findings.push(Finding { subject: subject.to_owned(), severity, message });
    }

    /// Looks a column up. A missing table is reported once, under the setting that names it.
    pub(super) fn column(
        &mut self,
        subject: &str,
        table_subject: &str,
        table: &str,
        column: &str,
    ) -> Option<&'a DbColumn> {
        let schema = self.schema;
        let Some(found) = schema.tables.get(table) else {
            if self.missing_tables.insert(table.to_owned()) {
                let names = schema.tables.keys();
                let message = format!(
                    "there is no table {table} in schema {} that this role can see{}",
                    schema.name,
                    hint(nearest(table, names))
                );
                self.problem(table_subject, message);
            }
            return None;
        };
        let answer = found.columns.get(column);
        if answer.is_none() {
            let near = hint(nearest(column, found.columns.keys()));
            self.problem(subject, format!("table {table} has no column {column}{near}"));
        }
        answer
    }

    /// Looks a column up and wants its type to be of a family.
    pub(super) fn column_of(
        &mut self,
        subject: &str,
        table_subject: &str,
        table: &str,
        column: &str,
        family: &TypeFamily,
    ) {
        if let Some(found) = self.column(subject, table_subject, table, column)
            && found.family != *family
        {
            let message = format!(
                "column {table}.{column} is {}, but {} is needed here; map another column, or \
                 change its type",
                found.type_name,
                family.name()
            );
            self.problem(subject, message);
        }
    }
}

fn hint(near: Option<&String>) -> String {
    near.map_or_else(String::new, |name| format!("; the nearest is {name}"))
}

fn nearest<'n>(wanted: &str, names: impl Iterator<Item = &'n String>) -> Option<&'n String> {
    names
        .map(|name| (strsim::jaro_winkler(&wanted.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
