//! What the statements of a transaction see of lockdep without the feature: nothing.
//!
//! Decides: that it costs nothing; every type here is empty. Never does: record. The same names are
//! in `recorder`.

use crate::txn::body::BodyError;
use crate::txn::dialect::Dialect;
use crate::txn::statement::Value;
use sqlx::{Execute, Pool};

/// Any database.
pub trait Observed {}
impl<DB> Observed for DB {}

#[derive(Debug, Clone, Default)]
pub(in crate::txn) struct Attached(());

#[derive(Debug, Clone, Copy)]
pub(in crate::txn) struct Site;

impl Site {
    pub(in crate::txn) fn here() -> Self {
        Self
    }
}

pub(in crate::txn) struct Note;

#[derive(Debug, Default)]
pub(in crate::txn) struct Recorder(());

impl Recorder {
    pub(in crate::txn) async fn begin<DB: Dialect>(
        _: &Attached,
        _: &Pool<DB>,
        _: &mut DB::Connection,
        _: &'static str,
    ) -> Self {
        Self(())
    }

    pub(in crate::txn) fn note<'q, DB: Dialect, E: Execute<'q, DB>>(&self, query: E) -> (E, Note) {
        (query, Note)
    }

    pub(in crate::txn) fn note_own(&self, _: &str, _: &[Value]) -> Note {
        Note
    }

    pub(in crate::txn) fn took<DB: Dialect>(
        &mut self,
        _: Note,
        _: Site,
        _: Option<&[DB::Row]>,
    ) -> Result<(), BodyError> {
        Ok(())
    }

    pub(in crate::txn) fn unseen(&self, _: Site) {}

    pub(in crate::txn) fn verdict(&self) -> Result<(), BodyError> {
        Ok(())
    }
}
