//! Least privilege for real: an owner migrates and grants, an importer fills the catalogue, and
//! workers that are members of `cupping_worker` alone do everything else.

use crate::support::oracle::assert_lists_equal_the_oracles;
use crate::support::world::{World, soon};
use crate::support::{amqp_url, beans, postgres_url};
use sqlx::AssertSqlSafe;

/// A database that belongs to a role of its own, migrated and granted by it. The owner has to
/// create nothing that is there already, and is no superuser.
async fn owned_by_nobody_special(amqp: Option<String>) -> World {
    let world = World::bare(&postgres_url(), amqp, "").await;
    let owner = world.login("CREATEROLE").await;
    let name = owner.split("//").nth(1).and_then(|rest| rest.split('@').next()).expect("a user");
    let sql = format!(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO {name}', current_database()); \
         END $$"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&world.admin).await.expect("it is given away");
    let said = world.succeed(&["--set", &owner, "migrate", "--grant"]);
    assert!(said.contains("granted"), "{said}");
    let again = world.succeed(&["--set", &owner, "migrate", "--grant"]);
    assert!(again.contains("up to date"), "{again}");
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_role_runs_the_whole_job_with_a_queue_in_the_database() {
    whole_job(&owned_by_nobody_special(None).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_role_runs_the_whole_job_with_a_broker() {
    whole_job(&owned_by_nobody_special(Some(amqp_url())).await).await;
}

async fn whole_job(world: &World) {
    let importer = world.login("IN ROLE cupping_importer").await;
    let worker = world.login("IN ROLE cupping_worker").await;
    let catalogue = beans::beans(40, 61);
    let import = ["--set", &importer, "import", "-", "--publish"];
    world.succeed_with_input(&import, &beans::lines(&catalogue));

    let process = world.worker(&[&worker]);
    process.ready().await;
    soon("what the importer published is computed", async || process.acked() == 40).await;
    world.succeed(&["--set", &worker, "publish", "--all", "--bulk"]);
    world.succeed(&["--set", &worker, "publish", &catalogue[0].id, "--kind", "updated"]);
    soon("what the worker published is computed", async || process.acked() == 81).await;
    assert_lists_equal_the_oracles(world).await;

    let shown = world.succeed(&["--set", &worker, "similar", &catalogue[0].id, "--explain"]);
    assert!(shown.contains("regions") || shown.contains("no list"), "{shown}");
    let before = world.succeed(&["--set", &worker, "export"]);
    world.succeed(&["--set", &worker, "recompute", "--all"]);
    assert_eq!(world.succeed(&["--set", &worker, "export"]), before);
    let off = ["--set", "admin.enabled=false"];
    let check = [&["--set", &worker, "check"], &off[..]].concat();
    let found = world.succeed(&check);
    assert!(found.contains("0 problems, 0 warnings"), "{found}");

    let changed = beans::changed(&catalogue[0], 62).line;
    let (code, said) = world.fail(&["--set", &worker, "import", "-"], &changed);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("cupping_importer"), "{said}");
    let (code, said) = world.fail(&["--set", &importer, "recompute", "--all"], "");
    assert_eq!(code, 78, "{said}");
    refused(&worker, "UPDATE region SET name = name").await;
    refused(&worker, "SELECT FROM region FOR UPDATE").await;
    assert!(process.terminate().success());
    assert_lists_equal_the_oracles(world).await;
}

/// A statement that PostgreSQL refuses for lack of a right.
async fn refused(setting: &str, sql: &str) {
    let url = setting.trim_start_matches("database.url=");
    let mut session =
        <sqlx::PgConnection as sqlx::Connection>::connect(url).await.expect("a login");
    let refused = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut session).await;
    let error = refused.expect_err("the worker has no right to it");
    let code = error.as_database_error().and_then(|error| error.code());
    assert_eq!(code.as_deref(), Some("42501"), "{sql}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_by_a_login_without_rights_names_what_is_missing() {
    let world = World::one_database().await;
    let nobody = world.login("").await;
    let check = ["--set", &nobody, "check", "--set", "admin.enabled=false"];
    let (code, said) = world.fail(&check, "");
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("USAGE on schema cupping"), "{said}");
    let half =
        "GRANT USAGE ON SCHEMA cupping TO PUBLIC; GRANT SELECT ON cupping.migration TO PUBLIC";
    sqlx::raw_sql(half).execute(&world.admin).await.expect("a superuser may grant");
    let (code, said) = world.fail(&[&check[..], &["--output", "json"]].concat(), "");
    assert_eq!(code, 78, "{said}");
    for lacking in [
        r#"SELECT, INSERT, DELETE on \"public\".\"coffee_bean_similarity\""#,
        r#"SELECT on \"public\".\"region\""#,
        "SELECT, INSERT, DELETE on cupping.change_log",
        "cupping.change_log_seq_seq",
        "cupping migrate --roles",
    ] {
        assert!(said.contains(lacking), "{lacking}: {said}");
    }
}
