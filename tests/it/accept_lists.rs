//! What must hold of the lists: equal to the oracle's, whoever computes them and whatever else
//! happens in the database meanwhile.

use crate::support::beans::{self, TestBean};
use crate::support::oracle::assert_lists_equal_the_oracles;
use crate::support::world::soon;
use crate::support::world::{Worker, World};
use sqlx::AssertSqlSafe;

/// Sum over the workers of what they acked.
fn acked(workers: &[Worker]) -> u64 {
    workers.iter().map(Worker::acked).sum()
}

async fn all_acked(workers: &[Worker], messages: u64) {
    soon("every message is acked", async || acked(workers) >= messages).await;
    assert_eq!(acked(workers), messages, "each message is acked once");
}

async fn start(world: &World, count: usize) -> Vec<Worker> {
    let workers: Vec<_> = (0..count).map(|_| world.worker(&[])).collect();
    for worker in &workers {
        worker.ready().await;
    }
    workers
}

async fn rows_of_wrong_sources(world: &World) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM coffee_bean_similarity s
         WHERE NOT EXISTS (SELECT FROM coffee_bean b WHERE b.id = s.source_bean_id)",
    )
    .fetch_one(&world.admin)
    .await
    .expect("the rows are countable")
}

#[tokio::test(flavor = "multi_thread")]
async fn thousand_beans_by_four_workers_equal_the_oracle_without_a_deadlock() {
    let seed = 20_261_123;
    let world = World::broker().await;
    let catalogue = beans::beans(1000, seed);
    world.succeed_with_input(&["import", "-"], &beans::lines(&catalogue));
    let workers = start(&world, 4).await;

    let mut random = fastrand::Rng::with_seed(seed);
    let mut order: Vec<TestBean> = catalogue.clone();
    order.extend((0..100).map(|_| catalogue[random.usize(..catalogue.len())].clone()));
    random.shuffle(&mut order);
    let (first, second) = order.split_at(order.len() / 2);
    world.succeed_with_input(&["publish", "-", "--kind", "created"], &beans::ids(first));

    let updates: Vec<_> = (0..100)
        .map(|i| beans::changed(&catalogue[random.usize(..catalogue.len())], seed + i))
        .collect();
    world.succeed_with_input(&["import", "-"], &beans::lines(&updates));
    world.succeed_with_input(&["publish", "-", "--kind", "updated"], &beans::ids(&updates));
    world.succeed_with_input(&["publish", "-", "--kind", "created"], &beans::ids(second));
    all_acked(&workers, 1200).await;
    let share = workers.iter().filter(|worker| worker.acked() > 0).count();
    assert!(share >= 2, "the work is shared, not done by one worker");

    world.succeed(&["recompute", "--all"]);
    assert_lists_equal_the_oracles(&world).await;
    assert_eq!(world.deadlocks().await, 0, "seed {seed}");
    assert_eq!(rows_of_wrong_sources(&world).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_succeeds_while_others_hold_the_shared_tables_and_writes_nothing_there() {
    const SHARED: &str = "region, processing_method, roast_level, variety, variety_parent, \
                          flavor_wheel_node";
    let world = World::broker().await;
    let catalogue = beans::beans(60, 7);
    world.succeed_with_input(&["import", "-"], &beans::lines(&catalogue));
    let before = fingerprint_of_region(&world).await;

    let mut hostage = world.admin.acquire().await.expect("a connection");
    let lock = format!("BEGIN; LOCK TABLE {SHARED} IN EXCLUSIVE MODE");
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *hostage).await.expect("the lock is taken");
    let workers = start(&world, 2).await;
    world.succeed_with_input(&["publish", "-"], &beans::ids(&catalogue));
    all_acked(&workers, 60).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut *hostage).await.expect("the lock is given back");

    assert_lists_equal_the_oracles(&world).await;
    // A written row has another xmin or ctid, one that was only locked another xmax.
    assert_eq!(fingerprint_of_region(&world).await, before, "no region was written or locked");
}

async fn fingerprint_of_region(world: &World) -> Option<String> {
    sqlx::query_scalar(
        "SELECT md5(string_agg(xmin::text || xmax || ctid, ',' ORDER BY id)) FROM region",
    )
    .fetch_one(&world.admin)
    .await
    .expect("regions are readable")
}

