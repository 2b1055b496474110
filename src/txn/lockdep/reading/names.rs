//! Names in statements: tables, columns, what an alias stands for.
//!
//! Decides: that unquoted names are lower case, and that the schema `public` goes without saying.
//! Never does: look a name up.

use super::Flavour;
use sqlparser::ast::{Expr, Ident, ObjectName, TableFactor, TableWithJoins};
use std::sync::Arc;

/// As PostgreSQL reads it; MySQL's column names have no case either.
pub(super) fn ident(ident: &Ident) -> String {
    if ident.quote_style == Some('"') { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// A table's name, with its schema unless that is the usual one.
pub(super) fn table_name(name: &ObjectName, flavour: Flavour) -> Option<Arc<str>> {
    let parts: Option<Vec<String>> = name.0.iter().map(|p| p.as_ident().map(ident)).collect();
    match parts?.as_slice() {
        [table] => Some(table.as_str().into()),
        [schema, table] if flavour == Flavour::Postgres && schema == "public" => {
            Some(table.as_str().into())
        }
        [.., schema, table] => Some(format!("{schema}.{table}").into()),
        [] => None,
    }
}

/// A table in a FROM clause.
pub(super) struct Relation<'a> {
    pub(super) name: &'a ObjectName,
    /// What its columns are qualified with.
    pub(super) alias: String,
}

pub(super) fn relation(factor: &TableFactor) -> Option<Relation<'_>> {
    let TableFactor::Table { name, alias, args: None, .. } = factor else { return None };
    let own = || name.0.last().and_then(|part| part.as_ident()).map(ident);
    let alias = alias.as_ref().map(|alias| ident(&alias.name)).or_else(own)?;
    Some(Relation { name, alias })
}

/// Every table of a FROM clause.
pub(super) fn relations(from: &[TableWithJoins]) -> impl Iterator<Item = Relation<'_>> {
    factors(from).filter_map(relation)
}

pub(super) fn factors(from: &[TableWithJoins]) -> impl Iterator<Item = &TableFactor> {
    from.iter().flat_map(|table| {
        std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation))
    })
}

/// A column, with what qualifies it.
pub(super) fn column(expression: &Expr) -> Option<(Option<String>, Arc<str>)> {
    match expression {
        Expr::Identifier(name) => Some((None, ident(name).into())),
        Expr::CompoundIdentifier(parts) => {
            let [.., qualifier, name] = parts.as_slice() else { return None };
            Some((Some(ident(qualifier)), ident(name).into()))
        }
        Expr::Nested(inner) => column(inner),
        Expr::Cast { expr, .. } | Expr::Collate { expr, .. } => column(expr),
        _ => None,
    }
}
