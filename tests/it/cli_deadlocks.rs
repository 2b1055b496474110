//! `cupping deadlocks explain`: inputs, formats, exit codes.

use crate::support::command::{Cupping, json, stderr, stdout};
use crate::support::databases::PostgresDatabase;
use sqlx::Executor;

const LOG: &str = include_str!("../fixtures/deadlocks/postgres/stderr.log");
const STATUS: &str = include_str!("../fixtures/deadlocks/mariadb/three.txt");

/// A report of a table lock, by OID and database.
fn tables(one: u32, two: u32, database: u32) -> String {
    let wait = |waiter, oid, holder| {
        format!(
            "Process {waiter} waits for AccessExclusiveLock on relation {oid} of database \
             {database}; blocked by process {holder}.\n"
        )
    };
    [wait(7, one, 9), wait(9, two, 7)].concat()
}

#[test]
fn a_log_is_explained_in_words() {
    let cupping = Cupping::new();
    let file = cupping.file("postgresql.log", LOG);
    let text = stdout(&cupping.run(&["deadlocks", "explain", &file]).success());
    assert!(text.starts_with("7 reports read, 7 distinct deadlocks\n"), "{text}");
    let wait = "19505 (victim) waits for ShareLock on transaction 763 held by 19503 (while locking \
                tuple (0,1) in relation \"region\")";
    assert!(text.contains(wait), "{text}");
    assert!(text.contains("19505 [postgres, worker-B] ran: insert into bean"), "{text}");
    assert!(text.contains("what to do: The check of a foreign key"), "{text}");
    assert!(!cupping.path("cupping-data").exists(), "it needs no database");
}

#[test]
fn stdin_and_several_files_are_read_together() {
    let cupping = Cupping::new();
    let file = cupping.file("postgresql.log", LOG);
    let cut = cupping.file(
        "cut.log",
        "x\nProcess 1 waits for ShareLock on transaction 2; \
                                       blocked by process 3.\n",
    );
    let mut command = cupping.command();
    command.args(["deadlocks", "explain", "-", &file, &cut, "--format", "json"]);
    let run = command.write_stdin(STATUS).assert().success();
    let value = json(&run);
    assert_eq!(value["reports"], 8);
    assert_eq!(value["unread"][0]["line"], 2);
    assert!(value["unread"][0]["input"].as_str().is_some_and(|name| name.ends_with("cut.log")));
    assert!(value["unread"][0]["excerpt"].as_str().is_some_and(|text| text.starts_with("Process")));
    let deadlocks = value["deadlocks"].as_array().expect("a list");
    assert_eq!(deadlocks.len(), 8);
    let three = deadlocks.iter().find(|one| one["nodes"].as_array().map(Vec::len) == Some(3));
    let three = three.expect("the cycle of three");
    assert_eq!(three["victim"], "39");
    assert_eq!(three["count"], 1);
    assert_eq!(three["first_seen"], "2026-11-24T20:29:21");
    assert_eq!(three["edges"][0]["object"]["kind"], "record");
    assert_eq!(three["edges"][0]["object"]["relation"], "t");
    assert!(three["advice"].as_str().is_some_and(|advice| advice.contains("ORDER BY")));
    let keys: Vec<&String> = three.as_object().expect("an object").keys().collect();
    let expected =
        ["advice", "count", "edges", "fingerprint", "first_seen", "last_seen", "nodes", "victim"];
    let mut keys: Vec<&str> = keys.into_iter().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, expected);
}

#[test]
fn the_global_output_asks_for_json_and_a_format_goes_before_it() {
    let cupping = Cupping::new();
    let file = cupping.file("status.txt", STATUS);
    let run = cupping.run(&["deadlocks", "explain", &file, "--output", "json"]).success();
    assert_eq!(json(&run)["reports"], 1);
    let arguments = ["deadlocks", "explain", &file, "--output", "json", "--format", "text"];
    assert!(stdout(&cupping.run(&arguments).success()).starts_with("1 report read"));
}

