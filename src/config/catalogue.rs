//! `[catalogue]`: how the tables of a catalogue map to dimensions.
//!
//! Decides: the shape and defaults of the mapping (the defaults fit our own migrations).
//! Never does: look at a database (see `store::mapping`).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// `[catalogue]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CatalogueConfig {
    /// How changes are noticed.
    pub refresh: Refresh,
    /// How often the catalogue is read anew with `refresh = "reload"`.
    #[serde(with = "humantime_serde")]
    pub reload_interval: Duration,
    /// Schema of the tables below on PostgreSQL.
    pub schema: String,
    /// The table of beans.
    pub bean_table: String,
    /// Its id column.
    pub bean_id: String,
    /// Its name column; empty for none.
    pub bean_name: String,
    /// The type of the id.
    pub id_type: IdType,
    /// The table of lists.
    pub similarity: SimilarityTable,
    /// What is compared.
    pub dimensions: Vec<DimensionConfig>,
}

/// `catalogue.refresh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refresh {
    /// By the change log that our triggers write.
    #[default]
    Log,
    /// By reading everything anew on an interval, where triggers are not allowed.
    Reload,
}

/// `catalogue.id_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdType {
    /// `uuid` on PostgreSQL, text on SQLite; our own schema.
    #[default]
    Auto,
    /// `uuid`.
    Uuid,
    /// `bigint`.
    Bigint,
    /// `text`, `varchar`.
    Text,
}

/// `[catalogue.similarity]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimilarityTable {
    /// The table.
    pub table: String,
    /// The bean a row belongs to.
    pub source: String,
    /// The bean that is similar to it.
    pub similar: String,
    /// The score, 0 to 1: `double precision` or `numeric(7,6)` and wider.
    pub score: String,
}

impl Default for SimilarityTable {
    fn default() -> Self {
        Self {
            table: "coffee_bean_similarity".into(),
            source: "source_bean_id".into(),
            similar: "similar_bean_id".into(),
            score: "score".into(),
        }
    }
}

/// One `[[catalogue.dimensions]]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DimensionConfig {
    /// Its name, unique.
    pub name: String,
    /// Its weight in the score.
    pub weight: Thousandths,
    /// Assumed similarity where exactly one bean has the dimension.
    pub prior: Thousandths,
    /// How values become tokens.
    pub expansion: ExpansionConfig,
    /// The table of its values (a taxonomy); unset for a dimension of free text alone.
    #[serde(default)]
    pub values: Option<ValueTable>,
    /// The table that joins beans and values.
    #[serde(default)]
    pub join: Option<JoinTable>,
    /// A table of free text besides.
    #[serde(default)]
    pub text: Option<TextTable>,
}

/// `expansion = { kind = …, … }`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ExpansionConfig {
    /// The value and its ancestors, weights by depth.
    Tree {
        /// Weights, root first.
        levels: Vec<Thousandths>,
    },
    /// The value and its neighbours by rank.
    Ordinal {
        /// Weight of the value.
        own: Thousandths,
        /// Weight of each neighbour.
        neighbour: Thousandths,
    },
    /// The value, its parents, grandparents …
    Pedigree {
        /// Weights, the value first.
        generations: Vec<Thousandths>,
    },
    /// Tree nodes, free text and words.
    Notes {
        /// Weights, root first.
        levels: Vec<Thousandths>,
        /// Weight of a free text as a whole.
        text: Thousandths,
        /// Weight of each word.
        word: Thousandths,
    },
    /// The value alone.
    Flat,
}

/// `values = { table = …, … }`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueTable {
    /// The table.
    pub table: String,
    /// Its key column.
    #[serde(default = "id_column")]
    pub id: String,
    /// Its name column.
    #[serde(default = "name_column")]
    pub name: String,
    /// Its parent column (a tree).
    #[serde(default)]
    pub parent: Option<String>,
    /// Its rank column (a scale).
    #[serde(default)]
    pub rank: Option<String>,
    /// A table of parents besides (several a value): joined child to parent.
    #[serde(default)]
    pub parents: Option<JoinTable>,
}

/// A join table: `{ table = …, from = …, to = … }`; `from` is the bean (or child) column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinTable {
    /// The table.
    pub table: String,
    /// The column of the bean, or of the child.
    pub from: String,
    /// The column of the value, or of the parent.
    pub to: String,
}

