//! What is particular to the store in SQLite: other people's tables, odd ids, restarts.

use cupping::config::{CatalogueConfig, IdType};
use cupping::domain::bean::{BeanId, Value};
use cupping::domain::ranking::Similar;
use cupping::store::import::CatalogueWriter;
use cupping::store::sqlite::SqliteStore;
use cupping::store::{
    Catalogue, Loading, LogMark, SimilarityStore, StoreError, StoreSettings, WriteBatch, WriteItem,
    WriteOutcome,
};
use sqlx::{Connection, Executor, SqliteConnection};
use std::path::Path;

const WINES: &str = r#"
    CREATE TABLE wine ("wine id" INTEGER PRIMARY KEY, label TEXT);
    CREATE TABLE grape (code TEXT PRIMARY KEY, title TEXT);
    CREATE TABLE wine_grape (wine INTEGER, grape TEXT);
    INSERT INTO wine VALUES (1, 'Red'), (2, 'White'), (10, 'Blend');
    INSERT INTO grape VALUES ('m', 'Merlot');
    INSERT INTO wine_grape VALUES (1, 'm'), (10, 'm');"#;

const MAPPING: &str = r#"
    bean_table = "wine"
    bean_id = "wine id"
    bean_name = "label"
    id_type = "bigint"
    similarity = { table = "wine like", source = "a", similar = "b", score = "s" }
    [[dimensions]]
    name = "grapes"
    weight = 1.0
    prior = 0.1
    expansion = { kind = "flat" }
    values = { table = "grape", id = "code", name = "title" }
    join = { table = "wine_grape", from = "wine", to = "grape" }"#;

async fn open(path: &Path, settings: StoreSettings) -> SqliteStore {
    SqliteStore::open(path, settings).await.expect("the file opens")
}

fn id(text: &str) -> BeanId {
    BeanId::parse(text).expect("an id")
}

fn item(source: &str, similar: &[(&str, u32)]) -> WriteItem {
    let list = similar.iter().map(|(bean, ppm)| Similar { bean: id(bean), ppm: *ppm }).collect();
    WriteItem { source: id(source), list, tickets: Vec::new() }
}

#[tokio::test]
async fn a_mapped_catalogue_with_integer_ids_works_and_is_not_imported_into() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("wine.sqlite");
    let mut application = SqliteConnection::connect(&format!("sqlite:{}?mode=rwc", path.display()))
        .await
        .expect("the application makes its file");
    application.execute(WINES).await.expect("its tables");
    let catalogue: CatalogueConfig = toml::from_str(MAPPING).expect("a mapping");
    let store = open(&path, StoreSettings { catalogue, ..StoreSettings::default() }).await;
    store.migrate().await.expect("a mapped file can be migrated");

    let mut beans = Vec::new();
    let mark = store
        .load(&mut |item| {
            if let Loading::Bean(bean) = item {
                beans.push((bean.id.to_string(), bean.features.bags[0].clone()));
            }
        })
        .await
        .expect("a load");
    let merlot = vec![Value::Node("m".into())];
    assert_eq!(beans, [("1".into(), merlot.clone()), ("2".into(), vec![]), ("10".into(), merlot)]);
    let items = vec![item("1", &[("10", 1_000_000)])];
    let report = store.write(WriteBatch { items, computed_at: mark.clone() }).await;
    let written = WriteOutcome::Written { deleted: 0, inserted: 1 };
    assert_eq!(report.expect("a write").outcomes, [written]);
    assert_eq!(store.list(&id("1")).await.expect("a list").len(), 1);
    assert_eq!(store.ids(Some(&id("2")), 5).await.expect("ids"), [id("10")], "in numeric order");
    application.execute("UPDATE wine_grape SET wine = 2 WHERE wine = 1").await.expect("a change");
    let news = store.changes(&mark).await.expect("the log");
    assert_eq!(news.beans.len(), 2, "the old bean and the new one");
    assert!(store.accepts(&id("x")).is_err() && store.accepts(&id("01")).is_err());
    let refused = store.import(&[]).await.expect_err("not our schema");
    assert!(matches!(refused, StoreError::Schema(_)), "{refused}");
}

#[test]
fn integer_ids_are_the_only_ids_of_the_mapping() {
    let catalogue: CatalogueConfig = toml::from_str(MAPPING).expect("a mapping");
    assert_eq!(catalogue.id_type, IdType::Bigint);
}

#[tokio::test]
async fn tables_the_file_lacks_are_named_all_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalogue: CatalogueConfig = toml::from_str(MAPPING).expect("a mapping");
    let settings = StoreSettings { catalogue, ..StoreSettings::default() };
    let store = open(&directory.path().join("empty.sqlite"), settings).await;
    let error = store.migrate().await.expect_err("nothing is there").to_string();
    for table in ["wine", "grape", "wine_grape"] {
        assert!(error.contains(table), "{error}");
    }
}

#[tokio::test]
async fn odd_ids_survive_and_lists_outlive_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("odd.sqlite");
    let odd = "o'brien \"quoted\" \\ 珈琲";
    {
        let store = open(&path, StoreSettings::default()).await;
        store.migrate().await.expect("an empty file can be migrated");
        let line = serde_json::json!({ "id": odd, "notes": ["rock'n'roll"] });
        let record = serde_json::from_value(line).expect("a record");
        store.import(&[record]).await.expect("an import");
        let items = vec![item(odd, &[(odd, 7)])];
        let batch = WriteBatch { items, computed_at: LogMark::default() };
        store.write(batch).await.expect("a write");
        store.close().await;
    }
    let store = open(&path, StoreSettings::default()).await;
    assert_eq!(store.migrate().await.expect("nothing to do"), Vec::<String>::new());
    let list = store.list(&id(odd)).await.expect("a list");
    assert_eq!(list, [Similar { bean: id(odd), ppm: 7 }]);
    assert_eq!(store.beans(&[id(odd)]).await.expect("beans").len(), 1);
}
