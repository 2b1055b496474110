//! Conditions and values in statements, as far as they name rows.
//!
//! Decides: that only conditions which all rows meet (joined by AND) count. Never does: evaluate.

use super::names::{self, Relation, column, ident};
use super::{Operand, Sorting, Values, sorting};
use crate::txn::lockdep::access::Pair;
use crate::txn::lockdep::class::Key;
use sqlparser::ast::{
    Assignment, AssignmentTarget, BinaryOperator, Expr, FunctionArg, FunctionArgExpr,
    FunctionArguments, InTarget, Insert, SelectItem, SetExpr, TableFactor, TableWithJoins,
    UnaryOperator, Value,
};
use std::sync::Arc;

pub(super) fn is_literal_one(expression: &Expr) -> bool {
    operand(expression) == Operand::Literal(Key::Int(1))
}

pub(super) fn operand(expression: &Expr) -> Operand {
    match expression {
        Expr::Value(value) => literal(&value.value),
        Expr::Cast { expr, .. } => operand(expr),
        Expr::Nested(inner) => operand(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match operand(expr) {
            Operand::Literal(Key::Int(number)) => Operand::Literal(Key::Int(-number)),
            _ => Operand::Opaque,
        },
        _ => Operand::Opaque,
    }
}

fn literal(value: &Value) -> Operand {
    match value {
        Value::Placeholder(name) => name
            .trim_start_matches('$')
            .parse::<usize>()
            .ok()
            .and_then(|number| number.checked_sub(1))
            .map_or(Operand::Opaque, Operand::Bound),
        Value::Number(digits, _) => {
            digits.parse().map_or(Operand::Opaque, |number| Operand::Literal(Key::Int(number)))
        }
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => {
            Operand::Literal(Key::Text(text.clone()))
        }
        Value::Null => Operand::Null,
        _ => Operand::Opaque,
    }
}

/// What the rows of one table have in common.
pub(super) fn conditions(
    selection: Option<&Expr>,
    relation: &Relation<'_>,
    from: &[TableWithJoins],
) -> Vec<Pair> {
    let mut pairs = Vec::new();
    if let Some(selection) = selection {
        conjuncts(selection, &mut |condition| {
            pairs.extend(condition_on(condition, relation, from));
        });
    }
    pairs
}

fn conjuncts<'e>(expression: &'e Expr, each: &mut impl FnMut(&'e Expr)) {
    match expression {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(left, each);
            conjuncts(right, each);
        }
        Expr::Nested(inner) => conjuncts(inner, each),
        other => each(other),
    }
}

fn condition_on(
    condition: &Expr,
    relation: &Relation<'_>,
    from: &[TableWithJoins],
) -> Option<Pair> {
    let of_relation = |expression: &Expr| {
        let (qualifier, name) = column(expression)?;
        qualifier.is_none_or(|qualifier| qualifier == relation.alias).then_some(name)
    };
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            let (name, other) = match of_relation(left) {
                Some(name) if unnested(left, from).is_none() => (name, right),
                _ => (of_relation(right)?, left),
            };
            let values = unnested(other, from)
                .map_or_else(|| Values::Listed(vec![operand(other)]), Values::Unnested);
            Some((name, values))
        }
        Expr::In { expr, target: InTarget::List(list), negated: false, .. } => {
            Some((of_relation(expr)?, Values::OneOf(list.iter().map(operand).collect())))
        }
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
            Some((of_relation(left)?, Values::AnyOf(operand(right))))
        }
        Expr::In { expr, target: InTarget::Subquery(subquery), negated: false, .. } => {
            let SetExpr::Select(select) = &*subquery.body else { return None };
            let [SelectItem::UnnamedExpr(item)] = select.projection.as_slice() else {
                return None;
            };
            let array = unnest_call(item).or_else(|| unnested(item, &select.from))?;
            Some((of_relation(expr)?, Values::AnyOf(array)))
        }
        _ => None,
    }
}

/// The array whose elements a column stands for: one that comes from `unnest` in FROM.
pub(super) fn unnested(expression: &Expr, from: &[TableWithJoins]) -> Option<Operand> {
    let (qualifier, name) = column(expression)?;
    names::factors(from).find_map(|factor| {
        let TableFactor::UNNEST { alias: Some(alias), array_exprs, .. } = factor else {
            return None;
        };
        let table = ident(&alias.name);
        if qualifier.as_ref().is_some_and(|qualifier| *qualifier != table) {
            return None;
        }
        let columns: Vec<String> = alias.columns.iter().map(|column| ident(&column.name)).collect();
        let position = if columns.is_empty() && *name == *table {
            0
        } else {
            columns.iter().position(|column| **column == *name)?
        };
        array_exprs.get(position).map(operand)
    })
}

/// The array of a call of `unnest`.
fn unnest_call(expression: &Expr) -> Option<Operand> {
    let Expr::Function(call) = expression else { return None };
    let name = call.name.0.last()?.as_ident().map(ident)?;
    let FunctionArguments::List(list) = &call.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))] = list.args.as_slice() else {
        return None;
    };
    (name == "unnest").then(|| operand(array))
}

/// The values of an INSERT, column by column, and the order of its rows.
pub(super) fn inserted(insert: &Insert) -> (Vec<Pair>, Sorting) {
    if !insert.assignments.is_empty() {
        return (assigned(&insert.assignments), Sorting::None);
    }
    let columns: Vec<Arc<str>> = insert
        .columns
        .iter()
        .filter_map(|name| name.0.last()?.as_ident().map(|name| ident(name).into()))
        .collect();
    let Some(source) = &insert.source else { return (Vec::new(), Sorting::None) };
    let sorted = source.order_by.as_ref().map_or(Sorting::None, sorting);
    let values = match &*source.body {
        SetExpr::Values(values) => columns
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let value = |row: &[Expr]| row.get(at).map_or(Operand::Opaque, operand);
                let rows = values.rows.iter().map(|row| value(&row.content)).collect();
                (Arc::clone(name), Values::Listed(rows))
            })
            .collect(),
        SetExpr::Select(select) => columns
            .iter()
            .zip(&select.projection)
            .filter_map(|(name, item)| {
                let (SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }) =
                    item
                else {
                    return None;
                };
                let values = match unnest_call(item).or_else(|| unnested(item, &select.from)) {
                    Some(array) => Values::Unnested(array),
                    None => Values::Listed(vec![operand(item)]),
                };
                Some((Arc::clone(name), values))
            })
            .collect(),
        _ => Vec::new(),
    };
    (values, sorted)
}

pub(super) fn assigned(assignments: &[Assignment]) -> Vec<Pair> {
    assignments
        .iter()
        .filter_map(|assignment| {
            let AssignmentTarget::ColumnName(name) = &assignment.target else { return None };
            let name = name.0.last()?.as_ident().map(ident)?;
            Some((name.into(), Values::Listed(vec![operand(&assignment.value)])))
        })
        .collect()
}
