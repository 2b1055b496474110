//! The write protocol on a real PostgreSQL: outcomes, order, rights, and nobody in its way.

use crate::pg_support::{Shop, batch, bean, connect, item, list, unforgiving};
use cupping::config::CatalogueConfig;
use cupping::domain::ranking::Similar;
use cupping::store::import::CatalogueWriter;
use cupping::store::postgres::{PostgresStore, roles_sql};
use cupping::store::{Catalogue, LogMark, SimilarityStore, StoreSettings, WriteItem, WriteOutcome};
use cupping::txn::ticket::Ticket;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use std::sync::Arc;
use tokio::sync::Barrier;

async fn mark(shop: &Shop) -> LogMark {
    shop.store.load(&mut |_| {}).await.expect("the catalogue can be read")
}

#[tokio::test]
async fn a_list_is_written_then_unchanged_then_replaced() {
    let shop = Shop::open().await;
    shop.beans(4).await;
    let at = mark(&shop).await;
    let first = list(&[(2, 900_000), (3, 333_333)]);
    let write = |list| shop.store.write(batch(vec![item(1, list)], &at));
    let report = write(first.clone()).await.expect("written");
    assert_eq!(report.outcomes, [WriteOutcome::Written { deleted: 0, inserted: 2 }]);
    assert_eq!(shop.store.list(&bean(1)).await.expect("read"), first);
    let report = write(first).await.expect("compared");
    assert_eq!(report.outcomes, [WriteOutcome::Unchanged]);
    let second = list(&[(4, 999_999), (2, 1), (3, 1)]);
    let report = write(second.clone()).await.expect("replaced");
    assert_eq!(report.outcomes, [WriteOutcome::Written { deleted: 2, inserted: 3 }]);
    assert_eq!(shop.store.list(&bean(1)).await.expect("read"), second);
    let mut all = Vec::new();
    shop.store.lists(&mut |source, list| all.push((source, list))).await.expect("streamed");
    assert_eq!(all, [(bean(1), second)]);
}

#[tokio::test]
async fn the_threshold_is_recorded_and_logged_only_where_it_changes() {
    let shop = Shop::open().await;
    shop.beans(3).await;
    let at = mark(&shop).await;
    let write = |list| shop.store.write(batch(vec![item(1, list)], &at));
    let logged = "SELECT count(*) FROM cupping.change_log WHERE kind = 'threshold'";
    write(list(&[(2, 500_000), (3, 250_000)])).await.expect("written");
    write(list(&[(2, 500_000), (3, 250_000)])).await.expect("unchanged");
    assert_eq!(shop.number(logged).await, 1);
    // The first entry changes, the threshold does not.
    write(list(&[(2, 600_000), (3, 250_000)])).await.expect("written");
    assert_eq!(shop.number(logged).await, 1);
    let (count, ppm, last): (i32, i32, String) =
        sqlx::query_as("SELECT count, kth_ppm, kth_id FROM cupping.source_state")
            .fetch_one(&shop.pool)
            .await
            .expect("one source");
    assert_eq!((count, ppm, last.as_str()), (2, 250_000, bean(3).as_str()));
    shop.sql("DELETE FROM coffee_bean WHERE name = 'Bean 1'").await;
    let at = mark(&shop).await;
    shop.store.write(batch(vec![item(1, vec![])], &at)).await.expect("emptied");
    assert_eq!(shop.number("SELECT count(*) FROM cupping.source_state").await, 0);
    assert_eq!(shop.number("SELECT count(*) FROM coffee_bean_similarity").await, 0);
}