#[test]
fn drawings_escape_what_a_log_holds() {
    let cupping = Cupping::new();
    let log = LOG.replace("update u set v=1 where id=1;", "update \"u\\\"] set <b>`x`;");
    let file = cupping.file("evil.log", &log);
    let dot = stdout(&cupping.run(&["deadlocks", "explain", &file, "--format", "dot"]).success());
    assert!(dot.starts_with("digraph deadlocks {\n") && dot.ends_with("}\n"), "{dot}");
    assert!(dot.contains("update \\\"u\\\\\\\"] set"), "{dot}");
    let arguments = ["deadlocks", "explain", &file, "--format", "mermaid"];
    let mermaid = stdout(&cupping.run(&arguments).success());
    assert!(mermaid.starts_with("flowchart LR\n"), "{mermaid}");
    assert!(mermaid.contains("update #34;u#92;#34;#93; set #60;b#62;"), "{mermaid}");
    assert!(mermaid.lines().all(|line| matches!(line.matches('"').count(), 0 | 2)), "{mermaid}");
}

#[test]
fn nothing_found_says_so() {
    let cupping = Cupping::new();
    let file = cupping.file("quiet.log", "all is well\n");
    let run = cupping.run(&["deadlocks", "explain", &file]).success();
    assert_eq!(stdout(&run), "no deadlock report found\n");
    let value = json(&cupping.run(&["deadlocks", "explain", &file, "--format", "json"]).success());
    assert_eq!(value, serde_json::json!({ "reports": 0, "unread": [], "deadlocks": [] }));
}

#[test]
fn wrong_usage_ends_with_2_and_an_unreadable_file_with_1() {
    let cupping = Cupping::new();
    cupping.run(&["deadlocks"]).code(2);
    cupping.run(&["deadlocks", "explain"]).code(2);
    cupping.run(&["deadlocks", "explain", "x", "--format", "svg"]).code(2);
    let run = cupping.run(&["deadlocks", "explain", "no-such.log"]).code(1);
    assert!(stderr(&run).contains("no-such.log"), "{run}");
    assert!(stderr(&run).contains("what to do: "), "{run}");
    assert_eq!(stdout(&run), "");
    let folder = cupping.path("");
    let run = cupping.run(&["deadlocks", "explain", folder.to_str().expect("a path")]).code(1);
    assert!(stderr(&run).contains("cannot read"), "{run}");
}

#[test]
fn bytes_that_are_no_text_are_no_failure() {
    let cupping = Cupping::new();
    let mut command = cupping.command();
    let mut bytes = vec![0xff, 0xfe, 0, b'\n'];
    bytes.extend_from_slice(&LOG.as_bytes()[..1500]);
    bytes.extend_from_slice(&[0x80, b'\n']);
    let run = command.args(["deadlocks", "explain", "-"]).write_stdin(bytes).assert().success();
    assert!(stdout(&run).starts_with("1 report read"), "{run}");
}

#[test]
fn a_database_that_does_not_answer_ends_with_69() {
    let cupping = Cupping::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("bound");
    drop(port);
    let file = cupping.file("tables.log", &tables(1, 2, 5));
    let url = format!("postgres://u:pw@{address}/none");
    let run = cupping.run(&["deadlocks", "explain", &file, "--database", &url]).code(69);
    assert!(stderr(&run).contains("--database"), "{run}");
    assert!(!stderr(&run).contains("pw@"), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_names_the_relations() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(1).await;
    pool.execute("CREATE TABLE alpha (id int); CREATE TABLE \"Beta x\" (id int)")
        .await
        .expect("tables");
    let sql = "SELECT 'alpha'::regclass::oid::int8, '\"Beta x\"'::regclass::oid::int8, \
               (SELECT oid::int8 FROM pg_database WHERE datname = current_database())";
    let (one, two, own): (i64, i64, i64) =
        sqlx::query_as(sql).fetch_one(&pool).await.expect("numbers");
    let number = |oid: i64| u32::try_from(oid).expect("an OID");
    let text = tables(number(one), number(two), number(own));
    let cupping = Cupping::new();
    let file = cupping.file("tables.log", &text);
    let plain = stdout(&cupping.run(&["deadlocks", "explain", &file]).success());
    assert!(plain.contains(&format!("relation {one} held by")), "{plain}");
    let url = database.url();
    let run = cupping.run(&["deadlocks", "explain", &file, "--database", &url]).success();
    let named = stdout(&run);
    assert!(named.contains("relation \"alpha\" held by"), "{named}");
    assert!(named.contains("Beta x"), "{named}");
}