/// `text = { table = …, bean = …, text = … }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextTable {
    /// The table.
    pub table: String,
    /// The column of the bean.
    pub bean: String,
    /// The column of the text.
    pub text: String,
}

/// A share written as a decimal with at most three places, held in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Thousandths(pub u32);

impl<'de> Deserialize<'de> for Thousandths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        let thousandths = (number * 1000.0).round();
        let exact = (number * 1000.0 - thousandths).abs() < 1e-6;
        if !exact || !(0.0..=1_000_000.0).contains(&thousandths) {
            return Err(serde::de::Error::custom(format!(
                "{number} is not allowed: a number from 0 to 1000 with at most three decimal places"
            )));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked above"
        )]
        Ok(Self(thousandths as u32))
    }
}

impl Serialize for Thousandths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 1000.0)
    }
}

fn id_column() -> String {
    "id".into()
}

fn name_column() -> String {
    "name".into()
}

impl Default for CatalogueConfig {
    fn default() -> Self {
        Self {
            refresh: Refresh::Log,
            reload_interval: Duration::from_secs(60),
            schema: "public".into(),
            bean_table: "coffee_bean".into(),
            bean_id: "id".into(),
            bean_name: "name".into(),
            id_type: IdType::Auto,
            similarity: SimilarityTable::default(),
            dimensions: default_dimensions(),
        }
    }
}

fn join(table: &str, from: &str, to: &str) -> JoinTable {
    JoinTable { table: table.into(), from: from.into(), to: to.into() }
}

fn bean_join(table: &str, to: &str) -> Option<JoinTable> {
    Some(join(table, "coffee_bean_id", to))
}

fn values(table: &str) -> ValueTable {
    ValueTable {
        table: table.into(),
        id: id_column(),
        name: name_column(),
        parent: None,
        rank: None,
        parents: None,
    }
}

fn milli(thousandths: &[u32]) -> Vec<Thousandths> {
    thousandths.iter().copied().map(Thousandths).collect()
}

/// The five dimensions of our own schema; the weights and priors were fitted to graded coffees.
fn default_dimensions() -> Vec<DimensionConfig> {
    let parent = || Some("parent_id".to_owned());
    vec![
        DimensionConfig {
            name: "regions".into(),
            weight: Thousandths(216),
            prior: Thousandths(70),
            expansion: ExpansionConfig::Tree { levels: milli(&[250, 1000, 1000]) },
            values: Some(ValueTable { parent: parent(), ..values("region") }),
            join: bean_join("coffee_bean_region", "region_id"),
            text: None,
        },
        DimensionConfig {
            name: "processing".into(),
            weight: Thousandths(168),
            prior: Thousandths(370),
            expansion: ExpansionConfig::Tree { levels: milli(&[1000, 500]) },
            values: Some(ValueTable { parent: parent(), ..values("processing_method") }),
            join: bean_join("coffee_bean_processing_method", "processing_method_id"),
            text: None,
        },
        DimensionConfig {
            name: "roast".into(),
            weight: Thousandths(96),
            prior: Thousandths(690),
            expansion: ExpansionConfig::Ordinal {
                own: Thousandths(1000),
                neighbour: Thousandths(500),
            },
            values: Some(ValueTable { rank: Some("position".into()), ..values("roast_level") }),
            join: bean_join("coffee_bean_roast_level", "roast_level_id"),
            text: None,
        },
        DimensionConfig {
            name: "varieties".into(),
            weight: Thousandths(120),
            prior: Thousandths(210),
            expansion: ExpansionConfig::Pedigree { generations: milli(&[1000, 1000, 500]) },
            values: Some(ValueTable {
                parents: Some(join("variety_parent", "variety_id", "parent_id")),
                ..values("variety")
            }),
            join: bean_join("coffee_bean_variety", "variety_id"),
            text: None,
        },
        DimensionConfig {
            name: "notes".into(),
            weight: Thousandths(400),
            prior: Thousandths(140),
            expansion: ExpansionConfig::Notes {
                levels: milli(&[250, 500, 500]),
                text: Thousandths(500),
                word: Thousandths(1000),
            },
            values: Some(ValueTable { parent: parent(), ..values("flavor_wheel_node") }),
            join: bean_join("coffee_bean_flavor_wheel_node", "flavor_wheel_node_id"),
            text: Some(TextTable {
                table: "non_standard_flavor_note".into(),
                bean: "coffee_bean_id".into(),
                text: "note".into(),
            }),
        },
    ]
}
