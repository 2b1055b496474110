//! What is locked and how: the classes of lockdep's graph, and which modes wait for which.
//!
//! Decides: the conflict matrix. Never does: know of a statement or a server.
//!
//! InnoDB's locks are written in the same modes: S is [`Mode::Share`], X is [`Mode::Update`].

use std::fmt;
use std::sync::Arc;

/// A value that names a row or an advisory lock.
///
/// ```
/// use cupping::txn::lockdep::Key;
///
/// assert!(Key::from(9_i64) < Key::from(10_i64));
/// assert!(Key::from("9") > Key::from("10"), "texts compare as texts");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// An integer.
    Int(i128),
    /// A text.
    Text(String),
    /// A UUID, or other bytes that compare byte by byte.
    Bytes(Vec<u8>),
    /// Several columns together.
    Tuple(Vec<Key>),
}

macro_rules! key_from_integer {
    ($($integer:ty)*) => {$(
        impl From<$integer> for Key {
            fn from(value: $integer) -> Self {
                Self::Int(value.into())
            }
        }
    )*};
}
key_from_integer!(i8 i16 i32 i64 u8 u16 u32 u64);

impl From<&str> for Key {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Key {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

/// Things that are locked alike, whichever of them it is.
///
/// ```
/// use cupping::txn::lockdep::Class;
///
/// assert_eq!(Class::Rows("region".into()).to_string(), "rows of region");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// The rows of a table.
    Rows(Arc<str>),
    /// The entries of a table's secondary indexes (InnoDB): locked before the rows that are found
    /// by them.
    Index(Arc<str>),
    /// A table itself.
    Table(Arc<str>),
    /// PostgreSQL's advisory locks of one 64-bit key, or those of two with the same first.
    Advisory(Option<Key>),
    /// `GET_LOCK`'s names.
    Named,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(table) => write!(f, "rows of {table}"),
            Self::Index(table) => write!(f, "index entries of {table}"),
            Self::Table(table) => write!(f, "table {table}"),
            Self::Advisory(None) => f.write_str("advisory locks"),
            Self::Advisory(Some(Key::Int(space))) => write!(f, "advisory locks ({space}, …)"),
            Self::Advisory(Some(_)) => f.write_str("advisory locks of two keys"),
            Self::Named => f.write_str("named locks"),
        }
    }
}