#[tokio::test]
async fn an_outdated_source_is_left_out_and_its_ticket_not_executed() {
    let shop = Shop::open().await;
    shop.beans(3).await;
    shop.sql("CREATE TABLE settled (id bigint, claim text)").await;
    let at = mark(&shop).await;
    shop.sql("UPDATE coffee_bean SET name = 'changed' WHERE name = 'Bean 2'").await;
    let ticket = |row| Ticket {
        statement: "INSERT INTO settled SELECT unnest($1), $2 RETURNING id".into(),
        ids: vec![row],
        claim: "claim".into(),
    };
    let with = |source, row| WriteItem {
        tickets: vec![ticket(row)],
        ..item(source, list(&[(3, 500_000)]))
    };
    let report = shop.store.write(batch(vec![with(1, 10), with(2, 20)], &at)).await;
    let outcomes = report.expect("committed").outcomes;
    assert_eq!(
        outcomes,
        [WriteOutcome::Written { deleted: 0, inserted: 1 }, WriteOutcome::Outdated]
    );
    assert_eq!(shop.number("SELECT sum(id)::bigint FROM settled").await, 10);
    assert_eq!(shop.store.list(&bean(2)).await.expect("read"), vec![]);
    let report = shop.store.write(batch(vec![with(2, 20)], &mark(&shop).await)).await;
    assert!(matches!(report.expect("written").outcomes[0], WriteOutcome::Written { .. }));
    // Unchanged is committed too: its messages are settled.
    shop.store.write(batch(vec![with(2, 40)], &mark(&shop).await)).await.expect("unchanged");
    assert_eq!(shop.number("SELECT sum(id)::bigint FROM settled").await, 70);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlapping_writers_never_deadlock_and_leave_exact_rows() {
    const WRITERS: u32 = 12;
    const ROUNDS: u32 = 25;
    const BEANS: u32 = 30;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let shop = Arc::new(Shop::with(unforgiving(WRITERS), "").await);
    shop.beans(BEANS).await;
    let at = mark(&shop).await;
    let start = Arc::new(Barrier::new(WRITERS as usize));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (shop, at, start) = (Arc::clone(&shop), at.clone(), Arc::clone(&start));
        let mut random = fastrand::Rng::with_seed(seed ^ u64::from(writer));
        writers.spawn(async move {
            start.wait().await;
            for _ in 0..ROUNDS {
                let mut sources: Vec<u32> = (1..=BEANS).collect();
                random.shuffle(&mut sources);
                let items = sources[..8].iter().map(|s| item(*s, any_list(*s, &mut random)));
                shop.store.write(batch(items.collect(), &at)).await.expect("no deadlock");
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.expect("the writer did not panic");
    }
    // A list is one writer's, whole: all its rows carry the same version in their scores.
    shop.store
        .lists(&mut |source, list| {
            assert_eq!(list.len(), 5, "{source}");
            let version = list[0].ppm % 1000;
            assert!(list.iter().all(|entry| entry.ppm % 1000 == version), "{source}: {list:?}");
        })
        .await
        .expect("streamed");
    assert_eq!(shop.deadlocks().await, 0);
}

/// Five neighbours, every score ending in the same three digits.
fn any_list(source: u32, random: &mut fastrand::Rng) -> Vec<Similar> {
    let version = random.u32(0..1000);
    let mut list: Vec<Similar> = (1..=5)
        .map(|step| Similar {
            bean: bean((source + step * random.u32(1..2)) % 30 + 1),
            ppm: step * 100_000 + version,
        })
        .collect();
    list.sort_unstable();
    list
}

#[tokio::test]
async fn writing_succeeds_while_another_session_holds_every_shared_table() {
    let shop = Shop::open().await;
    shop.beans(3).await;
    let at = mark(&shop).await;
    let mut hostage = shop.pool.acquire().await.expect("a connection");
    hostage.execute("BEGIN").await.expect("begun");
    hostage
        .execute(
            "LOCK TABLE coffee_bean, region, processing_method, roast_level, variety, \
             variety_parent, flavor_wheel_node, coffee_bean_region, non_standard_flavor_note \
             IN EXCLUSIVE MODE",
        )
        .await
        .expect("the tables are free");
    let lists = vec![item(1, list(&[(2, 5)])), item(2, list(&[(1, 5)])), item(3, vec![])];
    shop.store.write(batch(lists, &at)).await.expect("nothing it needs is locked");
    assert_eq!(shop.store.changes(&at).await.expect("readable").beans.len(), 0);
    hostage.execute("ROLLBACK").await.expect("released");
}

#[tokio::test]
async fn the_worker_role_runs_the_write_path_and_cannot_touch_a_region() {
    let shop = Shop::open().await;
    shop.beans(2).await;
    shop.sql("INSERT INTO region (name) VALUES ('Africa')").await;
    for _ in 0..2 {
        shop.sql(roles_sql(&CatalogueConfig::default())).await;
    }
    let (login, url) = shop.login("IN ROLE cupping_worker").await;
    let worker = PostgresStore::connect(&url, StoreSettings::default()).await.expect("connected");
    let findings = worker.check().await.expect("checked");
    assert!(
        findings.iter().all(|f| f.severity != cupping::store::Severity::Problem),
        "{findings:#?}"
    );
    worker.open_state("f").await.expect("state");
    let at = worker.load(&mut |_| {}).await.expect("read");
    worker.write(batch(vec![item(1, list(&[(2, 7)]))], &at)).await.expect("written");
    worker.set_note("n", Some("v")).await.expect("noted");
    worker.prune_log(std::time::Duration::ZERO).await.expect("pruned");
    let mut session = PgConnection::connect(&url).await.expect("the worker connects");
    for forbidden in [
        "UPDATE region SET name = 'x'",
        "UPDATE coffee_bean SET name = 'x'",
        "DELETE FROM coffee_bean",
        "SELECT FROM region FOR KEY SHARE",
        "DO $$ BEGIN LOCK TABLE region IN ROW SHARE MODE; END $$",
        "UPDATE coffee_bean_similarity SET score = 1",
    ] {
        let refused = session.execute(AssertSqlSafe(forbidden)).await.expect_err(forbidden);
        let code = refused.as_database_error().and_then(|e| e.code().map(|c| c.into_owned()));
        assert_eq!(code.as_deref(), Some("42501"), "{forbidden}");
    }
    session.close().await.expect("closed");
    worker.close().await;
    shop.sql(format!("DROP ROLE {login}")).await;
}

#[tokio::test]
async fn the_importer_role_writes_the_catalogue_and_not_the_lists() {
    let shop = Shop::open().await;
    shop.sql(roles_sql(&CatalogueConfig::default())).await;
    let (login, url) = shop.login("IN ROLE cupping_importer").await;
    let importer = PostgresStore::connect(&url, StoreSettings::default()).await.expect("connected");
    let record = format!(r#"{{"id":"{}","regions":["Ethiopia/Guji"]}}"#, bean(1));
    let record = serde_json::from_str(&record).expect("a record");
    importer.import(&[record]).await.expect("imported");
    importer.delete(&[bean(1)]).await.expect("deleted");
    importer.ensure_migrated().await.expect("it may look");
    let refused = importer.write(batch(vec![item(1, list(&[(2, 7)]))], &mark(&shop).await)).await;
    assert_eq!(refused.expect_err("it has no right").code().as_deref(), Some("42501"));
    importer.close().await;
    shop.sql(format!("DROP ROLE {login}")).await;
}

#[tokio::test]
async fn a_role_without_rights_is_told_which_it_lacks() {
    let shop = Shop::open().await;
    let (login, url) = shop.login("").await;
    let nobody = PostgresStore::connect(&url, StoreSettings::default()).await.expect("connected");
    let findings = nobody.check().await.expect("checked");
    assert!(findings.iter().any(|f| f.message.contains("USAGE")), "{findings:#?}");
    shop.sql(format!(
        "GRANT USAGE ON SCHEMA cupping TO {login}; GRANT SELECT ON cupping.migration TO {login}"
    ))
    .await;
    let findings = nobody.check().await.expect("checked");
    let lists = "SELECT, INSERT, DELETE on \"public\".\"coffee_bean_similarity\"";
    assert!(findings.iter().any(|f| f.message.contains(lists)), "{findings:#?}");
    nobody.close().await;
    shop.sql(format!("DROP OWNED BY {login}; DROP ROLE {login}")).await;
}

#[tokio::test]
async fn an_application_without_rights_on_our_schema_can_change_beans() {
    let shop = Shop::open().await;
    let (login, url) = shop.login("").await;
    shop.sql(format!("GRANT ALL ON coffee_bean TO {login}")).await;
    let mut application = PgConnection::connect(&url).await.expect("it connects");
    let sql = "INSERT INTO public.coffee_bean (name) VALUES ('theirs')";
    application.execute(sql).await.expect("the trigger writes the log on its own account");
    assert!(application.execute("SELECT FROM cupping.change_log").await.is_err());
    application.close().await.expect("closed");
    let logged = "SELECT count(*) FROM cupping.change_log WHERE kind = 'bean'";
    assert_eq!(shop.number(logged).await, 1);
    shop.sql(format!("DROP OWNED BY {login}; DROP ROLE {login}")).await;
}

#[tokio::test]
async fn readers_of_the_view_never_see_a_deleted_bean() {
    let shop = Shop::open().await;
    shop.beans(3).await;
    let at = mark(&shop).await;
    let lists = vec![item(1, list(&[(2, 5), (3, 4)])), item(2, list(&[(1, 5)]))];
    shop.store.write(batch(lists, &at)).await.expect("written");
    shop.sql("DELETE FROM coffee_bean WHERE name = 'Bean 2'").await;
    assert_eq!(shop.number("SELECT count(*) FROM coffee_bean_similarity").await, 3);
    let seen = "SELECT count(*) FROM similar_beans \
                WHERE source_name = 'Bean 1' AND similar_name = 'Bean 3'";
    assert_eq!(shop.number(seen).await, 1);
    assert_eq!(shop.number("SELECT count(*) FROM similar_beans").await, 1);
}

#[tokio::test]
async fn state_is_fresh_then_same_and_reset_by_other_settings() {
    use cupping::store::StateCheck;
    let shop = Shop::open().await;
    assert_eq!(shop.store.open_state("one").await.expect("opened"), StateCheck::Fresh);
    shop.store.set_note("recompute", Some("half")).await.expect("noted");
    assert_eq!(shop.store.open_state("one").await.expect("opened"), StateCheck::Same);
    assert_eq!(shop.store.note("recompute").await.expect("read").as_deref(), Some("half"));
    let reset = shop.store.open_state("two").await.expect("opened");
    assert!(matches!(reset, StateCheck::Reset(_)));
    assert_eq!(shop.store.note("recompute").await.expect("read"), None);
    let at = mark(&shop).await;
    shop.sql("UPDATE cupping.state SET value = 'elsewhere' WHERE key = 'database'").await;
    let other = connect(&shop.database, StoreSettings::default()).await;
    assert!(matches!(other.open_state("two").await.expect("opened"), StateCheck::Reset(_)));
    let changes = other.changes(&at).await.expect("read");
    assert!(changes.reload.is_some());
}
