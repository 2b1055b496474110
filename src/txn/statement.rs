//! A statement of ours with its values, whatever the database: text, and placeholders as it
//! writes them.
//!
//! Decides: placeholders, and how a list of ids is compared. Never does: send.

use super::body::BodyError;
use super::dialect::{Dialect, Family};
use super::lockdep::Site;
use super::transaction::Tx;
use std::marker::PhantomData;

/// A value of a statement; `From` an integer, a text or bytes.
///
/// ```
/// use cupping::txn::Value;
///
/// assert_eq!(Value::from(7_i64), Value::Int(7));
/// assert_eq!(Value::from("a"), Value::Text("a".to_owned()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A 64-bit integer.
    Int(i64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A statement being written.
#[derive(Debug)]
pub(super) struct Statement<DB> {
    text: String,
    values: Vec<Value>,
    database: PhantomData<fn() -> DB>,
}

impl<DB: Dialect> Statement<DB> {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), values: Vec::new(), database: PhantomData }
    }

    /// More of its text.
    pub(super) fn push(mut self, text: impl AsRef<str>) -> Self {
        self.text.push_str(text.as_ref());
        self
    }

    /// A placeholder, and its value.
    pub(super) fn value(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        match DB::FAMILY {
            Family::Postgres => self.text.push_str(&format!("${}", self.values.len())),
            Family::MySql | Family::Sqlite => self.text.push('?'),
        }
        self
    }

    /// Its text, and its values.
    pub(super) fn into_parts(self) -> (String, Vec<Value>) {
        (self.text, self.values)
    }

    #[cfg(test)]
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

impl<DB: Dialect> Tx<DB> {
    /// Sends a statement for the number of rows that it matched.
    pub(super) async fn tell(&mut self, statement: Statement<DB>) -> Result<u64, BodyError> {
        self.admit()?;
        let (sql, values) = statement.into_parts();
        let sent = DB::tell(&mut self.connection, sql, values);
        let answer = self.watch.answered(sent).await;
        self.remember(answer)
    }

    /// Sends a statement for its rows.
    pub(super) async fn ask(
        &mut self,
        statement: Statement<DB>,
    ) -> Result<Vec<DB::Row>, BodyError> {
        self.admit()?;
        let (sql, values) = statement.into_parts();
        let sent = DB::ask(&mut self.connection, sql, values, true);
        let answer = self.watch.answered(sent).await;
        self.remember(answer)
    }

    /// As [`Tx::ask`], for a text that seldom comes again, such as one with a list of any length;
    /// on behalf of `site`.
    pub(super) async fn ask_once(
        &mut self,
        site: Site,
        statement: Statement<DB>,
    ) -> Result<Vec<DB::Row>, BodyError> {
        self.admit()?;
        let (sql, values) = statement.into_parts();
        let note = self.recorder.note_own(&sql, &values);
        let sent = DB::ask(&mut self.connection, sql, values, false);
        let answer = self.watch.answered(sent).await;
        let rows = answer.as_ref().ok().map(Vec::as_slice);
        let recorded = self.recorder.took::<DB>(note, site, rows);
        let answer = self.remember(answer)?;
        recorded.map(|()| answer)
    }
}

impl From<i64> for Value {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<i32> for Value {
    fn from(int: i32) -> Self {
        Self::Int(int.into())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// A column as the text that [`Dialect::text`] reads.
pub(super) fn as_text(family: Family, column: &str) -> String {
    match family {
        Family::Postgres | Family::Sqlite => format!("CAST({column} AS text)"),
        Family::MySql => format!("CAST({column} AS CHAR)"),
    }
}
