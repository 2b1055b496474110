//! The ids of rows, in the order in which they are locked.
//!
//! Decides: how ids of each kind are ordered, and written into a statement. Never does: send one.

use crate::txn::dialect::{Dialect, Family};
use crate::txn::statement::{Statement, Value};

/// Ids of rows, all of one kind; ascending, each once.
///
/// Made `From` a vector of `i64`, of `String` or `&str`, or of 16 bytes
/// (`uuid::Uuid::into_bytes`).
///
/// Integers and UUIDs are ordered by value, texts by their bytes. PostgreSQL is told to order texts
/// so too (`COLLATE "C"`); InnoDB locks in the order of the index, which is the column's collation.
///
/// # Hazards
/// On MySQL and MariaDB a UUID is a column of type `BINARY(16)`. MariaDB's own type `UUID` has an
/// order of its own, and a `CHAR(36)` is a text.
///
/// ```
/// use cupping::txn::LockIds;
///
/// let ids = LockIds::from(vec![3_i64, 1, 3]);
/// assert_eq!(ids.ints(), [1, 3]);
/// assert_eq!(LockIds::from(vec!["b", "a"]).texts(), ["a", "b"]);
/// assert_eq!(LockIds::from(vec![[7_u8; 16]]).len(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockIds(Ids);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Ids {
    Int(Vec<i64>),
    Text(Vec<String>),
    Uuid(Vec<[u8; 16]>),
}

/// The highest id that a transaction holds of a table, where a later one can be compared with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Highest {
    Int(i64),
    Uuid([u8; 16]),
}

/// Most ids in one statement, where each has a placeholder.
const CHUNK: usize = 1000;

/// Most texts in one plan on MySQL: their order is the collation's, which is not known here, so
/// they cannot be divided among statements. (A statement has at most 65,535 placeholders.)
const MYSQL_TEXTS: usize = 20_000;

fn sorted<T: Ord>(mut ids: Vec<T>) -> Vec<T> {
    ids.sort_unstable();
    ids.dedup();
    ids
}

impl From<Vec<i64>> for LockIds {
    fn from(ids: Vec<i64>) -> Self {
        Self(Ids::Int(sorted(ids)))
    }
}

impl From<&[i64]> for LockIds {
    fn from(ids: &[i64]) -> Self {
        ids.to_vec().into()
    }
}

impl From<Vec<i32>> for LockIds {
    fn from(ids: Vec<i32>) -> Self {
        ids.into_iter().map(i64::from).collect::<Vec<_>>().into()
    }
}

impl From<Vec<String>> for LockIds {
    fn from(ids: Vec<String>) -> Self {
        Self(Ids::Text(sorted(ids)))
    }
}

impl From<Vec<&str>> for LockIds {
    fn from(ids: Vec<&str>) -> Self {
        ids.into_iter().map(str::to_owned).collect::<Vec<_>>().into()
    }
}

impl From<Vec<[u8; 16]>> for LockIds {
    fn from(ids: Vec<[u8; 16]>) -> Self {
        Self(Ids::Uuid(sorted(ids)))
    }
}

