//! What every store must do: one suite, run over SQLite and PostgreSQL.

use crate::support::eventually;
use crate::support::stores::{TestStore, batch, bean, list};
use cupping::domain::bean::BeanId;
use cupping::store::{Changes, Loading, ReloadReason, StateCheck, WriteOutcome};
use std::time::Duration;

/// One module a store, one test a behaviour.
macro_rules! conformance {
    ($($behaviour:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $behaviour() {
                super::$behaviour(super::TestStore::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $behaviour() {
                super::$behaviour(super::TestStore::postgres().await).await;
            })*
        }
    };
}

conformance!(
    a_load_gives_the_taxonomies_first_then_every_bean,
    changes_are_exactly_the_beans_changed_since_the_mark,
    a_changed_taxonomy_asks_for_a_reload,
    a_pruned_log_asks_older_marks_to_reload,
    a_list_is_written_once_then_unchanged_then_replaced,
    an_outdated_source_is_left_out_and_the_rest_is_written,
    a_ticket_whose_claim_ran_out_is_void,
    tickets_are_executed_only_with_their_committed_source,
    thresholds_are_logged_only_when_they_change,
    a_deleted_bean_never_shows_in_the_view,
    ids_come_in_pages_each_once,
    state_is_fresh_then_same_then_reset_by_other_settings,
    notes_are_kept_replaced_and_removed,
    an_empty_batch_writes_nothing,
);

async fn changes(test: &TestStore, since: &cupping::store::LogMark) -> Changes {
    test.store.changes(since).await.expect("the log can be read")
}

async fn a_load_gives_the_taxonomies_first_then_every_bean(test: TestStore) {
    test.beans(3).await;
    let mut seen = Vec::new();
    let mark = test.store.load(&mut |item| seen.push(item)).await.expect("a load");
    assert!(!mark.0.is_empty());
    assert!(matches!(&seen[0], Loading::Taxonomy(t) if t.dimensions.len() == 5));
    let mut beans: Vec<BeanId> = seen[1..]
        .iter()
        .map(|item| match item {
            Loading::Bean(bean) => bean.id.clone(),
            Loading::Taxonomy(_) => panic!("the taxonomies come once"),
        })
        .collect();
    beans.sort();
    assert_eq!(beans, [bean(1), bean(2), bean(3)]);
    assert_eq!(test.store.count().await.expect("a count"), 3);
    let some = test.store.beans(&[bean(2), bean(9)]).await.expect("beans");
    assert_eq!(some.len(), 1);
    assert_eq!(some[0].name.as_deref(), Some("Bean 2"));
}

async fn changes_are_exactly_the_beans_changed_since_the_mark(test: TestStore) {
    test.beans(4).await;
    let mark = test.mark().await;
    assert!(changes(&test, &mark).await.beans.is_empty());
    test.sql(format!("UPDATE coffee_bean SET name = 'New' WHERE id = '{}'", bean(1))).await;
    test.sql(format!(
        "INSERT INTO non_standard_flavor_note (coffee_bean_id, note) VALUES ('{}', 'plum jam')",
        bean(2)
    ))
    .await;
    test.sql(format!("DELETE FROM coffee_bean WHERE id = '{}'", bean(3))).await;
    let news = changes(&test, &mark).await;
    assert_eq!(news.reload, None);
    let mut seen: Vec<_> = news.beans.iter().map(|c| (c.id.clone(), c.bean.is_some())).collect();
    seen.sort();
    assert_eq!(seen, [(bean(1), true), (bean(2), true), (bean(3), false)]);
    let noted = news.beans.iter().find(|change| change.id == bean(2));
    let features = &noted.and_then(|c| c.bean.as_ref()).expect("it is there").features;
    assert_eq!(features.bags.iter().map(Vec::len).sum::<usize>(), 1);
    assert!(changes(&test, &news.mark).await.beans.is_empty(), "seen once, seen for good");
    assert_eq!(changes(&test, &mark).await.beans.len(), 3, "an old mark still answers");
}

async fn a_changed_taxonomy_asks_for_a_reload(test: TestStore) {
    test.writer.seed(&cupping::domain::seed::builtin_taxonomy()).await.expect("a seed");
    let mark = test.mark().await;
    test.sql("UPDATE region SET name = 'Sidamo' WHERE name = 'Sidama'").await;
    let news = changes(&test, &mark).await;
    assert_eq!(news.reload, Some(ReloadReason::TaxonomyChanged));
    assert!(news.beans.is_empty());
    assert_eq!(changes(&test, &news.mark).await.reload, None);
}

async fn a_pruned_log_asks_older_marks_to_reload(test: TestStore) {
    let old = test.mark().await;
    test.beans(1).await;
    // On PostgreSQL a transaction of any other test holds pruning back for its time.
    let gone = async || {
        test.store.prune_log(Duration::ZERO).await.expect("pruning");
        changes(&test, &old).await.reload == Some(ReloadReason::Pruned)
    };
    eventually("the log is pruned", Duration::from_secs(30), gone).await;
    let now = test.mark().await;
    assert_eq!(changes(&test, &now).await.reload, None);
    assert_eq!(test.store.prune_log(Duration::from_secs(60)).await.expect("pruning"), 0);
}

async fn a_list_is_written_once_then_unchanged_then_replaced(test: TestStore) {
    test.beans(5).await;
    let mark = test.mark().await;
    let write = async |entries: &[(u32, u32)]| {
        let report = test.store.write(batch(&[(1, entries)], &mark)).await.expect("a write");
        report.outcomes[0]
    };
    let first: &[(u32, u32)] = &[(2, 900_001), (4, 333_333), (3, 333_333)];
    assert_eq!(write(first).await, WriteOutcome::Written { deleted: 0, inserted: 3 });
    assert_eq!(write(first).await, WriteOutcome::Unchanged);
    let stored = test.store.list(&bean(1)).await.expect("a list");
    assert_eq!(stored, list(&[(2, 900_001), (3, 333_333), (4, 333_333)]));
    assert_eq!(stored[1].bean, bean(3), "ties stand in the order of ids");
    let written = WriteOutcome::Written { deleted: 3, inserted: 1 };
    assert_eq!(write(&[(5, 1_000_000)]).await, written);
    let mut all = Vec::new();
    test.store.lists(&mut |source, list| all.push((source, list))).await.expect("lists");
    assert_eq!(all, [(bean(1), list(&[(5, 1_000_000)]))]);
    assert_eq!(write(&[]).await, WriteOutcome::Written { deleted: 1, inserted: 0 });
}

async fn an_outdated_source_is_left_out_and_the_rest_is_written(test: TestStore) {
    test.beans(4).await;
    let mark = test.mark().await;
    test.sql(format!("UPDATE coffee_bean SET name = 'New' WHERE id = '{}'", bean(1))).await;
    let items: &[(u32, &[(u32, u32)])] = &[(1, &[(3, 5)]), (2, &[(3, 7)])];
    let report = test.store.write(batch(items, &mark)).await.expect("a write");
    let written = WriteOutcome::Written { deleted: 0, inserted: 1 };
    assert_eq!(report.outcomes, [WriteOutcome::Outdated, written]);
    assert!(test.store.list(&bean(1)).await.expect("a list").is_empty());
    let mark = changes(&test, &mark).await.mark;
    let report = test.store.write(batch(items, &mark)).await.expect("a write");
    assert_eq!(report.outcomes, [written, WriteOutcome::Unchanged]);
}

async fn tickets_are_executed_only_with_their_committed_source(test: TestStore) {
    test.beans(4).await;
    let mark = test.mark().await;
    test.sql(format!("UPDATE coffee_bean SET name = 'New' WHERE id = '{}'", bean(1))).await;
    let mut write = batch(&[(1, &[(3, 5)]), (2, &[(3, 7)]), (4, &[])], &mark);
    write.items[0].tickets = vec![test.message(11).await];
    write.items[1].tickets = vec![test.message(12).await, test.message(13).await];
    write.items[2].tickets = vec![test.message(14).await];
    let report = test.store.write(write).await.expect("a write");
    assert_eq!(report.outcomes[0], WriteOutcome::Outdated);
    assert_eq!(report.outcomes[2], WriteOutcome::Unchanged, "settled all the same");
    assert_eq!(test.messages().await, 1, "that of the outdated source");
}

async fn a_ticket_whose_claim_ran_out_is_void(test: TestStore) {
    test.beans(2).await;
    let mark = test.mark().await;
    let mut write = batch(&[(1, &[(2, 5)]), (2, &[(1, 5)])], &mark);
    let (kept, taken) = (test.message(21).await, test.message(22).await);
    test.take_message(22).await;
    write.items[0].tickets = vec![kept];
    write.items[1].tickets = vec![taken.clone()];
    let report = test.store.write(write).await.expect("a write");
    assert_eq!(report.outcomes[1], WriteOutcome::Written { deleted: 0, inserted: 1 });
    assert_eq!(report.void, [taken], "its list is committed, its message is not settled");
    assert_eq!(test.messages().await, 1);
}

async fn thresholds_are_logged_only_when_they_change(test: TestStore) {
    test.beans(3).await;
    let mark = test.mark().await;
    let is_postgres = test.store.accepts(&BeanId::parse("x").expect("an id")).is_err();
    let log = if is_postgres { "cupping.change_log" } else { "cupping_change_log" };
    let logged = format!("SELECT count(*) FROM {log} WHERE kind = 'threshold'");
    for (entries, count) in [
        (&[(2, 9), (3, 5)][..], 1),
        (&[(2, 9), (3, 5)], 1),
        // The first entry changes, the last does not: the threshold is the same.
        (&[(2, 8), (3, 5)], 1),
        (&[(2, 9), (3, 6)], 2),
    ] {
        test.store.write(batch(&[(1, entries)], &mark)).await.expect("a write");
        assert_eq!(test.number(&logged).await, count, "{entries:?}");
    }
    assert!(changes(&test, &mark).await.beans.is_empty(), "a threshold is no change of a bean");
}

async fn a_deleted_bean_never_shows_in_the_view(test: TestStore) {
    test.beans(3).await;
    let mark = test.mark().await;
    let items: &[(u32, &[(u32, u32)])] = &[(1, &[(2, 9), (3, 5)]), (2, &[(1, 9)])];
    test.store.write(batch(items, &mark)).await.expect("a write");
    assert_eq!(test.writer.delete(&[bean(2), bean(7)]).await.expect("a delete"), 1);
    assert_eq!(test.number("SELECT count(*) FROM similar_beans").await, 1);
    assert_eq!(test.number("SELECT count(*) FROM coffee_bean_similarity").await, 3);
}

async fn ids_come_in_pages_each_once(test: TestStore) {
    test.beans(7).await;
    let mut seen: Vec<BeanId> = Vec::new();
    loop {
        let page = test.store.ids(seen.last(), 3).await.expect("a page");
        let is_last = page.len() < 3;
        seen.extend(page);
        if is_last {
            break;
        }
    }
    assert_eq!(seen, (1..=7).map(bean).collect::<Vec<_>>());
}

async fn state_is_fresh_then_same_then_reset_by_other_settings(test: TestStore) {
    let open = async |fingerprint| test.store.open_state(fingerprint).await.expect("a state");
    assert_eq!(open("one").await, StateCheck::Fresh);
    assert_eq!(open("one").await, StateCheck::Same);
    test.store.set_note("progress", Some("5")).await.expect("a note");
    assert!(matches!(open("two").await, StateCheck::Reset(_)));
    assert_eq!(test.store.note("progress").await.expect("a note"), None);
    assert_eq!(open("two").await, StateCheck::Same);
}

async fn notes_are_kept_replaced_and_removed(test: TestStore) {
    let note = async || test.store.note("progress").await.expect("a note");
    assert_eq!(note().await, None);
    for value in [Some("1"), Some("o'2"), None] {
        test.store.set_note("progress", value).await.expect("a note");
        assert_eq!(note().await.as_deref(), value);
    }
    test.store.probe().await.expect("the database answers");
}

async fn an_empty_batch_writes_nothing(test: TestStore) {
    let mark = test.mark().await;
    let report = test.store.write(batch(&[], &mark)).await.expect("a write");
    assert!(report.outcomes.is_empty());
}
