//! A statement that has been looked at, and is sent as it was.
//!
//! Decides: how text and arguments are taken out and put back. Never does: change either.

use sqlx::error::BoxDynError;
use sqlx::{AssertSqlSafe, Database, Execute, SqlSafeStr, SqlStr};
use std::sync::Arc;

type Arguments<DB> = Result<Option<<DB as Database>::Arguments>, BoxDynError>;

/// A statement on its way.
pub(in crate::txn) enum Watched<DB: Database, E> {
    /// As it came.
    Whole(E),
    /// With its arguments apart: one that was prepared by the caller.
    Prepared(E, Option<Arguments<DB>>),
    /// In its parts.
    Open { sql: Arc<str>, arguments: Option<Arguments<DB>>, persistent: bool },
}

impl<'q, DB: Database, E: Execute<'q, DB>> Watched<DB, E> {
    /// Takes a statement apart, and gives its text.
    pub(super) fn open(mut query: E) -> (Self, Arc<str>) {
        let arguments = Some(query.take_arguments());
        if let Some(statement) = query.statement() {
            let sql: Arc<str> = sqlx::Statement::sql(statement).as_str().into();
            return (Self::Prepared(query, arguments), sql);
        }
        let persistent = query.persistent();
        let sql: Arc<str> = query.sql().as_str().into();
        (Self::Open { sql: Arc::clone(&sql), arguments, persistent }, sql)
    }

    pub(super) fn arguments(&self) -> Option<&DB::Arguments> {
        match self {
            Self::Whole(_) => None,
            Self::Prepared(_, arguments) | Self::Open { arguments, .. } => {
                arguments.as_ref()?.as_ref().ok()?.as_ref()
            }
        }
    }
}

impl<'q, DB: Database, E: Execute<'q, DB>> Execute<'q, DB> for Watched<DB, E> {
    fn sql(self) -> SqlStr {
        match self {
            Self::Whole(query) | Self::Prepared(query, _) => query.sql(),
            // It was safe when it came.
            Self::Open { sql, .. } => AssertSqlSafe(sql).into_sql_str(),
        }
    }

    fn statement(&self) -> Option<&DB::Statement> {
        match self {
            Self::Whole(query) | Self::Prepared(query, _) => query.statement(),
            Self::Open { .. } => None,
        }
    }

    fn take_arguments(&mut self) -> Arguments<DB> {
        match self {
            Self::Whole(query) => query.take_arguments(),
            Self::Prepared(_, arguments) | Self::Open { arguments, .. } => {
                arguments.take().unwrap_or(Ok(None))
            }
        }
    }

    fn persistent(&self) -> bool {
        match self {
            Self::Whole(query) | Self::Prepared(query, _) => query.persistent(),
            Self::Open { persistent, .. } => *persistent,
        }
    }
}
