//! A database that was there before us: the guide's own example, from check to lists.

use crate::support::oracle::assert_lists_equal_under;
use crate::support::postgres_url;
use crate::support::world::{World, soon};
use cupping::config::{Config, Sources};

const GUIDE: &str = include_str!("../../docs/guides/existing-database.md");

/// The first block of a kind in the guide.
fn block(kind: &str) -> &'static str {
    let after = GUIDE.split_once(&format!("```{kind}\n")).expect("the guide has such a block").1;
    after.split_once("```").expect("it ends").0
}

const PRODUCTS: &str = "
    INSERT INTO shop.product SELECT n, 'Product ' || n FROM generate_series(1, 90) n;
    INSERT INTO shop.origin VALUES (1, 'Africa', NULL), (2, 'Kenya', 1), (3, 'Ethiopia', 1),
                                   (4, 'America', NULL), (5, 'Brazil', 4), (6, 'Peru', 4);
    INSERT INTO shop.product_origin SELECT n, 1 + n * 7 % 6 FROM generate_series(1, 90) n
                                     WHERE n % 9 > 0;
    INSERT INTO shop.product_origin SELECT n, 1 + (n * 7 + 2) % 6 FROM generate_series(1, 90, 4) n;
    INSERT INTO shop.process VALUES ('w', 'Washed'), ('n', 'Natural'), ('h', 'Honey');
    INSERT INTO shop.product_process SELECT n, substr('wnh', 1 + n % 3, 1)
                                     FROM generate_series(1, 90) n WHERE n % 5 > 0;
    INSERT INTO shop.tasting SELECT n, (ARRAY['ripe cherry', 'cherry cola', 'dark chocolate',
                                              'jasmine tea', 'black tea'])[1 + n * n % 5]
                             FROM generate_series(1, 90) n WHERE n % 7 > 0;
";

async fn execute(world: &World, sql: &'static str) {
    sqlx::raw_sql(sql).execute(&world.admin).await.expect("the test's SQL is sound");
}

/// The tables outside the system's schemas.
async fn tables(world: &World) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT schemaname || '.' || tablename FROM pg_tables
         WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1",
    )
    .fetch_all(&world.admin)
    .await
    .expect("the tables are listed")
}

async fn shop(mapping: &str) -> World {
    let world = World::bare(&postgres_url(), None, mapping).await;
    execute(&world, block("sql")).await;
    execute(&world, PRODUCTS).await;
    world
}

fn settings(mapping: &str) -> Config {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("mapping.toml");
    std::fs::write(&file, mapping).expect("written");
    let sources = Sources { file: Some(file), ..Sources::default() };
    Config::load(&sources).expect("the guide's mapping is valid").config
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_s_example_works_as_it_stands_under_the_worker_role() {
    let mapping = block("toml");
    let world = shop(mapping).await;
    let theirs = tables(&world).await;
    let check = ["check", "--set", "admin.enabled=false"];
    let (code, said) = world.fail(&check, "");
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("not applied: cupping") && said.contains("cupping migrate"), "{said}");
    assert!(said.contains("1 problem,"), "the mapping fits, all else follows: {said}");

    world.succeed(&["migrate", "--grant"]);
    let all = tables(&world).await;
    let made: Vec<_> = all.iter().filter(|table| !theirs.contains(table)).collect();
    assert!(made.iter().all(|table| table.starts_with("cupping.")), "{made:?}");
    assert!(!made.is_empty() && all.len() == theirs.len() + made.len(), "{all:?}");

    let worker = world.login("IN ROLE cupping_worker").await;
    let found = world.succeed(&[&check[..], &["--set", &worker]].concat());
    assert!(found.contains("0 problems, 0 warnings"), "{found}");
    world.succeed(&["--set", &worker, "publish", "--all"]);
    let process = world.worker(&[&worker]);
    soon("every product is computed", async || process.acked() == 90).await;
    let config = settings(mapping);
    assert_lists_equal_under(&world, &config).await;

    execute(&world, "DELETE FROM shop.product WHERE product_no IN (3, 14)").await;
    execute(&world, "UPDATE shop.tasting SET words = 'ripe cherry' WHERE product_no = 8").await;
    world.succeed_with_input(&["publish", "-", "--kind", "deleted"], "3\n14\n");
    world.succeed(&["publish", "--all", "--kind", "updated"]);
    soon("all is computed again", async || process.acked() == 90 + 2 + 88).await;
    assert_lists_equal_under(&world, &config).await;
    assert_eq!(world.deadlocks().await, 0);
    let shown = world.succeed(&["--set", &worker, "similar", "Product 8", "--explain"]);
    assert!(shown.contains("origins") && shown.contains("cherry"), "{shown}");
    assert!(process.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_mapping_reports_every_problem_with_the_nearest_names_and_makes_nothing() {
    let wrong = block("toml")
        .replace("bean_name = \"title\"", "bean_name = \"titel\"")
        .replace("id_type = \"bigint\"", "id_type = \"uuid\"")
        .replace("table = \"product_process\"", "table = \"product_proces\"")
        .replace("parent = \"part_of\"", "parent = \"partof\"")
        .replace("score = \"likeness\"", "score = \"likenes\"");
    let world = shop(&wrong).await;
    let theirs = tables(&world).await;
    let json = ["check", "--output", "json", "--set", "admin.enabled=false"];
    for verb in [&json[..], &["migrate"], &["migrate", "--grant"]] {
        let (code, said) = world.fail(verb, "");
        assert_eq!(code, 78, "{verb:?}: {said}");
        for wanted in ["title", "bigint", "product_process", "part_of", "likeness"] {
            assert!(said.contains(wanted), "{wanted} is not in the answer of {verb:?}: {said}");
        }
    }
    assert_eq!(tables(&world).await, theirs, "nothing was made");
}
