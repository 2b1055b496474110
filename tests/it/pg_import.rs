//! Import into the default catalogue on a real PostgreSQL.

use crate::pg_support::{Shop, bean};
use cupping::domain::seed::builtin_taxonomy;
use cupping::store::Catalogue;
use cupping::store::import::{CatalogueWriter, ImportRecord};

fn record(json: &str) -> ImportRecord {
    serde_json::from_str(json).expect("a record")
}

fn guji(notes: &str) -> ImportRecord {
    record(&format!(
        r#"{{"id":"{}","name":"Guji","roaster":"R","regions":["Ethiopia/Guji"],
             "processing":["washed"],"roast":["Light"],"varieties":["Bourbon"],"notes":{notes}}}"#,
        bean(1)
    ))
}

#[tokio::test]
async fn importing_again_changes_nothing_and_logs_nothing() {
    let shop = Shop::open().await;
    assert!(shop.store.seed(&builtin_taxonomy()).await.expect("seeded") > 100);
    assert_eq!(shop.store.seed(&builtin_taxonomy()).await.expect("again"), 0);
    let records = [
        guji(r#"["Blackberry","cherry cola"]"#),
        record(&format!(r#"{{"id":"{}"}}"#, bean(2))),
        record(&format!(r#"{{"id":"{}","regions":["Atlantis/Deep"]}}"#, bean(3))),
    ];
    let report = shop.store.import(&records).await.expect("imported");
    assert_eq!((report.created, report.updated, report.unchanged), (3, 0, 0));
    let added: Vec<_> = report.added.iter().map(|(d, v)| format!("{d}: {v}")).collect();
    assert_eq!(added, ["regions: Other", "regions: Atlantis", "regions: Deep"]);
    let at = shop.store.load(&mut |_| {}).await.expect("loaded");
    let report = shop.store.import(&records).await.expect("imported again");
    assert_eq!((report.created, report.updated, report.unchanged), (0, 0, 3));
    let changes = shop.store.changes(&at).await.expect("read");
    assert!(changes.beans.is_empty() && changes.reload.is_none(), "{changes:?}");
}

#[tokio::test]
async fn a_changed_record_is_rewritten_where_it_differs_and_the_later_of_two_counts() {
    let shop = Shop::open().await;
    shop.store.seed(&builtin_taxonomy()).await.expect("seeded");
    let first = guji(r#"["Blackberry","cherry cola"]"#);
    let second = guji(r#"["Blackberry","plum jam"]"#);
    shop.store.import(&[second, first.clone()]).await.expect("imported");
    let report = shop.store.import(&[first]).await.expect("imported");
    assert_eq!(report.unchanged, 1, "the later of two records was written");
    let at = shop.store.load(&mut |_| {}).await.expect("loaded");
    let report = shop.store.import(&[guji(r#"["Blueberry","plum jam"]"#)]).await.expect("imported");
    assert_eq!(report.updated, 1);
    let changes = shop.store.changes(&at).await.expect("read");
    assert_eq!(changes.beans.len(), 1);
    let bags = &changes.beans[0].bean.as_ref().expect("it exists").features.bags;
    assert_eq!(bags.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1, 1, 2]);
    assert_eq!(shop.store.delete(&[bean(1), bean(9)]).await.expect("deleted"), 1);
    assert_eq!(shop.store.count().await.expect("counted"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_imports_add_a_taxonomy_value_once() {
    let shop = std::sync::Arc::new(Shop::open().await);
    let mut imports = tokio::task::JoinSet::new();
    for n in 1..=6 {
        let shop = std::sync::Arc::clone(&shop);
        imports.spawn(async move {
            let json = format!(r#"{{"id":"{}","varieties":["New"]}}"#, bean(n));
            shop.store.import(&[record(&json)]).await.expect("imported").added.len()
        });
    }
    let added: usize = imports.join_all().await.into_iter().sum();
    assert_eq!(added, 1);
}
