//! How a body sends its statements.
//!
//! Decides: what each way of asking gives back. Never does: begin or end a transaction (see
//! `transaction`), or send after an error.

use super::body::BodyError;
use super::dialect::Dialect;
use super::transaction::Tx;
use sqlx::{Execute, FromRow};

impl<DB: Dialect> Tx<DB> {
    /// Sends a query for its effect.
    ///
    /// # Errors
    /// When the database fails; from then on every statement and the commit are refused.
    pub async fn execute<'q, E>(&mut self, query: E) -> Result<DB::QueryResult, BodyError>
    where
        E: Execute<'q, DB> + 'q,
    {
        self.admit()?;
        let sent = DB::execute(&mut self.connection, query);
        let answer = self.watch.answered(sent).await;
        self.remember(answer)
    }

    /// Sends a query for its rows.
    ///
    /// # Errors
    /// As [`Tx::execute`].
    pub async fn fetch_all<'q, E>(&mut self, query: E) -> Result<Vec<DB::Row>, BodyError>
    where
        E: Execute<'q, DB> + 'q,
    {
        self.admit()?;
        let sent = DB::fetch_all(&mut self.connection, query);
        let answer = self.watch.answered(sent).await;
        self.remember(answer)
    }

    /// Sends a query for at most one row.
    ///
    /// # Errors
    /// As [`Tx::execute`].
    pub async fn fetch_optional<'q, E>(&mut self, query: E) -> Result<Option<DB::Row>, BodyError>
    where
        E: Execute<'q, DB> + 'q,
    {
        self.admit()?;
        let sent = DB::fetch_optional(&mut self.connection, query);
        let answer = self.watch.answered(sent).await;
        self.remember(answer)
    }

    /// Sends a query for one row.
    ///
    /// # Errors
    /// As [`Tx::execute`]; and `RowNotFound`, which does not poison.
    pub async fn fetch_one<'q, E>(&mut self, query: E) -> Result<DB::Row, BodyError>
    where
        E: Execute<'q, DB> + 'q,
    {
        let row = self.fetch_optional(query).await?;
        Ok(row.ok_or(sqlx::Error::RowNotFound)?)
    }

    /// Sends a query for its rows, each read as an `O` (a tuple, a struct).
    ///
    /// # Errors
    /// As [`Tx::execute`]; and when a row cannot be read as an `O`.
    pub async fn fetch_all_as<'q, O, E>(&mut self, query: E) -> Result<Vec<O>, BodyError>
    where
        O: for<'r> FromRow<'r, DB::Row>,
        E: Execute<'q, DB> + 'q,
    {
        let rows = self.fetch_all(query).await?;
        let read: Result<Vec<O>, sqlx::Error> = rows.iter().map(O::from_row).collect();
        Ok(read?)
    }

    /// Sends a query for at most one row, read as an `O`.
    ///
    /// # Errors
    /// As [`Tx::fetch_all_as`].
    pub async fn fetch_optional_as<'q, O, E>(&mut self, query: E) -> Result<Option<O>, BodyError>
    where
        O: for<'r> FromRow<'r, DB::Row>,
        E: Execute<'q, DB> + 'q,
    {
        let row = self.fetch_optional(query).await?;
        Ok(row.as_ref().map(O::from_row).transpose()?)
    }

    /// Sends a query for one row, read as an `O`.
    ///
    /// # Errors
    /// As [`Tx::fetch_one`] and [`Tx::fetch_all_as`].
    pub async fn fetch_one_as<'q, O, E>(&mut self, query: E) -> Result<O, BodyError>
    where
        O: for<'r> FromRow<'r, DB::Row>,
        E: Execute<'q, DB> + 'q,
    {
        let row = self.fetch_optional_as(query).await?;
        Ok(row.ok_or(sqlx::Error::RowNotFound)?)
    }
}
