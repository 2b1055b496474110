//! What a statement's text says about locks, before its arguments are known.
//!
//! Decides: the vocabulary between reading (`reading`) and binding (`binding`). Never does: parse.

use super::class::{Key, Mode};
use std::sync::Arc;

/// A value in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operand {
    /// The argument with this number, from zero.
    Bound(usize),
    /// A literal.
    Literal(Key),
    /// NULL.
    Null,
    /// Anything else.
    Opaque,
}

/// What a column is compared with, or set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Values {
    /// One value; or one row after the other, each with its own.
    Listed(Vec<Operand>),
    /// Any of these.
    OneOf(Vec<Operand>),
    /// Any element of an array.
    AnyOf(Operand),
    /// Joined with the elements of an array, one after the other.
    Unnested(Operand),
}

/// A column and what it is compared with, or set to.
pub(super) type Pair = (Arc<str>, Values);

/// The order that the text asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sorting {
    /// None.
    None,
    /// By this column first, upwards or not.
    By(Arc<str>, bool),
}

/// What is done to rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    /// They are locked.
    Lock(Mode),
    /// They are updated: these columns are set.
    Update(Vec<Pair>),
    /// They are deleted.
    Delete,
    /// They are inserted, with these values; of two with the same key…
    Insert(Vec<Pair>, Twin),
}

/// What an INSERT does about a row that has its key already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twin {
    /// It fails.
    Fail,
    /// It leaves that one alone.
    Keep,
    /// It updates that one.
    Update,
}

/// One access that locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Access {
    /// Of rows.
    Rows {
        /// Their table.
        table: Arc<str>,
        /// What is done to them.
        deed: Deed,
        /// Conditions that all of them meet.
        filter: Vec<Pair>,
        /// In which order.
        sorting: Sorting,
        /// `LIMIT 1`.
        single: bool,
        /// `SKIP LOCKED` and `NOWAIT` do not wait.
        waits: bool,
    },
    /// Of tables, in a mode of tables.
    Table(Arc<str>, Mode, bool),
    /// An advisory lock: its first key, where it has two; its key; how; whether it waits.
    Advisory(Option<Operand>, Values, Mode, bool),
    /// A named lock, and whether it waits.
    Named(Operand, bool),
    /// A named lock is given back.
    Unnamed(Operand),
}
