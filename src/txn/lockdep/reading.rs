//! Reads from a statement's text what it locks.
//!
//! Decides: which part of a statement locks what, in the order in which it is written. Never does:
//! fail: what cannot be read is said to be unread.

use super::access::{Access, Deed, Operand, Sorting, Twin, Values};
use super::class::Mode;
use super::tokens::{self, Strength};
use names::{column, table_name};
use sqlparser::ast::{Delete, Insert, Select, Update};
use sqlparser::ast::{
    Expr, FromTable, Function, LimitClause, LockClause, LockTableMode, ObjectName,
    OnConflictAction, OnInsert, OrderBy, OrderByExpr, OrderByKind, OrderBySort, Query, SetExpr,
    Statement, TableFactor, TableObject, TableWithJoins, UpdateTableFromKind, Visit, Visitor,
};
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

mod filters;
mod functions;
mod names;

/// Whose SQL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// PostgreSQL's.
    Postgres,
    /// MySQL's and MariaDB's.
    MySql,
}

/// What a statement locks, in order; `Err` with the reason when it cannot be read.
pub(super) fn read(sql: &str, flavour: Flavour) -> Result<Vec<Access>, String> {
    let (statements, strengths) = tokens::parse(sql, flavour)?;
    let mut reader = Reader {
        flavour,
        strengths: strengths.into_iter(),
        common: HashSet::new(),
        found: Vec::new(),
    };
    for statement in &statements {
        let ControlFlow::Continue(()) = statement.visit(&mut reader);
    }
    Ok(reader.found)
}

/// Collects what is locked, innermost first: so are the clauses written, and so are they run.
struct Reader {
    flavour: Flavour,
    strengths: std::vec::IntoIter<Strength>,
    /// Names of common table expressions: not tables.
    common: HashSet<String>,
    found: Vec<Access>,
}

