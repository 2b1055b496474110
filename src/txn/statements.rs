//! How a body sends its statements.
//!
//! Decides: what each way of asking gives back. Never does: begin or end a transaction (see
//! `transaction`), or send after an error.
//!
//! The public methods are not `async fn`: those cannot tell from where they are called, which
//! `lockdep` wants to know. Each hands its call site to the method that does the work.

use super::body::BodyError;
use super::dialect::Dialect;
use super::lockdep::Site;
use super::transaction::Tx;
use sqlx::{Execute, FromRow};
use std::future::Future;

impl<DB: Dialect> Tx<DB> {
    /// Sends a query for its effect.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use cupping::txn::{Transactor, TxnOptions, work};
    /// # use sqlx::Sqlite;
    /// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    /// # let pool = memory.connect("sqlite::memory:").await?;
    /// # let body = work!(|tx: Sqlite| {
    /// tx.execute("CREATE TABLE bean (id INTEGER, name TEXT)").await?;
    /// let insert = sqlx::query("INSERT INTO bean VALUES (?, ?)").bind(1_i64).bind("Guji");
    /// assert_eq!(tx.execute(insert).await?.rows_affected(), 1);
    /// # Ok(()) });
    /// # Transactor::new(pool).run("example", &TxnOptions::default(), body).await?;
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sqlite"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// When the database fails; from then on every statement and the commit are refused.
    #[track_caller]
    pub fn execute<'q, E>(
        &mut self,
        query: E,
    ) -> impl Future<Output = Result<DB::QueryResult, BodyError>> + Send
    where
        E: Execute<'q, DB> + 'q,
    {
        let site = Site::here();
        self.execute_at(site, query)
    }

    /// Sends a query for its rows.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use cupping::txn::{Transactor, TxnOptions, work};
    /// # use sqlx::Sqlite;
    /// use sqlx::Row;
    ///
    /// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    /// # let pool = memory.connect("sqlite::memory:").await?;
    /// # let body = work!(|tx: Sqlite| {
    /// let rows = tx.fetch_all("SELECT 1 AS n UNION ALL SELECT 2").await?;
    /// assert_eq!(rows[1].try_get::<i64, _>("n")?, 2);
    /// # Ok(()) });
    /// # Transactor::new(pool).run("example", &TxnOptions::default(), body).await?;
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sqlite"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// As [`Tx::execute`].
    #[track_caller]
    pub fn fetch_all<'q, E>(
        &mut self,
        query: E,
    ) -> impl Future<Output = Result<Vec<DB::Row>, BodyError>> + Send
    where
        E: Execute<'q, DB> + 'q,
    {
        let site = Site::here();
        self.fetch_all_at(site, query)
    }

    /// Sends a query for at most one row.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use cupping::txn::{Transactor, TxnOptions, work};
    /// # use sqlx::Sqlite;
    /// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    /// # let pool = memory.connect("sqlite::memory:").await?;
    /// # let body = work!(|tx: Sqlite| {
    /// assert!(tx.fetch_optional("SELECT 1 WHERE false").await?.is_none());
    /// # Ok(()) });
    /// # Transactor::new(pool).run("example", &TxnOptions::default(), body).await?;
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sqlite"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// As [`Tx::execute`].
    #[track_caller]
    pub fn fetch_optional<'q, E>(
        &mut self,
        query: E,
    ) -> impl Future<Output = Result<Option<DB::Row>, BodyError>> + Send
    where
        E: Execute<'q, DB> + 'q,
    {
        let site = Site::here();
        self.fetch_optional_at(site, query)
    }

    /// Sends a query for one row. Example: see [`Tx::fetch_all`].
    ///
    /// # Errors
    /// As [`Tx::execute`]; and `RowNotFound`, which does not poison.
    #[track_caller]
    pub fn fetch_one<'q, E>(
        &mut self,
        query: E,
    ) -> impl Future<Output = Result<DB::Row, BodyError>> + Send
    where
        E: Execute<'q, DB> + 'q,
    {
        let site = Site::here();
        async move {
            let row = self.fetch_optional_at(site, query).await?;
            Ok(row.ok_or(sqlx::Error::RowNotFound)?)
        }
    }

    /// Sends a query for its rows, each read as an `O` (a tuple, a struct).
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use cupping::txn::{Transactor, TxnOptions, work};
    /// # use sqlx::Sqlite;
    /// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    /// # let pool = memory.connect("sqlite::memory:").await?;
    /// # let body = work!(|tx: Sqlite| {
    /// let rows: Vec<(i64, String)> = tx.fetch_all_as("SELECT 7, 'Guji'").await?;
    /// assert_eq!(rows, [(7, "Guji".to_owned())]);
    ///
    /// let row: Option<(i64,)> = tx.fetch_optional_as("SELECT 7 WHERE false").await?;
    /// assert_eq!(row, None);
    ///
    /// let missing = tx.fetch_one_as::<(i64,), _>("SELECT 7 WHERE false").await;
    /// assert!(missing.is_err(), "and the transaction goes on");
    /// # Ok(()) });
    /// # Transactor::new(pool).run("example", &TxnOptions::default(), body).await?;
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sqlite"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// As [`Tx::execute`]; and when a row cannot be read as an `O`.
    #[track_caller]
    pub fn fetch_all_as<'q, O, E>(
        &mut self,
        query: E,
    ) -> impl Future<Output = Result<Vec<O>, BodyError>> + Send
    where
        O: for<'r> FromRow<'r, DB::Row>,
        E: Execute<'q, DB> + 'q,
    {
        let site = Site::here();
        async move {
            let rows = self.fetch_all_at(site, query).await?;
            let read: Result<Vec<O>, sqlx::Error> = rows.iter().map(O::from_row).collect();
            Ok(read?)
        }
    }

    /// Sends a query for at most one row, read as an `O`. Example: see [`Tx::fetch_all_as`].
    ///
    /// # Errors
    /// As [`Tx::fetch_all_as`].
    #[track_caller]
    pub fn fetch_optional_as<'q, O, E>(
        &mut self,
        query: E,
    ) -> impl Future<Output = Result<Option<O>, BodyError>> + Send
    where
        O: for<'r> FromRow<'r, DB::Row>,
        E: Execute<'q, DB> + 'q,
    {
        let site = Site::here();
        async move {
            let row = self.fetch_optional_at(site, query).await?;
            Ok(row.as_ref().map(O::from_row).transpose()?)
        }
    }

    /// Sends a query for one row, read as an `O`. Example: see [`Tx::fetch_all_as`].
    ///
    /// # Errors
    /// As [`Tx::fetch_one`] and [`Tx::fetch_all_as`].
    #[track_caller]
    pub fn fetch_one_as<'q, O, E>(
        &mut self,
        query: E,
    ) -> impl Future<Output = Result<O, BodyError>> + Send
    where
        O: for<'r> FromRow<'r, DB::Row>,
        E: Execute<'q, DB> + 'q,
    {
        let site = Site::here();
        async move {
            let row = self.fetch_optional_at(site, query).await?;
            Ok(O::from_row(&row.ok_or(sqlx::Error::RowNotFound)?)?)
        }
    }

    /// As [`Tx::execute`], on behalf of `site`.
    pub(super) async fn execute_at<'q, E>(
        &mut self,
        site: Site,
        query: E,
    ) -> Result<DB::QueryResult, BodyError>
    where
        E: Execute<'q, DB> + 'q,
    {
        self.admit()?;
        let (query, note) = self.recorder.note(query);
        let sent = DB::execute(&mut self.connection, query);
        let answer = self.watch.answered(sent).await;
        let recorded = self.recorder.took::<DB>(note, site, None);
        let answer = self.remember(answer)?;
        recorded.map(|()| answer)
    }

    /// As [`Tx::fetch_all`], on behalf of `site`.
    pub(super) async fn fetch_all_at<'q, E>(
        &mut self,
        site: Site,
        query: E,
    ) -> Result<Vec<DB::Row>, BodyError>
    where
        E: Execute<'q, DB> + 'q,
    {
        self.admit()?;
        let (query, note) = self.recorder.note(query);
        let sent = DB::fetch_all(&mut self.connection, query);
        let answer = self.watch.answered(sent).await;
        let rows = answer.as_ref().ok().map(Vec::as_slice);
        let recorded = self.recorder.took::<DB>(note, site, rows);
        let answer = self.remember(answer)?;
        recorded.map(|()| answer)
    }

    /// As [`Tx::fetch_optional`], on behalf of `site`.
    pub(super) async fn fetch_optional_at<'q, E>(
        &mut self,
        site: Site,
        query: E,
    ) -> Result<Option<DB::Row>, BodyError>
    where
        E: Execute<'q, DB> + 'q,
    {
        self.admit()?;
        let (query, note) = self.recorder.note(query);
        let sent = DB::fetch_optional(&mut self.connection, query);
        let answer = self.watch.answered(sent).await;
        let rows = answer.as_ref().ok().map(Option::as_slice);
        let recorded = self.recorder.took::<DB>(note, site, rows);
        let answer = self.remember(answer)?;
        recorded.map(|()| answer)
    }
}
