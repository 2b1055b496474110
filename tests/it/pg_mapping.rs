//! Catalogues with names and id types of their own.

use crate::pg_support::{Shop, connect, id};
use crate::support::databases::PostgresDatabase;
use cupping::config::{
    CatalogueConfig, DimensionConfig, ExpansionConfig, IdType, JoinTable, TextTable, Thousandths,
    ValueTable,
};
use cupping::domain::bean::Value;
use cupping::domain::ranking::Similar;
use cupping::store::{
    Catalogue, Loading, Severity, SimilarityStore, StoreError, StoreSettings, WriteBatch,
    WriteItem, WriteOutcome,
};

const CELLAR: &str = r#"
    CREATE SCHEMA "Cellar";
    CREATE TABLE "Cellar"."Wine" ("Wine No" bigint PRIMARY KEY, label varchar(80));
    CREATE TABLE "Cellar".grape (id integer PRIMARY KEY, name text, origin integer);
    CREATE TABLE "Cellar".wine_grape (wine bigint, grape integer);
    CREATE TABLE "Cellar".tasting (wine bigint, words text);
"#;

fn cellar() -> CatalogueConfig {
    let mut config = CatalogueConfig {
        schema: "Cellar".into(),
        bean_table: "Wine".into(),
        bean_id: "Wine No".into(),
        bean_name: "label".into(),
        id_type: IdType::Bigint,
        ..CatalogueConfig::default()
    };
    config.similarity.table = "alike".into();
    config.similarity.source = "wine".into();
    config.similarity.similar = "other wine".into();
    config.dimensions = vec![DimensionConfig {
        name: "grapes".into(),
        weight: Thousandths(1000),
        prior: Thousandths(100),
        expansion: ExpansionConfig::Tree { levels: vec![Thousandths(1000)] },
        values: Some(ValueTable {
            table: "grape".into(),
            id: "id".into(),
            name: "name".into(),
            parent: Some("origin".into()),
            rank: None,
            parents: None,
        }),
        join: Some(JoinTable {
            table: "wine_grape".into(),
            from: "wine".into(),
            to: "grape".into(),
        }),
        text: Some(TextTable {
            table: "tasting".into(),
            bean: "wine".into(),
            text: "words".into(),
        }),
    }];
    config
}

fn settings(catalogue: CatalogueConfig) -> StoreSettings {
    StoreSettings { catalogue, ..StoreSettings::default() }
}

