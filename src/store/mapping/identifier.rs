//! Names from a configuration, made safe to stand in SQL.
//!
//! Decides: how an identifier is quoted. Never does: quote a value; values are always bound.

/// Quotes one identifier. A name is taken as it is: case counts, a point is part of it.
#[must_use]
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('\0', "").replace('"', "\"\""))
}

/// Quotes a table in its schema.
#[must_use]
pub fn quote_qualified(schema: &str, table: &str) -> String {
    format!("{}.{}", quote(schema), quote(table))
}
