//! SQLite as lockdep sees it: one writer at a time, so there is no order to find.
//!
//! Decides: that nothing is recorded. Never does: ask.

use super::Observed;
use crate::txn::dialect::Sent;
use crate::txn::lockdep::binding::Argument;
use crate::txn::lockdep::catalogue::Catalogue;
use crate::txn::lockdep::class::Key;
use crate::txn::lockdep::reading::Flavour;
use sqlx::{Pool, Sqlite};

impl Observed for Sqlite {
    const FLAVOUR: Option<Flavour> = None;

    fn decoded(_: &Self::Arguments) -> Vec<Argument> {
        Vec::new()
    }

    fn key(_: &Self::Row, _: &str) -> Option<Key> {
        None
    }

    fn place(_: &Pool<Self>) -> String {
        String::new()
    }

    fn catalogue(_: &mut Self::Connection) -> Sent<'_, Catalogue> {
        Box::pin(std::future::ready(Ok(Catalogue::default())))
    }
}
