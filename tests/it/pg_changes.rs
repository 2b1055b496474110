//! The change log on a real PostgreSQL: what is found, exactly once, however it was committed.

use crate::pg_support::{Shop, batch, bean, item, list};
use cupping::config::{CatalogueConfig, Refresh};
use cupping::domain::bean::Value;
use cupping::store::{
    Catalogue, Changes, Loading, LogMark, ReloadReason, SimilarityStore, StoreSettings,
    WriteOutcome,
};
use sqlx::Executor;
use std::time::Duration;

async fn mark(shop: &Shop) -> LogMark {
    shop.store.load(&mut |_| {}).await.expect("the catalogue can be read")
}

async fn since(shop: &Shop, mark: &LogMark) -> Changes {
    shop.store.changes(mark).await.expect("the log can be read")
}

fn changed(changes: &Changes) -> Vec<(String, bool)> {
    let mut ids: Vec<_> =
        changes.beans.iter().map(|c| (c.id.to_string(), c.bean.is_some())).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_load_streams_taxonomies_first_then_every_bean_with_its_bags() {
    let shop = Shop::open().await;
    shop.beans(2).await;
    shop.sql(
        "WITH africa AS (INSERT INTO region (name) VALUES ('Africa') RETURNING id), \
              ethiopia AS (INSERT INTO region (parent_id, name) SELECT id, 'Ethiopia' FROM africa \
                           RETURNING id) \
         INSERT INTO coffee_bean_region SELECT b.id, e.id FROM coffee_bean b, ethiopia e \
         WHERE b.name = 'Bean 1'; \
         INSERT INTO non_standard_flavor_note (coffee_bean_id, note) \
         SELECT id, note FROM coffee_bean, \
              (VALUES ('cherry cola'), ('cherry cola'), (' ')) n (note) \
         WHERE name = 'Bean 1'",
    )
    .await;
    let mut items = Vec::new();
    shop.store.load(&mut |item| items.push(item)).await.expect("loaded");
    let Loading::Taxonomy(taxonomy) = &items[0] else { panic!("the taxonomies come first") };
    let sizes: Vec<usize> = taxonomy.dimensions.iter().map(|d| d.len()).collect();
    assert_eq!(sizes, [2, 0, 0, 0, 0]);
    let ethiopia = taxonomy.dimensions[0].values().find(|n| &*n.name == "Ethiopia");
    let ethiopia = ethiopia.expect("inserted above");
    assert_eq!(ethiopia.parents.len(), 1);
    let beans: Vec<_> = items[1..]
        .iter()
        .map(|item| match item {
            Loading::Bean(bean) => bean,
            Loading::Taxonomy(_) => panic!("the taxonomies come once"),
        })
        .collect();
    assert_eq!(beans.len(), 2);
    let first = beans.iter().find(|b| b.id == bean(1)).expect("bean 1");
    assert_eq!(first.name.as_deref(), Some("Bean 1"));
    assert_eq!(first.features.bags[0], [Value::Node(ethiopia.key.clone())]);
    assert_eq!(first.features.bags[4], [Value::Text("cherry cola".into())]);
    let again = shop.store.beans(&[bean(1), bean(99), bean(2)]).await.expect("read");
    assert_eq!(again.len(), 2);
    assert!(again.iter().any(|b| b == *first), "both ways of reading agree");
    assert_eq!(shop.store.count().await.expect("counted"), 2);
}

#[tokio::test]
async fn ids_are_paged_to_the_end() {
    let shop = Shop::open().await;
    shop.beans(5).await;
    let mut seen = Vec::new();
    loop {
        let page = shop.store.ids(seen.last(), 2).await.expect("a page");
        let last = page.len() < 2;
        seen.extend(page);
        if last {
            break;
        }
    }
    assert_eq!(seen, (1..=5).map(bean).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_change_logged_first_and_committed_last_is_found() {
    let shop = Shop::open().await;
    let at = mark(&shop).await;
    let mut slow = shop.pool.acquire().await.expect("a connection");
    slow.execute(
        "BEGIN; INSERT INTO coffee_bean (id, name) \
                  VALUES ('00000000-0000-0000-0000-000000000001', 'slow')",
    )
    .await
    .expect("inserted, not committed");
    shop.sql(
        "INSERT INTO coffee_bean (id, name) \
              VALUES ('00000000-0000-0000-0000-000000000002', 'fast')",
    )
    .await;
    let first = since(&shop, &at).await;
    assert_eq!(changed(&first), [(bean(2).to_string(), true)]);
    assert!(since(&shop, &first.mark).await.beans.is_empty(), "each change is handed out once");
    slow.execute("COMMIT").await.expect("committed last");
    let second = since(&shop, &first.mark).await;
    assert_eq!(changed(&second), [(bean(1).to_string(), true)]);
    assert!(since(&shop, &second.mark).await.beans.is_empty());
}

#[tokio::test]
async fn every_kind_of_change_to_a_bean_is_noticed_and_a_statement_without_rows_is_not() {
    let shop = Shop::open().await;
    shop.beans(3).await;
    shop.sql("INSERT INTO variety (name) VALUES ('Typica'), ('Bourbon')").await;
    let mut at = mark(&shop).await;
    let (one, two) =
        ("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002");
    let only_one = vec![(one.to_owned(), true)];
    let join = "INSERT INTO coffee_bean_variety SELECT b.id, v.id FROM coffee_bean b, variety v";
    let steps = [
        (format!("{join} WHERE b.id = '{one}'"), only_one.clone()),
        (
            format!("UPDATE coffee_bean_variety SET coffee_bean_id = '{two}'"),
            vec![(one.to_owned(), true), (two.to_owned(), true)],
        ),
        ("DELETE FROM coffee_bean_variety".to_owned(), vec![(two.to_owned(), true)]),
        (
            format!(
                "INSERT INTO non_standard_flavor_note (coffee_bean_id, note) VALUES ('{one}', 'x')"
            ),
            only_one,
        ),
        // The note goes by cascade.
        (format!("DELETE FROM coffee_bean WHERE id = '{one}'"), vec![(one.to_owned(), false)]),
        ("UPDATE coffee_bean SET name = 'x' WHERE false".to_owned(), vec![]),
        ("DELETE FROM region".to_owned(), vec![]),
    ];
    for (sql, expected) in steps {
        shop.sql(sql.clone()).await;
        let changes = since(&shop, &at).await;
        assert_eq!(changed(&changes), expected, "{sql}");
        assert_eq!(changes.reload, None, "{sql}");
        at = changes.mark;
    }
}

#[tokio::test]
async fn a_taxonomy_change_or_a_truncate_asks_for_a_reload_and_outdates_every_list() {
    let shop = Shop::open().await;
    shop.beans(2).await;
    for sql in [
        "INSERT INTO region (name) VALUES ('Asia')",
        "UPDATE region SET name = 'Oceania'",
        "DELETE FROM region",
        "TRUNCATE non_standard_flavor_note",
    ] {
        let at = mark(&shop).await;
        shop.sql(sql).await;
        let changes = since(&shop, &at).await;
        assert_eq!(changes.reload, Some(ReloadReason::TaxonomyChanged), "{sql}");
        let report = shop.store.write(batch(vec![item(1, list(&[(2, 9)]))], &at)).await;
        assert_eq!(report.expect("compared").outcomes, [WriteOutcome::Outdated], "{sql}");
        assert_eq!(since(&shop, &changes.mark).await.reload, None);
    }
}

#[tokio::test]
async fn a_mark_behind_the_pruning_asks_for_a_reload_and_a_later_one_does_not() {
    let shop = Shop::open().await;
    let old = mark(&shop).await;
    shop.beans(2).await;
    // Transactions of other databases of this server count as running too: wait them out.
    let settled = "SELECT count(*) FROM cupping.change_log \
                   WHERE xid < pg_snapshot_xmin(pg_current_snapshot())";
    let waiting = async { while shop.number(settled).await < 2 {} };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("they end");
    let young = mark(&shop).await;
    assert_eq!(shop.store.prune_log(Duration::from_secs(3600)).await.expect("kept"), 0);
    assert_eq!(shop.store.prune_log(Duration::ZERO).await.expect("pruned"), 2);
    assert_eq!(since(&shop, &old).await.reload, Some(ReloadReason::Pruned));
    assert_eq!(since(&shop, &young).await.reload, None);
    let report = shop.store.write(batch(vec![item(1, list(&[(2, 9)]))], &old)).await;
    assert_eq!(report.expect("compared").outcomes, [WriteOutcome::Outdated]);
}

#[tokio::test]
async fn without_a_log_the_answer_is_to_reload_and_no_trigger_is_made() {
    let catalogue = CatalogueConfig { refresh: Refresh::Reload, ..CatalogueConfig::default() };
    let settings = StoreSettings { catalogue, ..StoreSettings::default() };
    let shop = Shop::with(settings, "").await;
    shop.beans(2).await;
    let at = mark(&shop).await;
    assert_eq!(at, LogMark::default());
    assert_eq!(since(&shop, &at).await.reload, Some(ReloadReason::NoLog));
    assert_eq!(shop.number("SELECT count(*) FROM cupping.change_log").await, 0);
    let report = shop.store.write(batch(vec![item(1, list(&[(2, 9)]))], &at)).await;
    assert!(matches!(report.expect("written").outcomes[0], WriteOutcome::Written { .. }));
}
