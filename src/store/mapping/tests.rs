//! Tests of the mapping check, on a schema made by hand.

use super::*;
use crate::config::{JoinTable, Thousandths};

fn table(columns: &[(&str, &str)], indexes: &[&[&str]]) -> DbTable {
    DbTable {
        columns: columns
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), DbColumn::new(kind, true, false)))
            .collect(),
        indexes: indexes
            .iter()
            .map(|columns| columns.iter().map(|c| (*c).to_owned()).collect())
            .collect(),
    }
}

fn wine() -> DbSchema {
    let tables = [
        ("wine", table(&[("wine_no", "bigint"), ("label", "character varying(80)")], &[])),
        ("grape", table(&[("id", "integer"), ("name", "text"), ("rank", "integer")], &[])),
        ("wine_grape", table(&[("wine", "bigint"), ("grape", "integer")], &[])),
        (
            "wine_alike",
            table(
                &[("wine", "bigint"), ("other", "bigint"), ("score", "numeric(7,6)")],
                &[&["wine", "other"]],
            ),
        ),
    ];
    DbSchema {
        name: "cellar".into(),
        tables: tables.into_iter().map(|(name, table)| (name.to_owned(), table)).collect(),
    }
}

fn wine_config() -> CatalogueConfig {
    let mut config = CatalogueConfig {
        schema: "cellar".into(),
        bean_table: "wine".into(),
        bean_id: "wine_no".into(),
        bean_name: "label".into(),
        id_type: IdType::Bigint,
        ..CatalogueConfig::default()
    };
    config.similarity.table = "wine_alike".into();
    config.similarity.source = "wine".into();
    config.similarity.similar = "other".into();
    config.dimensions = vec![DimensionConfig {
        name: "grapes".into(),
        weight: Thousandths(1000),
        prior: Thousandths(100),
        expansion: ExpansionConfig::Flat,
        values: Some(ValueTable {
            table: "grape".into(),
            id: "id".into(),
            name: "name".into(),
            parent: None,
            rank: None,
            parents: None,
        }),
        join: Some(JoinTable {
            table: "wine_grape".into(),
            from: "wine".into(),
            to: "grape".into(),
        }),
        text: None,
    }];
    config
}

#[test]
fn a_fitting_mapping_has_no_findings() {
    assert_eq!(check(&wine_config(), &wine()), vec![]);
}

#[test]
fn every_problem_is_reported_at_once_with_the_nearest_name() {
    let mut config = wine_config();
    config.bean_name = "lable".into();
    config.id_type = IdType::Uuid;
    config.similarity.score = "scores".into();
    let join = config.dimensions[0].join.as_mut().expect("set above");
    join.table = "wine_grapes".into();
    let found = check(&config, &wine());
    let said = |subject: &str, text: &str| {
        assert!(
            found.iter().any(|f| f.subject == subject
                && f.severity == Severity::Problem
                && f.message.contains(text)),
            "{subject}: {text}: {found:#?}"
        );
    };
    said("catalogue.bean_name", "nearest is label");
    said("catalogue.id_type", "\"bigint\"");
    said("catalogue.similarity.score", "nearest is score");
    said("catalogue.dimensions.grapes.join.table", "nearest is wine_grape");
    said("catalogue.similarity.source", "uuid is needed");
    let tables = found.iter().filter(|f| f.message.contains("no table")).count();
    assert_eq!(tables, 1, "a missing table is reported once");
}

#[test]
fn narrow_score_columns_are_refused_and_wide_ones_accepted() {
    let cases = [
        ("double precision", true),
        ("numeric", true),
        ("numeric(7,6)", true),
        ("numeric(12,8)", true),
        ("numeric(6,6)", false),
        ("numeric(5,4)", false),
        ("numeric(9,5)", false),
        ("real", false),
        ("integer", false),
    ];
    for (kind, accepted) in cases {
        let mut schema = wine();
        let lists = schema.tables.get_mut("wine_alike").expect("made above");
        lists.columns.insert("score".into(), DbColumn::new(kind, true, false));
        assert_eq!(check(&wine_config(), &schema).is_empty(), accepted, "{kind}");
    }
}

#[test]
fn a_required_column_the_lists_cannot_fill_is_a_problem() {
    let mut schema = wine();
    let lists = schema.tables.get_mut("wine_alike").expect("made above");
    lists.columns.insert("made_by".into(), DbColumn::new("text", true, false));
    lists.indexes.clear();
    let found = check(&wine_config(), &schema);
    assert!(found.iter().any(|f| f.message.contains("made_by")), "{found:#?}");
    assert!(found.iter().any(|f| f.severity == Severity::Warning), "{found:#?}");
}

#[test]
fn expansions_need_their_columns() {
    let mut config = wine_config();
    config.dimensions[0].expansion =
        ExpansionConfig::Ordinal { own: Thousandths(1000), neighbour: Thousandths(500) };
    let found = check(&config, &wine());
    assert_eq!(found[0].subject, "catalogue.dimensions.grapes.values.rank");
    let values = config.dimensions[0].values.as_mut().expect("set above");
    values.rank = Some("rank".into());
    assert_eq!(check(&config, &wine()), vec![]);
}

#[test]
fn quotes_cannot_break_out_of_an_identifier() {
    assert_eq!(quote("a\"; DROP TABLE b; --"), "\"a\"\"; DROP TABLE b; --\"");
    assert_eq!(quote_qualified("s", "T.x"), "\"s\".\"T.x\"");
}
