//! Import, over SQLite and PostgreSQL; and that the same file gives the same lists in both.

use crate::support::stores::TestStore;
use cupping::config::Config;
use cupping::domain::bean::BeanId;
use cupping::domain::ranking::SimilarList;
use cupping::domain::seed::builtin_taxonomy;
use cupping::index::{CatalogueIndex, SimilarityIndex};
use cupping::store::Loading;
use cupping::store::import::{ImportRecord, ImportReport, json_lines};
use std::collections::BTreeMap;
use std::sync::Arc;

const ONE: &str = r#"{"id":"018f2b1e-7b52-7cc0-a1b2-000000000001","name":"Worka",
    "roaster":"Nine Spoons","regions":["Ethiopia/Guji"],"processing":["washed"],
    "roast":["Medium-Light"],"varieties":["Bourbon"],"notes":["Blackberry","cherry cola"]}"#;
const OTHER: &str = r#"{"id":"018f2b1e-7b52-7cc0-a1b2-000000000002","name":"O'Brien's",
    "regions":["Ethiopia/Nowhere"],"processing":["Moonlit"],"varieties":["Unheard-of"]}"#;

fn record(json: &str) -> ImportRecord {
    serde_json::from_str(json).expect("a record")
}

fn sample() -> Vec<ImportRecord> {
    let file = include_str!("../../assets/sample/catalogue.jsonl");
    json_lines(file.as_bytes()).collect::<Result<_, _>>().expect("the sample is sound")
}

async fn import(test: &TestStore, records: &[ImportRecord]) -> ImportReport {
    test.writer.import(records).await.expect("an import")
}

async fn importing_again_touches_nothing(test: TestStore) {
    let nodes = test.writer.seed(&builtin_taxonomy()).await.expect("a seed");
    assert!(nodes > 100);
    assert_eq!(test.writer.seed(&builtin_taxonomy()).await.expect("a seed"), 0);
    let records = [record(ONE), record(OTHER)];
    let first = import(&test, &records).await;
    assert_eq!((first.created, first.updated, first.unchanged), (2, 0, 0));
    let added: Vec<&str> = first.added.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(added, ["Nowhere", "Moonlit", "Unheard-of"]);

    let mark = test.mark().await;
    let again = import(&test, &records).await;
    assert_eq!((again.created, again.updated, again.unchanged), (0, 0, 2));
    assert!(again.added.is_empty());
    let news = test.store.changes(&mark).await.expect("the log");
    assert!(news.beans.is_empty() && news.reload.is_none(), "nothing is computed anew");

    let mut changed = record(ONE);
    changed.notes.push("plum jam".into());
    let third = import(&test, &[changed, record(OTHER)]).await;
    assert_eq!((third.created, third.updated, third.unchanged), (0, 1, 1));
    let news = test.store.changes(&mark).await.expect("the log");
    assert_eq!(news.beans.iter().map(|c| &c.id).collect::<Vec<_>>(), [&record(ONE).id]);
}

#[tokio::test]
async fn importing_again_touches_nothing_in_sqlite() {
    importing_again_touches_nothing(TestStore::sqlite().await).await;
}

#[tokio::test]
async fn importing_again_touches_nothing_in_postgres() {
    importing_again_touches_nothing(TestStore::postgres().await).await;
}

async fn every_list(test: &TestStore) -> BTreeMap<BeanId, SimilarList> {
    test.writer.seed(&builtin_taxonomy()).await.expect("a seed");
    import(test, &sample()).await;
    let mut items = Vec::new();
    test.store.load(&mut |item| items.push(item)).await.expect("a load");
    let index = CatalogueIndex::new(Arc::new(Config::default().score_settings()));
    let mut builder = None;
    let mut ids = Vec::new();
    for item in items {
        match item {
            Loading::Taxonomy(taxonomy) => builder = Some(index.builder(taxonomy)),
            Loading::Bean(bean) => {
                ids.push(bean.id.clone());
                builder.as_mut().expect("the taxonomies come first").add(bean);
            }
        }
    }
    index.install(builder.expect("the taxonomies come first"));
    let lists = index.snapshot().top_k(&ids);
    ids.into_iter().zip(lists.into_iter().map(|list| list.expect("it is there"))).collect()
}

#[tokio::test]
async fn the_same_catalogue_gives_the_same_lists_in_sqlite_and_postgres() {
    let (sqlite, postgres) = (TestStore::sqlite().await, TestStore::postgres().await);
    let (one, other) = (every_list(&sqlite).await, every_list(&postgres).await);
    assert_eq!(one.len(), sample().len());
    assert!(one.values().filter(|list| list.len() == 20).count() > 200);
    assert_eq!(one, other);
}