/// How something is locked. The first seven are of rows, the others of tables; an advisory or
/// named lock is taken as [`Mode::TableShare`] or [`Mode::Exclusive`].
///
/// ```
/// use cupping::txn::lockdep::Mode;
///
/// assert!(Mode::Update.waits_for(Mode::KeyShare));
/// assert!(Mode::NoKeyUpdate.goes_with(Mode::KeyShare));
/// assert!(Mode::Update.covers(Mode::Share));
/// assert_eq!(Mode::NoKeyUpdate.label(), "NO KEY UPDATE");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// `FOR KEY SHARE`: what a foreign key takes of its parent.
    KeyShare,
    /// `FOR SHARE`.
    Share,
    /// `FOR NO KEY UPDATE`, and an UPDATE that leaves the keys alone.
    NoKeyUpdate,
    /// `FOR UPDATE`, and an UPDATE of a key.
    Update,
    /// A new row: only an INSERT of the same key waits for it.
    Insert,
    /// `INSERT … ON CONFLICT DO UPDATE`: a new row or an updated one.
    Upsert,
    /// DELETE: an INSERT of the same key waits for it too.
    Delete,
    /// Reading.
    AccessShare,
    /// Locking rows.
    RowShare,
    /// Writing rows.
    RowExclusive,
    /// VACUUM, `CREATE INDEX CONCURRENTLY`.
    ShareUpdateExclusive,
    /// `CREATE INDEX`; a shared advisory lock.
    TableShare,
    /// `CREATE TRIGGER`.
    ShareRowExclusive,
    /// Blocks all but readers; an advisory lock.
    Exclusive,
    /// TRUNCATE, most of ALTER TABLE: blocks everybody.
    AccessExclusive,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::KeyShare,
        Self::Share,
        Self::NoKeyUpdate,
        Self::Update,
        Self::Insert,
        Self::Upsert,
        Self::Delete,
        Self::AccessShare,
        Self::RowShare,
        Self::RowExclusive,
        Self::ShareUpdateExclusive,
        Self::TableShare,
        Self::ShareRowExclusive,
        Self::Exclusive,
        Self::AccessExclusive,
    ];

    /// Whether who asks in this mode waits for who holds in that one. Example: see [`Mode`].
    #[must_use]
    pub fn waits_for(self, held: Self) -> bool {
        use Mode::{
            AccessExclusive, AccessShare, Delete, Exclusive, Insert, KeyShare, NoKeyUpdate,
            RowExclusive, RowShare, Share, ShareRowExclusive, ShareUpdateExclusive, TableShare,
            Update, Upsert,
        };
        match self {
            KeyShare => matches!(held, Update | Delete),
            Share => matches!(held, NoKeyUpdate | Update | Upsert | Delete),
            NoKeyUpdate => matches!(held, Share | NoKeyUpdate | Update | Upsert | Delete),
            Update | Delete => {
                matches!(held, KeyShare | Share | NoKeyUpdate | Update | Upsert | Delete)
            }
            Insert => matches!(held, Insert | Upsert | Delete),
            Upsert => matches!(held, Share | NoKeyUpdate | Update | Insert | Upsert | Delete),
            AccessShare => held == AccessExclusive,
            RowShare => matches!(held, Exclusive | AccessExclusive),
            RowExclusive => {
                matches!(held, TableShare | ShareRowExclusive | Exclusive | AccessExclusive)
            }
            ShareUpdateExclusive => matches!(
                held,
                ShareUpdateExclusive | TableShare | ShareRowExclusive | Exclusive | AccessExclusive
            ),
            TableShare => matches!(
                held,
                RowExclusive
                    | ShareUpdateExclusive
                    | ShareRowExclusive
                    | Exclusive
                    | AccessExclusive
            ),
            ShareRowExclusive => held >= RowExclusive,
            Exclusive => held >= RowShare,
            AccessExclusive => held >= AccessShare,
        }
    }

    /// Whether two transactions can hold the same thing in these modes at the same time.
    /// Example: see [`Mode`].
    #[must_use]
    pub fn goes_with(self, other: Self) -> bool {
        !self.waits_for(other) && !other.waits_for(self)
    }

    /// Whether who holds this mode gets that one without ever waiting. Example: see [`Mode`].
    #[must_use]
    pub fn covers(self, asked: Self) -> bool {
        // Nobody else sees a row that is new.
        self == Self::Insert
            || Self::ALL.iter().all(|held| !asked.waits_for(*held) || !self.goes_with(*held))
    }

    /// In PostgreSQL's own words. Example: see [`Mode`].
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::KeyShare => "KEY SHARE",
            Self::Share | Self::TableShare => "SHARE",
            Self::NoKeyUpdate => "NO KEY UPDATE",
            Self::Update => "UPDATE",
            Self::Insert => "INSERT",
            Self::Upsert => "INSERT OR UPDATE",
            Self::Delete => "DELETE",
            Self::AccessShare => "ACCESS SHARE",
            Self::RowShare => "ROW SHARE",
            Self::RowExclusive => "ROW EXCLUSIVE",
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::Exclusive => "EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_conflict_as_postgres_documents() {
        let rows = [Mode::KeyShare, Mode::Share, Mode::NoKeyUpdate, Mode::Update];
        let expected = ["   x", "  xx", " xxx", "xxxx"];
        for (asked, row) in rows.iter().zip(expected) {
            let found: String =
                rows.iter().map(|held| if asked.waits_for(*held) { 'x' } else { ' ' }).collect();
            assert_eq!(found, row, "{}", asked.label());
        }
    }

    #[test]
    fn table_modes_conflict_as_postgres_documents() {
        let expected = [
            "       x", "      xx", "    xxxx", "   xxxxx", "  xx xxx", "  xxxxxx", " xxxxxxx",
            "xxxxxxxx",
        ];
        for (asked, row) in Mode::ALL[7..].iter().zip(expected) {
            let found: String = Mode::ALL[7..]
                .iter()
                .map(|held| if asked.waits_for(*held) { 'x' } else { ' ' })
                .collect();
            assert_eq!(found, row, "{}", asked.label());
        }
    }

    #[test]
    fn a_stronger_lock_covers_a_weaker_one() {
        assert!(Mode::Update.covers(Mode::NoKeyUpdate));
        assert!(Mode::Update.covers(Mode::Delete), "nobody else can hold the row");
        assert!(Mode::NoKeyUpdate.covers(Mode::Share));
        assert!(!Mode::KeyShare.covers(Mode::Update));
        assert!(!Mode::NoKeyUpdate.covers(Mode::Update), "another may hold KEY SHARE");
        assert!(Mode::Insert.covers(Mode::Delete));
    }
}
