//! The mapping of a catalogue's tables, held against the tables that exist.
//!
//! Decides: whether a configured mapping fits a database; reports every problem at once, with the
//! nearest existing name. Never does: read a database (see `postgres::schema`), or change a thing.

use super::{Finding, Severity};
use crate::config::{CatalogueConfig, DimensionConfig, ExpansionConfig, IdType, ValueTable};

mod checker;
mod described;
mod identifier;

pub use described::{DbColumn, DbSchema, DbTable, TypeFamily};
pub use identifier::{quote, quote_qualified};

use checker::Checker;

/// Digits a `numeric` score column needs in all, and after the point: `numeric(7,6)`.
const SCORE_DIGITS: (u32, u32) = (7, 6);

/// Holds a mapping against a database. An empty answer: it fits, nothing to remark.
#[must_use]
pub fn check(config: &CatalogueConfig, schema: &DbSchema) -> Vec<Finding> {
    let mut checker = Checker::new(schema);
    let wanted = wanted_family(config.id_type);
    if let Some(found) = checker.column(
        "catalogue.bean_id",
        "catalogue.bean_table",
        &config.bean_table,
        &config.bean_id,
    ) && found.family != wanted
    {
        checker.problem(
            "catalogue.id_type",
            format!(
                "column {}.{} is {}, but the mapping says {}; set catalogue.id_type to {}",
                config.bean_table,
                config.bean_id,
                found.type_name,
                wanted.name(),
                found.family.setting(),
            ),
        );
    }
    if !config.bean_name.is_empty() && schema.tables.contains_key(&config.bean_table) {
        let subject = "catalogue.bean_name";
        checker.column(subject, subject, &config.bean_table, &config.bean_name);
    }
    similarity(&mut checker, config, &wanted);
    for dimension in &config.dimensions {
        one_dimension(&mut checker, dimension, &wanted);
    }
    checker.findings
}

/// The family of the bean id's type on PostgreSQL.
fn wanted_family(id_type: IdType) -> TypeFamily {
    match id_type {
        IdType::Auto | IdType::Uuid => TypeFamily::Uuid,
        IdType::Bigint => TypeFamily::Integer,
        IdType::Text => TypeFamily::Text,
    }
}

fn similarity(checker: &mut Checker<'_>, config: &CatalogueConfig, wanted: &TypeFamily) {
    let lists = &config.similarity;
    let table = "catalogue.similarity.table";
    for (subject, column) in [
        ("catalogue.similarity.source", &lists.source),
        ("catalogue.similarity.similar", &lists.similar),
    ] {
        checker.column_of(subject, table, &lists.table, column, wanted);
    }
    let score = "catalogue.similarity.score";
    if let Some(found) = checker.column(score, table, &lists.table, &lists.score)
        && !holds_scores(found)
    {
        checker.problem(
            score,
            format!(
                "column {}.{} is {}, too narrow: scores are parts per million; make it double \
                 precision, or numeric({},{}) or wider",
                lists.table, lists.score, found.type_name, SCORE_DIGITS.0, SCORE_DIGITS.1
            ),
        );
    }
    let Some(found) = checker.schema.tables.get(&lists.table) else { return };
    let ours = [&lists.source, &lists.similar, &lists.score];
    for (name, column) in &found.columns {
        if column.not_null && !column.has_default && !ours.contains(&name) {
            checker.problem(
                table,
                format!(
                    "column {}.{name} is NOT NULL without a default, and the lists have no value \
                     for it; give it a default",
                    lists.table
                ),
            );
        }
    }
    if !found.indexes.iter().any(|columns| columns.first() == Some(&lists.source)) {
        checker.warning(
            table,
            format!(
                "no index of {} begins with {}: every write reads the whole table; add a primary \
                 key ({}, {})",
                lists.table, lists.source, lists.source, lists.similar
            ),
        );
    }
}

fn holds_scores(column: &DbColumn) -> bool {
    match column.family {
        TypeFamily::Double => true,
        TypeFamily::Numeric => column.precision.is_none_or(|(precision, scale)| {
            scale >= SCORE_DIGITS.1 && precision >= scale + (SCORE_DIGITS.0 - SCORE_DIGITS.1)
        }),
        _ => false,
    }
}

fn one_dimension(checker: &mut Checker<'_>, dimension: &DimensionConfig, bean: &TypeFamily) {
    let at = format!("catalogue.dimensions.{}", dimension.name);
    let key = dimension.values.as_ref().and_then(|values| value_table(checker, &at, values));
    if let Some(join) = &dimension.join {
        let table = format!("{at}.join.table");
        checker.column_of(&format!("{at}.join.from"), &table, &join.table, &join.from, bean);
        let to = format!("{at}.join.to");
        match key {
            Some(key) => checker.column_of(&to, &table, &join.table, &join.to, &key),
            None => {
                checker.column(&to, &table, &join.table, &join.to);
            }
        }
    }
    if let Some(text) = &dimension.text {
        let table = format!("{at}.text.table");
        checker.column_of(&format!("{at}.text.bean"), &table, &text.table, &text.bean, bean);
        checker.column(&format!("{at}.text.text"), &table, &text.table, &text.text);
    }
    if dimension.join.is_none() && dimension.text.is_none() {
        checker.problem(
            &at,
            "it has neither a join nor a text table, so no bean can have a value; add one".into(),
        );
    }
    expansion_fits(checker, &at, dimension);
}

/// Checks the table of values; answers the family of its key.
fn value_table(checker: &mut Checker<'_>, at: &str, values: &ValueTable) -> Option<TypeFamily> {
    let table = format!("{at}.values.table");
    let id = checker.column(&format!("{at}.values.id"), &table, &values.table, &values.id);
    let key = id.map(|found| found.family.clone());
    checker.column(&format!("{at}.values.name"), &table, &values.table, &values.name);
    if let Some(parent) = &values.parent {
        checker.column(&format!("{at}.values.parent"), &table, &values.table, parent);
    }
    if let Some(rank) = &values.rank {
        let subject = format!("{at}.values.rank");
        checker.column_of(&subject, &table, &values.table, rank, &TypeFamily::Integer);
    }
    if let Some(parents) = &values.parents {
        let table = format!("{at}.values.parents.table");
        for (which, column) in [("from", &parents.from), ("to", &parents.to)] {
            let subject = format!("{at}.values.parents.{which}");
            checker.column(&subject, &table, &parents.table, column);
        }
    }
    key
}

fn expansion_fits(checker: &mut Checker<'_>, at: &str, dimension: &DimensionConfig) {
    let values = dimension.values.as_ref();
    let has_parent = values.is_some_and(|v| v.parent.is_some() || v.parents.is_some());
    match &dimension.expansion {
        ExpansionConfig::Ordinal { .. } if values.is_none_or(|v| v.rank.is_none()) => {
            checker.problem(
                &format!("{at}.values.rank"),
                "an ordinal dimension needs the column of its rank; set values.rank".into(),
            );
        }
        ExpansionConfig::Tree { .. } | ExpansionConfig::Pedigree { .. } if !has_parent => {
            checker.warning(
                &format!("{at}.values.parent"),
                "no parent is mapped, so every value stands alone; set values.parent or \
                 values.parents, or use the expansion flat"
                    .into(),
            );
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