impl LockIds {
    /// How many. Example: see [`LockIds`].
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Ids::Int(ids) => ids.len(),
            Ids::Text(ids) => ids.len(),
            Ids::Uuid(ids) => ids.len(),
        }
    }

    /// Whether there are none. Example: see [`LockIds`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The integers; none where the ids are of another kind. Example: see [`LockIds`].
    #[must_use]
    pub fn ints(&self) -> &[i64] {
        if let Ids::Int(ids) = &self.0 { ids } else { &[] }
    }

    /// The texts; none where the ids are of another kind. Example: see [`LockIds`].
    #[must_use]
    pub fn texts(&self) -> &[String] {
        if let Ids::Text(ids) = &self.0 { ids } else { &[] }
    }

    /// The UUIDs' bytes; none where the ids are of another kind. Example: see [`LockIds`].
    #[must_use]
    pub fn uuids(&self) -> &[[u8; 16]] {
        if let Ids::Uuid(ids) = &self.0 { ids } else { &[] }
    }

    /// Those of both; `None` when they are of different kinds.
    pub(super) fn merged(self, other: Self) -> Option<Self> {
        Some(match (self.0, other.0) {
            (Ids::Int(a), Ids::Int(b)) => [a, b].concat().into(),
            (Ids::Text(a), Ids::Text(b)) => [a, b].concat().into(),
            (Ids::Uuid(a), Ids::Uuid(b)) => [a, b].concat().into(),
            _ => return None,
        })
    }

    /// Those that are not among `others`.
    pub(super) fn without(&self, others: &Self) -> Self {
        Self(match (&self.0, &others.0) {
            (Ids::Int(a), Ids::Int(b)) => Ids::Int(difference(a, b)),
            (Ids::Text(a), Ids::Text(b)) => Ids::Text(difference(a, b)),
            (Ids::Uuid(a), Ids::Uuid(b)) => Ids::Uuid(difference(a, b)),
            (ids, _) => ids.clone(),
        })
    }

    /// The lowest and the highest, where the order of a later plan's can be told.
    pub(super) fn bounds(&self) -> Option<(Highest, Highest)> {
        match &self.0 {
            Ids::Int(ids) => Some((Highest::Int(*ids.first()?), Highest::Int(*ids.last()?))),
            Ids::Uuid(ids) => Some((Highest::Uuid(*ids.first()?), Highest::Uuid(*ids.last()?))),
            Ids::Text(_) => None,
        }
    }

    /// The lowest, for people.
    pub(super) fn lowest(&self) -> String {
        match &self.0 {
            Ids::Int(ids) => ids.first().map(i64::to_string),
            Ids::Text(ids) => ids.first().cloned(),
            Ids::Uuid(ids) => ids.first().map(hyphenated),
        }
        .unwrap_or_default()
    }

    /// Of the same kind, from the texts that the database gives.
    pub(in crate::txn) fn read(&self, texts: Vec<String>) -> Result<Self, sqlx::Error> {
        Ok(match &self.0 {
            Ids::Int(_) => texts
                .iter()
                .map(|text| text.parse())
                .collect::<Result<Vec<i64>, _>>()
                .map_err(|error| sqlx::Error::Decode(error.into()))?
                .into(),
            Ids::Text(_) => texts.into(),
            Ids::Uuid(_) => texts
                .iter()
                .map(|text| bytes_of(text).ok_or_else(|| not_a_uuid(text)))
                .collect::<Result<Vec<_>, _>>()?
                .into(),
        })
    }

    /// In the portions that one statement takes, ascending; `None` when they cannot be divided.
    pub(super) fn portions(&self, family: Family) -> Option<Vec<Self>> {
        match (&self.0, family) {
            (_, Family::Postgres) => Some(vec![self.clone()]),
            (Ids::Text(ids), Family::MySql) => {
                (ids.len() <= MYSQL_TEXTS).then(|| vec![self.clone()])
            }
            (Ids::Int(ids), _) => Some(chunks(ids, Ids::Int)),
            (Ids::Text(ids), _) => Some(chunks(ids, Ids::Text)),
            (Ids::Uuid(ids), _) => Some(chunks(ids, Ids::Uuid)),
        }
    }

    /// The column as the text that [`LockIds::read`] reads.
    pub(super) fn column(&self, family: Family, column: &str) -> String {
        match (&self.0, family) {
            (Ids::Uuid(_), Family::MySql | Family::Sqlite) => format!("HEX({column})"),
            _ => crate::txn::statement::as_text(family, column),
        }
    }

    /// The order in which the database is to lock.
    pub(super) fn order(&self, family: Family, column: &str) -> String {
        match (&self.0, family) {
            (Ids::Text(_), Family::Postgres) => format!("{column} COLLATE \"C\""),
            _ => column.to_owned(),
        }
    }

    /// `column = ANY …` or `column IN …`.
    pub(super) fn among<DB: Dialect>(
        &self,
        statement: Statement<DB>,
        column: &str,
    ) -> Statement<DB> {
        if DB::FAMILY == Family::Postgres {
            let (array, kind) = match &self.0 {
                Ids::Int(ids) => (array(ids.iter().map(i64::to_string)), "bigint"),
                Ids::Text(ids) => (array(ids.iter().map(|id| quoted(id))), "text"),
                Ids::Uuid(ids) => (array(ids.iter().map(hyphenated)), "uuid"),
            };
            let statement = statement.push(format!("{column} = ANY(CAST(CAST("));
            return statement.value(array).push(format!(" AS text) AS {kind}[]))"));
        }
        let values: Vec<Value> = match &self.0 {
            Ids::Int(ids) => ids.iter().copied().map(Value::Int).collect(),
            Ids::Text(ids) => ids.iter().cloned().map(Value::Text).collect(),
            Ids::Uuid(ids) => ids.iter().map(|id| Value::Bytes(id.to_vec())).collect(),
        };
        let mut statement = statement.push(format!("{column} IN ("));
        for (n, value) in values.into_iter().enumerate() {
            statement = statement.push(if n == 0 { "" } else { ", " }).value(value);
        }
        statement.push(")")
    }
}

fn difference<T: Ord + Clone>(ids: &[T], others: &[T]) -> Vec<T> {
    ids.iter().filter(|id| others.binary_search(id).is_err()).cloned().collect()
}

fn chunks<T: Clone>(ids: &[T], of: fn(Vec<T>) -> Ids) -> Vec<LockIds> {
    ids.chunks(CHUNK).map(|chunk| LockIds(of(chunk.to_vec()))).collect()
}

/// An array as PostgreSQL reads it.
fn array(elements: impl Iterator<Item = String>) -> String {
    format!("{{{}}}", elements.collect::<Vec<_>>().join(","))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn hyphenated(uuid: &[u8; 16]) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(*uuid));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn bytes_of(text: &str) -> Option<[u8; 16]> {
    let hex: String = text.chars().filter(|c| *c != '-').collect();
    (hex.len() == 32).then(|| u128::from_str_radix(&hex, 16).ok())?.map(u128::to_be_bytes)
}

fn not_a_uuid(text: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("`{text}` is not a UUID: is the column BINARY(16)?").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_survives_both_spellings() {
        let uuid = *b"0123456789abcdef";
        let text = hyphenated(&uuid);
        assert_eq!(text, "30313233-3435-3637-3839-616263646566");
        assert_eq!(bytes_of(&text), Some(uuid));
        assert_eq!(bytes_of(&text.replace('-', "").to_uppercase()), Some(uuid));
        assert_eq!(bytes_of("no"), None);
    }

    #[test]
    fn a_text_cannot_leave_its_quotes() {
        assert_eq!(quoted(r#"a"\,{}"#), r#""a\"\\,{}""#);
    }

    #[test]
    fn portions_ascend_and_texts_stay_together_on_mysql() {
        let ids = LockIds::from((0..2500_i64).rev().collect::<Vec<_>>());
        let portions = ids.portions(Family::MySql).expect("integers can be divided");
        let flat: Vec<i64> = portions.iter().flat_map(|p| p.ints().to_vec()).collect();
        assert_eq!((portions.len(), flat), (3, (0..2500).collect()));
        let texts = LockIds::from((0..30_000).map(|n| n.to_string()).collect::<Vec<_>>());
        assert_eq!(texts.portions(Family::MySql), None);
        assert_eq!(texts.portions(Family::Postgres).expect("one array").len(), 1);
    }
}
