//! Databases whose similarity table keeps cascading foreign keys: the graph lock.

use crate::pg_support::{Shop, batch, bean, connect, item, list, unforgiving};
use cupping::store::{Catalogue, SimilarityStore, StoreSettings, WriteOutcome};
use sqlx::Executor;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Barrier;

/// The way an object-relational mapper lays such a table out.
const CASCADING: &str = "
    ALTER TABLE coffee_bean_similarity
        ADD CONSTRAINT fk_source FOREIGN KEY (source_bean_id)
            REFERENCES coffee_bean (id) ON DELETE CASCADE,
        ADD CONSTRAINT fk_similar FOREIGN KEY (similar_bean_id)
            REFERENCES coffee_bean (id) ON DELETE CASCADE";

async fn cascading(settings: StoreSettings) -> Shop {
    let mut shop = Shop::open().await;
    shop.sql(CASCADING).await;
    shop.store.close().await;
    shop.store = connect(&shop.database, settings).await;
    assert!(shop.store.is_guarded(), "the keys are noticed");
    let done = shop.store.migrate().await.expect("migrated");
    assert_eq!(done.len(), 2, "{done:?}");
    assert_eq!(shop.store.migrate().await.expect("again"), Vec::<String>::new());
    shop
}

#[tokio::test]
async fn a_list_that_names_a_bean_that_is_gone_runs_again_and_the_others_commit() {
    let shop = cascading(StoreSettings::default()).await;
    shop.beans(4).await;
    shop.sql("DELETE FROM coffee_bean WHERE name = 'Bean 3'").await;
    let at = shop.store.load(&mut |_| {}).await.expect("read");
    let items = vec![
        item(1, list(&[(2, 9), (3, 8)])),
        item(2, list(&[(1, 9)])),
        item(3, list(&[(1, 9)])),
        item(4, vec![]),
    ];
    let report = shop.store.write(batch(items, &at)).await.expect("the rest commits");
    assert_eq!(
        report.outcomes,
        [
            WriteOutcome::Outdated,
            WriteOutcome::Written { deleted: 0, inserted: 1 },
            WriteOutcome::Outdated,
            WriteOutcome::Unchanged
        ]
    );
}

#[tokio::test]
async fn a_delete_in_progress_pauses_the_writer() {
    let mut settings = StoreSettings::default();
    settings.transaction.lock_timeout = Duration::from_millis(300);
    let shop = cascading(settings).await;
    shop.beans(2).await;
    let at = shop.store.load(&mut |_| {}).await.expect("read");
    let mut deleter = shop.pool.acquire().await.expect("a connection");
    deleter.execute("BEGIN; DELETE FROM coffee_bean WHERE false").await.expect("the gate is ours");
    let one = || batch(vec![item(1, list(&[(2, 9)]))], &at);
    let error = shop.store.write(one()).await.expect_err("the gate is taken");
    assert!(error.is_pause(), "{error}");
    deleter.execute("ROLLBACK").await.expect("released");
    let report = shop.store.write(one()).await.expect("the gate is free");
    assert!(matches!(report.outcomes[0], WriteOutcome::Written { .. }));
}

#[tokio::test]
async fn no_taxonomy_row_is_locked_or_written_even_with_foreign_keys() {
    let shop = cascading(StoreSettings::default()).await;
    shop.beans(2).await;
    shop.sql(
        "INSERT INTO region (name) VALUES ('Africa'); \
         INSERT INTO coffee_bean_region SELECT b.id, r.id FROM coffee_bean b, region r; \
         UPDATE region SET name = 'Afrika'",
    )
    .await;
    let rows = "SELECT sum(hashtext(xmin::text || ctid::text || xmax::text))::bigint FROM region";
    let before = shop.number(rows).await;
    let at = shop.store.load(&mut |_| {}).await.expect("read");
    let mut hostage = shop.pool.acquire().await.expect("a connection");
    hostage
        .execute("BEGIN; LOCK TABLE region, coffee_bean_region, variety IN EXCLUSIVE MODE")
        .await
        .expect("the tables are free");
    let report = shop.store.write(batch(vec![item(1, list(&[(2, 9)]))], &at)).await;
    assert!(matches!(report.expect("written").outcomes[0], WriteOutcome::Written { .. }));
    hostage.execute("ROLLBACK").await.expect("released");
    assert_eq!(shop.number(rows).await, before, "xmin, xmax or place of a row has changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cascading_deletes_and_writers_never_deadlock() {
    const WRITERS: u32 = 6;
    const DELETERS: u32 = 3;
    const BEANS: u32 = 90;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let shop = Arc::new(cascading(unforgiving(WRITERS + 1)).await);
    shop.beans(BEANS).await;
    let start = Arc::new(Barrier::new((WRITERS + DELETERS) as usize));
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (shop, start) = (Arc::clone(&shop), Arc::clone(&start));
        let mut random = fastrand::Rng::with_seed(seed ^ u64::from(writer));
        tasks.spawn(async move {
            start.wait().await;
            for _ in 0..25 {
                let at = shop.store.load(&mut |_| {}).await.expect("read");
                let mut sources: Vec<u32> = (1..=BEANS).collect();
                random.shuffle(&mut sources);
                let items = sources[..8].iter().map(|source| {
                    let similar = [1, 7, 31].map(|step| ((source + step) % BEANS + 1, 500 - step));
                    item(*source, list(&similar))
                });
                shop.store.write(batch(items.collect(), &at)).await.expect("no deadlock");
            }
        });
    }
    for deleter in 0..DELETERS {
        let (shop, start) = (Arc::clone(&shop), Arc::clone(&start));
        let mut random = fastrand::Rng::with_seed(seed ^ u64::from(deleter) ^ (1 << 32));
        tasks.spawn(async move {
            start.wait().await;
            for _ in 0..12 {
                let doomed: Vec<String> =
                    (0..3).map(|_| bean(random.u32(1..=BEANS)).to_string()).collect();
                let sql = "DELETE FROM coffee_bean WHERE id = ANY ($1::text[]::uuid[])";
                sqlx::query(sql).bind(doomed).execute(&shop.pool).await.expect("no deadlock");
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("nobody was a deadlock's victim");
    }
    assert_eq!(shop.deadlocks().await, 0);
    let orphans = "SELECT count(*) FROM coffee_bean_similarity s WHERE NOT EXISTS \
                   (SELECT FROM coffee_bean b WHERE b.id = s.source_bean_id) OR NOT EXISTS \
                   (SELECT FROM coffee_bean b WHERE b.id = s.similar_bean_id)";
    assert_eq!(shop.number(orphans).await, 0);
}