impl Visitor for Reader {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        let common = query.with.iter().flat_map(|with| &with.cte_tables);
        self.common.extend(common.map(|cte| names::ident(&cte.alias.name)));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Self::Break> {
        if self.flavour == Flavour::Postgres {
            self.table(relation, Mode::AccessShare, true);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        for item in &select.projection {
            functions::calls(item, &mut |call| self.call(call, &select.from));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        for clause in &query.locks {
            let strength = self.strengths.next().unwrap_or(Strength::Update);
            self.locking(query, clause, strength);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_statement(&mut self, statement: &Statement) -> ControlFlow<Self::Break> {
        match statement {
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            Statement::Merge(merge) => self.merge(&merge.table),
            Statement::Lock(lock) => {
                let mode = lock.lock_mode.as_ref().map_or(Mode::AccessExclusive, table_mode);
                for target in &lock.tables {
                    self.table(&target.name, mode, !lock.nowait);
                }
            }
            Statement::Truncate(truncate) => {
                for target in &truncate.table_names {
                    self.table(&target.name, Mode::AccessExclusive, true);
                }
            }
            Statement::AlterTable(alter) => self.table(&alter.name, Mode::AccessExclusive, true),
            Statement::Drop { names, .. } => {
                names.iter().for_each(|name| self.table(name, Mode::AccessExclusive, true));
            }
            Statement::CreateIndex(index) => {
                self.table(&index.table_name, Mode::TableShare, true);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Reader {
    fn name(&self, name: &ObjectName) -> Option<Arc<str>> {
        let name = table_name(name, self.flavour)?;
        (!self.common.contains(&*name)).then_some(name)
    }

    /// A lock of a table itself; InnoDB has none that transactions take.
    fn table(&mut self, name: &ObjectName, mode: Mode, waits: bool) {
        if self.flavour == Flavour::Postgres
            && let Some(table) = self.name(name)
        {
            self.found.push(Access::Table(table, mode, waits));
        }
    }

    fn call(&mut self, call: &Function, from: &[TableWithJoins]) {
        self.found.extend(functions::access(call, from));
    }

    fn locking(&mut self, query: &Query, clause: &LockClause, strength: Strength) {
        let SetExpr::Select(select) = &*query.body else { return };
        let of = clause
            .of
            .as_ref()
            .and_then(|of| of.0.last())
            .map(|part| part.as_ident().map(names::ident).unwrap_or_default());
        for relation in names::relations(&select.from) {
            let Some(table) = self.name(relation.name) else { continue };
            if of.as_ref().is_some_and(|of| *of != relation.alias) {
                continue;
            }
            if self.flavour == Flavour::Postgres {
                let waits = clause.nonblock.is_none();
                self.found.push(Access::Table(Arc::clone(&table), Mode::RowShare, waits));
            }
            self.found.push(Access::Rows {
                table,
                deed: Deed::Lock(strength.mode(self.flavour)),
                filter: filters::conditions(select.selection.as_ref(), &relation, &select.from),
                sorting: query.order_by.as_ref().map_or(Sorting::None, sorting),
                single: is_one(query.limit_clause.as_ref()),
                waits: clause.nonblock.is_none(),
            });
        }
    }

    fn insert(&mut self, insert: &Insert) {
        let TableObject::TableName(name) = &insert.table else { return };
        let Some(table) = self.name(name) else { return };
        self.table(name, Mode::RowExclusive, true);
        let twin = match &insert.on {
            Some(OnInsert::DuplicateKeyUpdate(_)) => Twin::Update,
            Some(OnInsert::OnConflict(on)) => match on.action {
                OnConflictAction::DoNothing => Twin::Keep,
                OnConflictAction::DoUpdate(_) => Twin::Update,
            },
            _ if insert.replace_into => Twin::Update,
            _ if insert.ignore => Twin::Keep,
            _ => Twin::Fail,
        };
        let (values, sorting) = filters::inserted(insert);
        self.rows(table, Deed::Insert(values, twin), Vec::new(), sorting, false);
    }

    fn update(&mut self, update: &Update) {
        let TableFactor::Table { name, .. } = &update.table.relation else { return };
        let Some(table) = self.name(name) else { return };
        self.table(name, Mode::RowExclusive, true);
        let from = match &update.from {
            Some(UpdateTableFromKind::BeforeSet(from) | UpdateTableFromKind::AfterSet(from)) => {
                from.as_slice()
            }
            None => &[],
        };
        let Some(relation) = names::relation(&update.table.relation) else { return };
        let filter = filters::conditions(update.selection.as_ref(), &relation, from);
        let deed = Deed::Update(filters::assigned(&update.assignments));
        let single = update.limit.as_ref().is_some_and(filters::is_literal_one);
        self.rows(table, deed, filter, first_of(&update.order_by), single);
    }

    fn delete(&mut self, delete: &Delete) {
        let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
        let Some(relation) = tables.first().and_then(|t| names::relation(&t.relation)) else {
            return;
        };
        let Some(table) = self.name(relation.name) else { return };
        self.table(relation.name, Mode::RowExclusive, true);
        let using = delete.using.as_deref().unwrap_or_default();
        let filter = filters::conditions(delete.selection.as_ref(), &relation, using);
        let single = delete.limit.as_ref().is_some_and(filters::is_literal_one);
        self.rows(table, Deed::Delete, filter, first_of(&delete.order_by), single);
    }

    /// Which branch runs, and for which rows, depends on the data: any of them may be updated.
    fn merge(&mut self, target: &TableFactor) {
        let Some(relation) = names::relation(target) else { return };
        let Some(table) = self.name(relation.name) else { return };
        self.table(relation.name, Mode::RowExclusive, true);
        self.rows(table, Deed::Update(Vec::new()), Vec::new(), Sorting::None, false);
    }

    fn rows(
        &mut self,
        table: Arc<str>,
        deed: Deed,
        filter: Vec<(Arc<str>, Values)>,
        sorting: Sorting,
        single: bool,
    ) {
        self.found.push(Access::Rows { table, deed, filter, sorting, single, waits: true });
    }
}

fn table_mode(mode: &LockTableMode) -> Mode {
    match mode {
        LockTableMode::AccessShare => Mode::AccessShare,
        LockTableMode::RowShare => Mode::RowShare,
        LockTableMode::RowExclusive => Mode::RowExclusive,
        LockTableMode::ShareUpdateExclusive => Mode::ShareUpdateExclusive,
        LockTableMode::Share => Mode::TableShare,
        LockTableMode::ShareRowExclusive => Mode::ShareRowExclusive,
        LockTableMode::Exclusive => Mode::Exclusive,
        LockTableMode::AccessExclusive => Mode::AccessExclusive,
    }
}

fn sorting(order: &OrderBy) -> Sorting {
    match &order.kind {
        OrderByKind::Expressions(expressions) => first_of(expressions),
        OrderByKind::All(_) => Sorting::None,
    }
}

fn first_of(expressions: &[OrderByExpr]) -> Sorting {
    let Some(first) = expressions.first() else { return Sorting::None };
    let upwards = match first.options.sort {
        None | Some(OrderBySort::Asc) => true,
        Some(OrderBySort::Desc) => false,
        Some(_) => return Sorting::None,
    };
    let by = column(&first.expr).map_or_else(|| first.expr.to_string().into(), |(_, name)| name);
    Sorting::By(by, upwards)
}

fn is_one(limit: Option<&LimitClause>) -> bool {
    let limit: Option<&Expr> = match limit {
        Some(LimitClause::LimitOffset { limit, .. }) => limit.as_ref(),
        Some(LimitClause::OffsetCommaLimit { limit, .. }) => Some(limit),
        None => None,
    };
    limit.is_some_and(filters::is_literal_one)
}

/// An operand of a condition or a call.
fn operand(expression: &Expr) -> Operand {
    filters::operand(expression)
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