#[tokio::test]
async fn a_mapped_catalogue_with_bigint_ids_is_loaded_watched_and_written() {
    let shop = Shop::with(settings(cellar()), CELLAR).await;
    assert_eq!(shop.number("SELECT count(to_regclass('public.coffee_bean'))").await, 0);
    shop.sql(
        r#"INSERT INTO "Cellar"."Wine" VALUES (7, 'Seven'), (10, 'Ten');
           INSERT INTO "Cellar".grape VALUES (1, 'Pinot', NULL), (2, 'Pinot Noir', 1);
           INSERT INTO "Cellar".wine_grape VALUES (7, 2);
           INSERT INTO "Cellar".tasting VALUES (7, 'cherry')"#,
    )
    .await;
    let mut beans = Vec::new();
    let at = shop
        .store
        .load(&mut |item| {
            if let Loading::Bean(bean) = item {
                beans.push(bean);
            }
        })
        .await
        .expect("loaded");
    beans.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(beans[0].id, id("10"), "ids are ordered as text");
    let expected = [Value::Node("2".into()), Value::Text("cherry".into())];
    assert_eq!(beans[1].features.bags[0], expected);
    assert_eq!(shop.store.ids(None, 5).await.expect("ids"), [id("7"), id("10")]);
    assert_eq!(shop.store.ids(Some(&id("7")), 5).await.expect("ids"), [id("10")]);
    let write = || WriteBatch {
        items: vec![WriteItem {
            source: id("7"),
            list: vec![Similar { bean: id("10"), ppm: 123_457 }],
            tickets: vec![],
        }],
        computed_at: at.clone(),
    };
    let report = shop.store.write(write()).await.expect("written");
    assert_eq!(report.outcomes, [WriteOutcome::Written { deleted: 0, inserted: 1 }]);
    shop.sql(r#"UPDATE "Cellar".tasting SET words = 'plum'"#).await;
    let changes = shop.store.changes(&at).await.expect("read");
    assert_eq!(changes.beans.len(), 1);
    assert_eq!(changes.beans[0].id, id("7"));
    let report = shop.store.write(write()).await.expect("compared");
    assert_eq!(report.outcomes, [WriteOutcome::Outdated]);
    for impossible in ["x", "+7", "007", "9223372036854775808", "7' OR true"] {
        assert!(shop.store.accepts(&id(impossible)).is_err(), "{impossible}");
        let error = shop.store.beans(&[id(impossible)]).await.expect_err(impossible);
        assert!(matches!(error, StoreError::ImpossibleId { .. }), "{error}");
    }
    let findings = shop.store.check().await.expect("checked");
    assert!(findings.iter().all(|f| f.severity != Severity::Problem), "{findings:#?}");
}

#[tokio::test]
async fn scores_survive_a_numeric_column_bit_for_bit() {
    let sql = "CREATE SCHEMA \"Cellar\"; \
        CREATE TABLE \"Cellar\".\"Wine\" (\"Wine No\" bigint PRIMARY KEY, label varchar(80)); \
        CREATE TABLE \"Cellar\".grape (id integer PRIMARY KEY, name text, origin integer); \
        CREATE TABLE \"Cellar\".wine_grape (wine bigint, grape integer); \
        CREATE TABLE \"Cellar\".tasting (wine bigint, words text); \
        CREATE TABLE \"Cellar\".alike (wine integer, \"other wine\" bigint, score numeric(7,6), \
                                       PRIMARY KEY (wine, \"other wine\"))";
    let shop = Shop::with(settings(cellar()), sql).await;
    let at = shop.store.load(&mut |_| {}).await.expect("loaded");
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut list: Vec<Similar> = (1..500)
        .map(|n| Similar { bean: id(&n.to_string()), ppm: random.u32(0..=1_000_000) })
        .collect();
    list.sort_unstable();
    let write = || WriteBatch {
        items: vec![WriteItem { source: id("7000"), list: list.clone(), tickets: vec![] }],
        computed_at: at.clone(),
    };
    shop.store.write(write()).await.expect("written");
    assert_eq!(shop.store.list(&id("7000")).await.expect("read"), list);
    let again = shop.store.write(write()).await.expect("compared");
    assert_eq!(again.outcomes, [WriteOutcome::Unchanged]);
}

#[tokio::test]
async fn a_mapping_that_does_not_fit_is_refused_with_every_problem_at_once() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(1).await;
    sqlx::raw_sql(CELLAR).execute(&pool).await.expect("sound");
    let mut config = cellar();
    config.id_type = IdType::Uuid;
    config.bean_name = "labels".into();
    config.dimensions[0].join.as_mut().expect("set").table = "wine_grapes".into();
    let store = connect(&database, settings(config)).await;
    let error = store.migrate().await.expect_err("it does not fit").to_string();
    for wanted in ["catalogue.id_type", "nearest is label", "nearest is wine_grape"] {
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
    let findings = store.check().await.expect("checked");
    let problems = findings.iter().filter(|f| f.severity == Severity::Problem).count();
    assert!(problems >= 4, "{findings:#?}");
}

#[tokio::test]
async fn a_database_that_was_not_migrated_is_refused_with_what_to_do() {
    let database = PostgresDatabase::create().await;
    let store = connect(&database, StoreSettings::default()).await;
    let error = store.open_state("f").await.expect_err("nothing is there").to_string();
    assert!(error.contains("cupping migrate"), "{error}");
    store.migrate().await.expect("migrated");
    store.open_state("f").await.expect("all is there");
    let pool = database.pool(1).await;
    sqlx::raw_sql("DROP TRIGGER cupping_log_update ON coffee_bean")
        .execute(&pool)
        .await
        .expect("dropped");
    let error = store.open_state("f").await.expect_err("a trigger is missing").to_string();
    assert!(error.contains("coffee_bean would go unnoticed"), "{error}");
}

#[tokio::test]
async fn migrating_again_does_nothing_and_a_changed_mapping_moves_the_triggers() {
    let shop = Shop::open().await;
    assert_eq!(shop.store.migrate().await.expect("again"), Vec::<String>::new());
    let mut catalogue = CatalogueConfig::default();
    catalogue.dimensions.retain(|d| d.name != "varieties");
    let store = connect(&shop.database, settings(catalogue)).await;
    let findings = store.check().await.expect("checked");
    assert!(findings.iter().any(|f| f.severity == Severity::Warning), "{findings:#?}");
    let done = store.migrate().await.expect("migrated");
    assert!(done.iter().all(|line| line.starts_with("dropped the trigger")), "{done:?}");
    assert_eq!(done.len(), 12, "{done:?}");
    shop.sql("ALTER TABLE coffee_bean DISABLE TRIGGER cupping_log_update").await;
    let findings = store.check().await.expect("checked");
    assert!(findings.iter().any(|f| f.message.contains("disabled")), "{findings:#?}");
}

#[tokio::test]
async fn an_existing_catalogue_under_the_default_names_is_left_as_it_is() {
    let sql = "CREATE TABLE coffee_bean (id uuid PRIMARY KEY, name text)";
    let database = PostgresDatabase::create().await;
    let pool = database.pool(1).await;
    sqlx::raw_sql(sql).execute(&pool).await.expect("sound");
    let mut catalogue = CatalogueConfig::default();
    catalogue.dimensions.truncate(0);
    let store = connect(&database, settings(catalogue)).await;
    let done = store.migrate().await.expect("only what is ours is made");
    assert!(done.contains(&"created the table coffee_bean_similarity".to_owned()), "{done:?}");
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            .fetch_one(&pool)
            .await
            .expect("read");
    assert_eq!(tables, 2);
}
