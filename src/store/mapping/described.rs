//! What a database's schema looks like, as far as a mapping cares.
//!
//! Decides: which column types count as the same. Never does: read them (see `postgres::schema`).

use std::collections::BTreeMap;

/// One schema of a database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DbSchema {
    /// Its name.
    pub name: String,
    /// Its tables and views, by name.
    pub tables: BTreeMap<String, DbTable>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DbTable {
    /// Its columns, by name.
    pub columns: BTreeMap<String, DbColumn>,
    /// The columns of each index, in the index's order.
    pub indexes: Vec<Vec<String>>,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DbColumn {
    /// Its type, as the database writes it: `character varying(36)`.
    pub type_name: String,
    /// What sort of type that is.
    pub family: TypeFamily,
    /// Precision and scale of a `numeric` that has them.
    pub precision: Option<(u32, u32)>,
    /// Whether it refuses NULL.
    pub not_null: bool,
    /// Whether an INSERT may leave it out although it refuses NULL.
    pub has_default: bool,
}

/// Types that can be compared and cast with one another without a thought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeFamily {
    /// `uuid`.
    Uuid,
    /// `smallint`, `integer`, `bigint`.
    Integer,
    /// `text`, `varchar`.
    Text,
    /// `double precision`.
    Double,
    /// `numeric`.
    Numeric,
    /// Any other type.
    Other,
}

impl TypeFamily {
    /// What to call it in a message.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::Integer => "bigint (or a smaller integer)",
            Self::Text => "text (or varchar)",
            Self::Double => "double precision",
            Self::Numeric => "numeric",
            Self::Other => "another type",
        }
    }

    /// What to write for it in `catalogue.id_type`.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        match self {
            Self::Uuid => "\"uuid\"",
            Self::Integer => "\"bigint\"",
            Self::Text => "\"text\"",
            Self::Double | Self::Numeric | Self::Other => {
                "\"uuid\", \"bigint\" or \"text\" and give the column that type"
            }
        }
    }
}

impl DbColumn {
    /// A column of a type, from the type's name as `format_type` writes it.
    #[must_use]
    pub fn new(type_name: &str, not_null: bool, has_default: bool) -> Self {
        let (base, precision) = split_precision(type_name);
        let family = match base {
            "uuid" => TypeFamily::Uuid,
            "smallint" | "integer" | "bigint" => TypeFamily::Integer,
            "text" | "character varying" => TypeFamily::Text,
            "double precision" => TypeFamily::Double,
            "numeric" => TypeFamily::Numeric,
            _ => TypeFamily::Other,
        };
        let precision = if family == TypeFamily::Numeric { precision } else { None };
        Self { type_name: type_name.to_owned(), family, precision, not_null, has_default }
    }
}

/// Splits `numeric(7,6)` into its name and its numbers; a missing scale is zero.
fn split_precision(type_name: &str) -> (&str, Option<(u32, u32)>) {
    let Some((base, rest)) = type_name.split_once('(') else { return (type_name, None) };
    let mut numbers = rest.trim_end_matches(')').split(',').map(|n| n.trim().parse::<u32>().ok());
    let precision = numbers.next().flatten();
    let scale = numbers.next().flatten().unwrap_or(0);
    (base, precision.map(|precision| (precision, scale)))
}
