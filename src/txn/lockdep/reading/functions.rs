//! Functions that lock: advisory locks of PostgreSQL, named locks of MySQL and MariaDB.
//!
//! Decides: which function takes what, and whether it waits. Never does: look below a subquery,
//! which is read on its own.

use super::{filters, names, operand};
use crate::txn::lockdep::access::{Access, Operand, Values};
use crate::txn::lockdep::class::{Key, Mode};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, SelectItem, TableWithJoins,
    Visit, Visitor,
};
use std::ops::ControlFlow;

/// Every call in an item of a SELECT.
pub(super) fn calls(item: &SelectItem, each: &mut impl FnMut(&Function)) {
    struct Calls<'f, F>(&'f mut F);
    impl<F: FnMut(&Function)> Visitor for Calls<'_, F> {
        type Break = std::convert::Infallible;

        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Self::Break> {
            if let Expr::Function(call) = expression {
                (self.0)(call);
            }
            ControlFlow::Continue(())
        }
    }
    let ControlFlow::Continue(()) = item.visit(&mut Calls(each));
}

/// What a call locks.
pub(super) fn access(call: &Function, from: &[TableWithJoins]) -> Option<Access> {
    let name = call.name.0.last()?.as_ident().map(names::ident)?;
    let arguments: Vec<&Expr> = match &call.args {
        FunctionArguments::List(list) => list.args.iter().filter_map(value).collect(),
        _ => Vec::new(),
    };
    let waits = !name.contains("_try_");
    let mode = if name.ends_with("_shared") { Mode::TableShare } else { Mode::Exclusive };
    match (name.as_str(), arguments.as_slice()) {
        ("get_lock", [key, timeout]) => {
            Some(Access::Named(operand(key), operand(timeout) != Operand::Literal(Key::Int(0))))
        }
        ("release_lock", [key]) => Some(Access::Unnamed(operand(key))),
        (
            "pg_advisory_xact_lock"
            | "pg_advisory_xact_lock_shared"
            | "pg_advisory_lock"
            | "pg_advisory_lock_shared"
            | "pg_try_advisory_xact_lock"
            | "pg_try_advisory_xact_lock_shared"
            | "pg_try_advisory_lock"
            | "pg_try_advisory_lock_shared",
            [keys @ .., last],
        ) => {
            let space = keys.first().map(|space| operand(space));
            let values = filters::unnested(last, from)
                .map_or_else(|| Values::Listed(vec![operand(last)]), Values::Unnested);
            Some(Access::Advisory(space, values, mode, waits))
        }
        _ => None,
    }
}

fn value(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value),
        _ => None,
    }
}
