//! The statements of a mapped catalogue: which there are. Each database words them in its own
//! `statements`, once, when the store opens.
//!
//! Decides: what a store asks of a catalogue. Never does: word a statement, or execute one.

use crate::config::{DimensionConfig, JoinTable};
use sqlx::AssertSqlSafe;
use std::sync::Arc;

/// A statement whose names were quoted from the mapping and whose values are bound.
#[derive(Debug, Clone)]
pub(super) struct Sql(Arc<str>);

impl Sql {
    /// The statement, ready to be handed to sqlx.
    pub(super) fn text(&self) -> AssertSqlSafe<Arc<str>> {
        AssertSqlSafe(Arc::clone(&self.0))
    }
}

/// A statement; the caller vouches for its names.
pub(super) fn sql(text: String) -> Sql {
    Sql(text.into())
}

/// How to read one taxonomy.
#[derive(Debug, Clone)]
pub(super) struct TaxonomySql {
    /// key, name, parent, rank.
    pub(super) nodes: Sql,
    /// child, parent; where parents stand in a table of their own.
    pub(super) parents: Option<Sql>,
}

/// Every statement that depends on the mapping. Lists of ids are one parameter: an array in
/// PostgreSQL, a JSON array in SQLite; so are the bags that come back.
#[derive(Debug, Clone)]
pub(super) struct Statements {
    /// One entry a dimension; `None` for a dimension of free text alone.
    pub(super) taxonomies: Vec<Option<TaxonomySql>>,
    /// id, name, then for each dimension its nodes and its texts: every bean.
    pub(super) load: Sql,
    /// The same columns, for the ids in the parameter.
    pub(super) beans: Sql,
    /// The first ids, as many as the parameter says.
    pub(super) ids_first: Sql,
    /// The ids after the first parameter, as many as the second says.
    pub(super) ids_after: Sql,
    /// How many beans.
    pub(super) count: Sql,
    /// Those of the ids in the parameter that exist.
    pub(super) existing: Sql,
    /// source, similar, score of the sources in the parameter.
    pub(super) stored: Sql,
    /// source, similar, score of every source, in order of sources.
    pub(super) lists: Sql,
    /// Deletes the rows of the sources in the parameter.
    pub(super) delete: Sql,
    /// Inserts rows: sources, similar beans, scores in PostgreSQL; in SQLite one array of
    /// `[source, similar, ppm]`, in that order.
    pub(super) insert: Sql,
}

/// The tables a dimension's bags come from: nodes, then texts; `None` gives an empty bag.
pub(super) fn bag_tables(dimension: &DimensionConfig) -> [Option<JoinTable>; 2] {
    let texts = dimension.text.as_ref().map(|text| JoinTable {
        table: text.table.clone(),
        from: text.bean.clone(),
        to: text.text.clone(),
    });
    [dimension.join.clone(), texts]
}
