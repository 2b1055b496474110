//! The SQL of a mapped catalogue, written once when the store opens.
//!
//! Decides: how the tables are read and the lists replaced. Every name comes quoted from the
//! mapping, every value is bound; ids travel as text and are cast to the column's type, so that
//! one code path serves uuid, bigint and text. Never does: execute anything.

use crate::config::{CatalogueConfig, DimensionConfig, IdType, ValueTable};
use crate::store::mapping::{quote, quote_qualified};
use crate::store::statements::{Statements, TaxonomySql, bag_tables, sql};

/// Words the statements for a mapping.
pub(super) fn statements(config: &CatalogueConfig) -> Statements {
    let cast = id_cast(config.id_type);
    let bean = quote_qualified(&config.schema, &config.bean_table);
    let id = quote(&config.bean_id);
    let lists = quote_qualified(&config.schema, &config.similarity.table);
    let source = quote(&config.similarity.source);
    let similar = quote(&config.similarity.similar);
    let score = quote(&config.similarity.score);
    // Qualified, because ORDER BY would take a bare name for the text beside SELECT.
    let row = format!(
        "SELECT row.{source}::text, row.{similar}::text, row.{score}::float8 FROM {lists} row"
    );
    let any = format!("= ANY ($1::text[]::{cast}[])");
    Statements {
        taxonomies: config.dimensions.iter().map(|d| taxonomy(config, d)).collect(),
        load: sql(load(config, &bean, &id)),
        beans: sql(beans(config, &bean, &id, &any)),
        ids_first: sql(format!(
            "SELECT bean.{id}::text FROM {bean} bean ORDER BY bean.{id} LIMIT $1"
        )),
        ids_after: sql(format!(
            "SELECT bean.{id}::text FROM {bean} bean WHERE bean.{id} > $1::text::{cast} \
             ORDER BY bean.{id} LIMIT $2"
        )),
        count: sql(format!("SELECT count(*) FROM {bean}")),
        existing: sql(format!("SELECT {id}::text FROM {bean} WHERE {id} {any}")),
        stored: sql(format!("{row} WHERE row.{source} {any}")),
        lists: sql(format!("{row} ORDER BY row.{source}, row.{similar}")),
        delete: sql(format!("DELETE FROM {lists} WHERE {source} {any}")),
        insert: sql(format!(
            "INSERT INTO {lists} ({source}, {similar}, {score}) \
             SELECT list.source::{cast}, list.other::{cast}, list.score \
             FROM UNNEST($1::text[], $2::text[], $3::float8[]) AS list (source, other, score) \
             ORDER BY list.source::{cast}, list.other::{cast}"
        )),
    }
}

/// The column type that ids are cast to.
pub(super) fn id_cast(id_type: IdType) -> &'static str {
    match id_type {
        IdType::Auto | IdType::Uuid => "uuid",
        IdType::Bigint => "bigint",
        IdType::Text => "text",
    }
}

fn taxonomy(config: &CatalogueConfig, dimension: &DimensionConfig) -> Option<TaxonomySql> {
    let values: &ValueTable = dimension.values.as_ref()?;
    let optional = |column: &Option<String>, kind: &str| match column {
        Some(column) => format!("{}::{kind}", quote(column)),
        None => format!("NULL::{kind}"),
    };
    let nodes = format!(
        "SELECT {}::text, {}::text, {}, {} FROM {}",
        quote(&values.id),
        quote(&values.name),
        optional(&values.parent, "text"),
        optional(&values.rank, "bigint"),
        quote_qualified(&config.schema, &values.table),
    );
    let parents = values.parents.as_ref().map(|join| {
        let (from, to) = (quote(&join.from), quote(&join.to));
        let table = quote_qualified(&config.schema, &join.table);
        sql(format!(
            "SELECT {from}::text, {to}::text FROM {table} \
             WHERE {from} IS NOT NULL AND {to} IS NOT NULL"
        ))
    });
    Some(TaxonomySql { nodes: sql(nodes), parents })
}

fn name_column(config: &CatalogueConfig) -> String {
    if config.bean_name.is_empty() {
        "NULL::text".into()
    } else {
        format!("bean.{}::text", quote(&config.bean_name))
    }
}

/// Every bean: each join table is aggregated once, as a whole.
fn load(config: &CatalogueConfig, bean: &str, id: &str) -> String {
    let mut columns = format!("bean.{id}::text, {}", name_column(config));
    let mut joins = String::new();
    let tables = config.dimensions.iter().flat_map(bag_tables);
    for (number, table) in tables.enumerate() {
        let Some(join) = table else {
            columns.push_str(", NULL::text[]");
            continue;
        };
        let (from, to) = (quote(&join.from), quote(&join.to));
        let table = quote_qualified(&config.schema, &join.table);
        columns.push_str(&format!(", bag{number}.bag"));
        joins.push_str(&format!(
            " LEFT JOIN (SELECT {from} AS bean, array_agg({to}::text) AS bag FROM {table} \
             WHERE {to} IS NOT NULL GROUP BY {from}) bag{number} ON bag{number}.bean = bean.{id}"
        ));
    }
    format!("SELECT {columns} FROM {bean} bean{joins}")
}

/// Some beans: each join table is looked up by the bean.
fn beans(config: &CatalogueConfig, bean: &str, id: &str, any: &str) -> String {
    let mut columns = format!("bean.{id}::text, {}", name_column(config));
    for table in config.dimensions.iter().flat_map(bag_tables) {
        let Some(join) = table else {
            columns.push_str(", NULL::text[]");
            continue;
        };
        let (from, to) = (quote(&join.from), quote(&join.to));
        let table = quote_qualified(&config.schema, &join.table);
        columns.push_str(&format!(
            ", ARRAY(SELECT bag.{to}::text FROM {table} bag \
             WHERE bag.{from} = bean.{id} AND bag.{to} IS NOT NULL)"
        ));
    }
    format!("SELECT {columns} FROM {bean} bean WHERE bean.{id} {any}")
}
