//! Putting beans into a catalogue of our own schema: the port, and what crosses it.
//!
//! Decides: the shape of a record, and that an unchanged bean is left alone.
//! Never does: write a catalogue whose tables are mapped (its application does).

use super::StoreError;
use crate::config::{CatalogueConfig, IdType};
use crate::domain::bean::BeanId;
use crate::domain::seed::SeedTaxonomy;
use async_trait::async_trait;
use serde::{Deserialize, Deserializer};

mod difference;
mod kind;
mod reader;
mod taxa;

pub use reader::{LineError, csv_records, json_lines};

pub(super) use difference::{Change, StoredBean, difference, latest};
pub(super) use kind::Kind;
pub(super) use taxa::{NewNode, Resolved, Taxa};

/// One bean, as a line of a file describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRecord {
    /// Its id, text or integer.
    #[serde(deserialize_with = "id")]
    pub id: BeanId,
    /// Its name; the id where none is given.
    #[serde(default)]
    pub name: Option<String>,
    /// Who roasts it.
    #[serde(default)]
    pub roaster: Option<String>,
    /// Regions: `Country` or `Country/Name`.
    #[serde(default, deserialize_with = "list")]
    pub regions: Vec<String>,
    /// Processing methods.
    #[serde(default, deserialize_with = "list")]
    pub processing: Vec<String>,
    /// Roast levels.
    #[serde(default, deserialize_with = "list")]
    pub roast: Vec<String>,
    /// Varieties.
    #[serde(default, deserialize_with = "list")]
    pub varieties: Vec<String>,
    /// Flavour notes: names on the flavour wheel, or free text.
    #[serde(default, deserialize_with = "list")]
    pub notes: Vec<String>,
}

impl ImportRecord {
    /// The name, or the id where none is given.
    #[must_use]
    pub fn display_name(&self) -> &str {
        let name = self.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
        name.unwrap_or(self.id.as_str())
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrNumber {
    Text(String),
    Number(i64),
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BeanId, D::Error> {
    let text = match TextOrNumber::deserialize(deserializer) {
        Ok(TextOrNumber::Text(text)) => text,
        Ok(TextOrNumber::Number(number)) => number.to_string(),
        Err(_) => return Err(serde::de::Error::custom("the id must be a text or an integer")),
    };
    BeanId::parse(text.trim()).map_err(serde::de::Error::custom)
}

fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default())
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportReport {
    /// Beans that were new.
    pub created: u64,
    /// Beans that differed and were rewritten.
    pub updated: u64,
    /// Beans that were equal already and were left alone.
    pub unchanged: u64,
    /// Taxonomy values that were unknown and have been added: (dimension, value).
    pub added: Vec<(String, String)>,
}

impl ImportReport {
    /// Adds another batch's report.
    pub fn merge(&mut self, other: Self) {
        self.created += other.created;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.added.extend(other.added);
    }
}

/// Writes a catalogue of our own schema. Not used by the pipeline: it needs other rights.
#[async_trait]
pub trait CatalogueWriter: Send + Sync {
    /// Creates and updates beans, in one transaction; an equal bean is not touched, so that no
    /// change of it is logged. Of two records with one id the later counts.
    ///
    /// # Errors
    /// [`StoreError::Schema`] where the catalogue's tables are mapped; else when it cannot be
    /// written.
    async fn import(&self, records: &[ImportRecord]) -> Result<ImportReport, StoreError>;

    /// Adds the values of a taxonomy that are not there yet; returns how many.
    ///
    /// # Errors
    /// As [`CatalogueWriter::import`].
    async fn seed(&self, taxonomy: &SeedTaxonomy) -> Result<u64, StoreError>;

    /// Deletes beans; returns how many there were.
    ///
    /// # Errors
    /// As [`CatalogueWriter::import`].
    async fn delete(&self, ids: &[BeanId]) -> Result<u64, StoreError>;
}

/// Refuses to write a catalogue whose tables are mapped.
pub(super) fn refuse_mapped(is_ours: bool) -> Result<(), StoreError> {
    if is_ours {
        return Ok(());
    }
    Err(StoreError::Schema(
        "import writes Cupping's own catalogue schema only, and [catalogue] maps other tables; \
         change the beans through the application they belong to: Cupping notices"
            .into(),
    ))
}

/// Whether the mapping names the tables and columns of our own catalogue, with ids of one of these
/// types; weights do not matter.
pub(super) fn is_own_schema(catalogue: &CatalogueConfig, id_types: &[IdType]) -> bool {
    let names = |config: &CatalogueConfig| {
        let dimensions: Vec<String> = config
            .dimensions
            .iter()
            .map(|d| format!("{:?} {:?} {:?}", d.values, d.join, d.text))
            .collect();
        let (table, id, name) = (&config.bean_table, &config.bean_id, &config.bean_name);
        format!("{table} {id} {name} {:?} {dimensions:?}", config.similarity)
    };
    id_types.contains(&catalogue.id_type) && names(catalogue) == names(&CatalogueConfig::default())
}
