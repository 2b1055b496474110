//! The SQL of a mapped catalogue, written once when the store opens.
//!
//! Decides: how the tables are read and the lists replaced. Every name comes quoted from the
//! mapping, every value is bound; lists are bound as one JSON array. Never does: execute anything.

use crate::config::{CatalogueConfig, DimensionConfig, IdType, ValueTable};
use crate::store::mapping::quote;
use crate::store::statements::{Statements, TaxonomySql, bag_tables, sql};

/// Words the statements for a mapping.
pub(super) fn statements(config: &CatalogueConfig) -> Statements {
    let bean = quote(&config.bean_table);
    let id = quote(&config.bean_id);
    let lists = quote(&config.similarity.table);
    let source = quote(&config.similarity.source);
    let similar = quote(&config.similarity.similar);
    let score = quote(&config.similarity.score);
    let key = |value: &str| match config.id_type {
        IdType::Bigint => format!("CAST({value} AS INTEGER)"),
        _ => value.to_owned(),
    };
    let among = format!("IN (SELECT {} FROM json_each(?1))", key("value"));
    let row = format!(
        "SELECT CAST({source} AS TEXT), CAST({similar} AS TEXT), CAST({score} AS REAL) \
         FROM {lists}"
    );
    let select = select_beans(config, &bean, &id);
    Statements {
        taxonomies: config.dimensions.iter().map(taxonomy).collect(),
        load: sql(select.clone()),
        beans: sql(format!("{select} WHERE bean.{id} {among}")),
        ids_first: sql(format!("SELECT CAST({id} AS TEXT) FROM {bean} ORDER BY {id} LIMIT ?1")),
        ids_after: sql(format!(
            "SELECT CAST({id} AS TEXT) FROM {bean} WHERE {id} > {} ORDER BY {id} LIMIT ?2",
            key("?1")
        )),
        count: sql(format!("SELECT count(*) FROM {bean}")),
        existing: sql(format!("SELECT CAST({id} AS TEXT) FROM {bean} WHERE {id} {among}")),
        stored: sql(format!("{row} WHERE {source} {among}")),
        lists: sql(format!("{row} ORDER BY {source}, {similar}")),
        delete: sql(format!("DELETE FROM {lists} WHERE {source} {among}")),
        // Parts per million over a million: the same division, so the same bits, as in Rust.
        insert: sql(format!(
            "INSERT INTO {lists} ({source}, {similar}, {score}) SELECT {}, {}, \
             json_extract(value, '$[2]') / 1000000.0 FROM json_each(?1)",
            key("json_extract(value, '$[0]')"),
            key("json_extract(value, '$[1]')"),
        )),
    }
}

fn taxonomy(dimension: &DimensionConfig) -> Option<TaxonomySql> {
    let values: &ValueTable = dimension.values.as_ref()?;
    let optional = |column: &Option<String>, kind: &str| match column {
        Some(column) => format!("CAST({} AS {kind})", quote(column)),
        None => "NULL".to_owned(),
    };
    let nodes = format!(
        "SELECT CAST({} AS TEXT), CAST({} AS TEXT), {}, {} FROM {}",
        quote(&values.id),
        quote(&values.name),
        optional(&values.parent, "TEXT"),
        optional(&values.rank, "INTEGER"),
        quote(&values.table),
    );
    let parents = values.parents.as_ref().map(|join| {
        let (from, to) = (quote(&join.from), quote(&join.to));
        sql(format!(
            "SELECT CAST({from} AS TEXT), CAST({to} AS TEXT) FROM {} \
             WHERE {from} IS NOT NULL AND {to} IS NOT NULL",
            quote(&join.table)
        ))
    });
    Some(TaxonomySql { nodes: sql(nodes), parents })
}

fn select_beans(config: &CatalogueConfig, bean: &str, id: &str) -> String {
    let name = if config.bean_name.is_empty() {
        "NULL".to_owned()
    } else {
        format!("CAST(bean.{} AS TEXT)", quote(&config.bean_name))
    };
    let mut columns = format!("CAST(bean.{id} AS TEXT), {name}");
    for table in config.dimensions.iter().flat_map(bag_tables) {
        let Some(join) = table else {
            columns.push_str(", NULL");
            continue;
        };
        let (from, to) = (quote(&join.from), quote(&join.to));
        columns.push_str(&format!(
            ", (SELECT json_group_array(CAST(bag.{to} AS TEXT)) FROM {} bag \
             WHERE bag.{from} = bean.{id} AND bag.{to} IS NOT NULL)",
            quote(&join.table)
        ));
    }
    format!("SELECT {columns} FROM {bean} bean")
}