#[tokio::test(flavor = "multi_thread")]
async fn beans_deleted_during_the_run_cause_no_deadlock_and_are_never_read() {
    deleted_during_the_run(&World::broker().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beans_deleted_under_cascading_foreign_keys_cause_no_deadlock_by_the_graph_lock() {
    let world = World::broker().await;
    sqlx::raw_sql(
        "ALTER TABLE coffee_bean_similarity
           ADD CONSTRAINT fk_source FOREIGN KEY (source_bean_id) REFERENCES coffee_bean (id)
             ON DELETE CASCADE,
           ADD CONSTRAINT fk_similar FOREIGN KEY (similar_bean_id) REFERENCES coffee_bean (id)
             ON DELETE CASCADE",
    )
    .execute(&world.admin)
    .await
    .expect("the keys are added");
    world.succeed(&["migrate"]);
    deleted_during_the_run(&world).await;
    assert_eq!(rows_of_wrong_sources(&world).await, 0, "the keys saw to it");
}

/// Two workers compute 300 beans while other sessions delete 60 of them and readers look.
async fn deleted_during_the_run(world: &World) {
    let catalogue = beans::beans(300, 11);
    world.succeed_with_input(&["import", "-"], &beans::lines(&catalogue));
    let workers = start(world, 2).await;
    let (doomed, kept) = catalogue.split_at(60);
    world.succeed_with_input(&["publish", "-"], &beans::ids(&catalogue));
    let deletions = doomed.iter().map(|bean| delete(world, bean));
    let reader = readers_see_no_deleted_bean(world, doomed.len());
    tokio::join!(futures_util::future::join_all(deletions), reader);
    world.succeed_with_input(&["publish", "-", "--kind", "deleted"], &beans::ids(doomed));
    world.succeed_with_input(&["publish", "-", "--kind", "updated"], &beans::ids(kept));
    all_acked(&workers, 300 + 60 + 240).await;
    assert_lists_equal_the_oracles(world).await;
    assert_eq!(world.deadlocks().await, 0);
}

async fn delete(world: &World, bean: &TestBean) {
    sqlx::query("DELETE FROM coffee_bean WHERE id = $1::uuid")
        .bind(&bean.id)
        .execute(&world.admin)
        .await
        .expect("a bean can be deleted while workers run");
}

/// Reads the view until all doomed beans are gone; a row with a missing bean is a failure.
async fn readers_see_no_deleted_bean(world: &World, doomed: usize) {
    let total: i64 = 300;
    soon("the beans are deleted", async || {
        let (orphans, left): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM similar_beans v
                      WHERE NOT EXISTS (SELECT FROM coffee_bean b WHERE b.id = v.similar_bean_id)
                         OR NOT EXISTS (SELECT FROM coffee_bean b WHERE b.id = v.source_bean_id)),
                    (SELECT count(*) FROM coffee_bean)",
        )
        .fetch_one(&world.admin)
        .await
        .expect("the view is readable");
        assert_eq!(orphans, 0, "a reader of similar_beans saw a deleted bean");
        left == total - i64::try_from(doomed).expect("a small number")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_and_postgres_give_the_same_lists_bit_for_bit() {
    let catalogue = beans::lines(&beans::beans(200, 3));
    let postgres = World::one_database().await;
    postgres.succeed_with_input(&["import", "-"], &catalogue);
    postgres.succeed(&["recompute", "--all"]);
    let embedded = tempfile::tempdir().expect("a temporary directory");
    let data = embedded.path().to_str().expect("a UTF-8 path").to_owned();
    let sqlite = |args: &[&str], input: Option<&str>| {
        let flags = ["--set", "database.url=\"\"", "--data-dir", &data];
        let all: Vec<&str> = flags.iter().chain(args).copied().collect();
        match input {
            Some(text) => postgres.succeed_with_input(&all, text),
            None => postgres.succeed(&all),
        }
    };
    sqlite(&["import", "-"], Some(&catalogue));
    sqlite(&["recompute", "--all"], None);
    let sorted = |text: String| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines[1..].sort_unstable();
        lines
    };
    let (left, right) = (postgres.succeed(&["export"]), sqlite(&["export"], None));
    assert!(left.lines().count() > 200 * 10, "the lists are not empty");
    assert_eq!(sorted(left), sorted(right));
}
