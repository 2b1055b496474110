//! Optimistic versions: a row changes only if it is still as it was read.
//!
//! Decides: that exactly one row at the expected version must have been written, and what a
//! conflict says. Never does: retry; the whole unit runs again, reads anew, and tries anew, at most
//! as often as its options allow.

use super::body::BodyError;
use super::dialect::{Dialect, Family};
use super::statement::{Statement, Value, as_text};
use super::transaction::Tx;
use sqlx::Execute;
use std::fmt;

/// A table whose rows carry a version that grows by one with every change. Declare it once.
/// Names are written into statements as they are: constants, never input.
///
/// ```
/// use cupping::txn::Versioned;
///
/// const ALERT: Versioned = Versioned { table: "alert", key: "id", version: "version" };
/// let row = ALERT.row(7_i64, 3);
/// assert_eq!(row.to_string(), "alert 7 at version 3");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versioned {
    /// The table's name, quoted if it has to be.
    pub table: &'static str,
    /// The column that names a row: an integer or a text.
    pub key: &'static str,
    /// The column of the version, a 64-bit integer.
    pub version: &'static str,
}

/// A row as it was read.
///
/// ```
/// use cupping::txn::{Versioned, VersionedRow};
///
/// const ALERT: Versioned = Versioned { table: "alert", key: "id", version: "version" };
/// let row: VersionedRow = ALERT.row("a-7", 3);
/// assert_eq!(row.to_string(), "alert a-7 at version 3");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionedRow {
    of: Versioned,
    id: Value,
    expected: i64,
    given: bool,
}

/// A row is not as it was read.
///
/// When a unit gives up, this is the source of its [`super::TxnError`]:
///
/// ```
/// use cupping::txn::{TxnError, VersionConflict};
///
/// fn conflict(error: &TxnError) -> Option<&VersionConflict> {
///     match error {
///         TxnError::Exhausted { source, .. } => source.downcast_ref(),
///         TxnError::Body { source, .. } => source.downcast_ref(),
///         _ => None,
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{table} {id} was expected at version {expected} and {}: somebody else has written it since",
    seen_at(.found)
)]
pub struct VersionConflict {
    /// The table.
    pub table: &'static str,
    /// The row.
    pub id: String,
    /// The version that was read.
    pub expected: i64,
    /// The version that it has; `None` when it is gone.
    pub found: Option<i64>,
}

fn seen_at(version: &Option<i64>) -> String {
    version.map_or_else(|| "is gone".to_owned(), |version| format!("is at version {version}"))
}

impl Versioned {
    /// A row that this unit has read at a version: on a conflict the whole unit runs again.
    /// Example: see [`Versioned`].
    #[must_use]
    pub fn row(self, id: impl Into<Value>, expected: i64) -> VersionedRow {
        VersionedRow { of: self, id: id.into(), expected, given: false }
    }
}

impl VersionedRow {
    /// The version was not read by this unit but given to it (a form that was open for a while, an
    /// `If-Match`): running again would not mend a conflict, so the unit fails with it as
    /// [`super::TxnError::Body`].
    ///
    /// ```
    /// use cupping::txn::Versioned;
    ///
    /// const ALERT: Versioned = Versioned { table: "alert", key: "id", version: "version" };
    /// let of_the_form = ALERT.row(7_i64, 3).given();
    /// # drop(of_the_form);
    /// ```
    #[must_use]
    pub fn given(self) -> Self {
        Self { given: true, ..self }
    }

    fn id(&self) -> String {
        match &self.id {
            Value::Int(id) => id.to_string(),
            Value::Text(id) => id.clone(),
            Value::Bytes(id) => id.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// What is there instead.
    fn look<DB: Dialect>(&self) -> Statement<DB> {
        let Versioned { table, key, version } = self.of;
        let column = as_text(DB::FAMILY, version);
        let statement = Statement::new(format!("SELECT {column} FROM {table} WHERE {key} = "));
        let statement = statement.value(self.id.clone());
        // A snapshot would show the version that was expected; a locking read shows the row.
        statement.push(if DB::FAMILY == Family::MySql { " LOCK IN SHARE MODE" } else { "" })
    }

    fn advance<DB: Dialect>(&self) -> Statement<DB> {
        let Versioned { table, key, version } = self.of;
        Statement::new(format!("UPDATE {table} SET {version} = {version} + 1 WHERE {key} = "))
            .value(self.id.clone())
            .push(format!(" AND {version} = "))
            .value(self.expected)
    }
}

impl fmt::Display for VersionedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at version {}", self.of.table, self.id(), self.expected)
    }
}

impl<DB: Dialect> Tx<DB> {
    /// Raises a row's version by one if it is still as it was read, and holds the row until the
    /// transaction ends, so that whatever is written to it (and to what belongs to it) afterwards
    /// is safe. Gives the new version.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use cupping::txn::{Transactor, TxnOptions, Versioned, work};
    ///
    /// const ALERT: Versioned = Versioned { table: "alert", key: "id", version: "version" };
    ///
    /// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    /// # let pool = memory.connect("sqlite::memory:").await?;
    /// # sqlx::raw_sql("CREATE TABLE alert (id INTEGER, level INTEGER, version INTEGER);
    /// #                INSERT INTO alert VALUES (7, 4, 1)").execute(&pool).await?;
    /// let version = Transactor::new(pool)
    ///     .run("resolve", &TxnOptions::default(), work!(|tx| {
    ///         let read = "SELECT level, version FROM alert WHERE id = 7";
    ///         let (level, version): (i64, i64) = tx.fetch_one_as(read).await?;
    ///         let version = tx.advance_version(&ALERT.row(7_i64, version)).await?;
    ///         let write = sqlx::query("UPDATE alert SET level = ? WHERE id = 7");
    ///         tx.execute(write.bind(level / 2)).await?;
    ///         Ok(version)
    ///     }))
    ///     .await?;
    /// assert_eq!(version, 2);
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sqlite"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// [`VersionConflict`], upon which the unit runs again (or not: [`VersionedRow::given`]).
    pub async fn advance_version(&mut self, row: &VersionedRow) -> Result<i64, BodyError> {
        let written = self.tell(row.advance()).await?;
        self.check(row, written).await?;
        Ok(row.expected + 1)
    }

    /// Sends an UPDATE of the caller's own that compares and sets the version itself
    /// (`… SET version = version + 1 … WHERE id = $1 AND version = $2`), and checks that it wrote
    /// the row.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use cupping::txn::{Transactor, TxnError, TxnOptions, VersionConflict, Versioned, work};
    ///
    /// const ALERT: Versioned = Versioned { table: "alert", key: "id", version: "version" };
    ///
    /// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    /// # let pool = memory.connect("sqlite::memory:").await?;
    /// # sqlx::raw_sql("CREATE TABLE alert (id INTEGER PRIMARY KEY, state TEXT, version INTEGER);
    /// #                INSERT INTO alert VALUES (7, 'open', 5)").execute(&pool).await?;
    /// let of_the_form = 3_i64;
    /// let saved = Transactor::new(pool)
    ///     .run("resolve", &TxnOptions::default(), work!(|tx| {
    ///         let update = "UPDATE alert SET state = 'resolved', version = version + 1
    ///                       WHERE id = 7 AND version = ?";
    ///         let row = ALERT.row(7_i64, of_the_form).given();
    ///         tx.compare_and_set(&row, sqlx::query(update).bind(of_the_form)).await?;
    ///         Ok(())
    ///     }))
    ///     .await;
    /// let Err(TxnError::Body { source, .. }) = saved else { panic!("it has moved on") };
    /// let conflict: &VersionConflict = source.downcast_ref().expect("that is why");
    /// assert_eq!(conflict.found, Some(5));
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sqlite"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// As [`Tx::advance_version`].
    pub async fn compare_and_set<'q, E>(
        &mut self,
        row: &VersionedRow,
        update: E,
    ) -> Result<(), BodyError>
    where
        E: Execute<'q, DB> + 'q,
    {
        let written = DB::affected(&self.execute(update).await?);
        self.check(row, written).await
    }

    async fn check(&mut self, row: &VersionedRow, written: u64) -> Result<(), BodyError> {
        if written == 1 {
            return Ok(());
        }
        let seen = self.ask(row.look()).await?;
        let version = seen.first().map(|seen| DB::text(seen, 0)).transpose()?.flatten();
        let (table, id, expected) = (row.of.table, row.id(), row.expected);
        let found = version.and_then(|version| version.parse().ok());
        let conflict = VersionConflict { table, id, expected, found };
        Err(if row.given { BodyError::own(conflict) } else { BodyError::conflict(conflict) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_names_the_row_and_both_versions() {
        let conflict =
            VersionConflict { table: "alert", id: "7".into(), expected: 3, found: Some(5) };
        let told = conflict.to_string();
        assert!(told.contains("alert 7") && told.contains("version 3"), "{told}");
        assert!(told.contains("version 5"), "{told}");
        let gone = VersionConflict { found: None, ..conflict };
        assert!(gone.to_string().contains("is gone"), "{gone}");
    }
}
