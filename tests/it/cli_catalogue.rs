//! `import`, `export`, `similar`, `recompute`, `publish` on the embedded database.

use crate::support::command::{Cupping, json, stderr, stdout};

const BEANS: &str = r#"{"id":"a","name":"Alpha","regions":["Ethiopia/Guji"],"notes":["Blackberry"]}
{"id":"b","name":"Beta","regions":["Ethiopia/Guji"],"notes":["Blackberry","cherry cola"]}
{"id":"c","name":"Gamma","regions":["Atlantis/Deep"],"roast":["Light"]}
"#;

#[test]
fn a_bad_line_is_named_with_its_number_and_reason_and_the_rest_is_imported() {
    let cupping = Cupping::new();
    let file = cupping.file("beans.jsonl", &format!("{{\"id\":\n{BEANS}{{\"name\":\"no id\"}}\n"));
    let run = cupping.run(&["import", &file]).success();
    assert!(stdout(&run).contains("3 created, 0 updated, 0 unchanged, 2 bad lines"), "{run}");
    let said = stderr(&run);
    assert!(said.contains("line 1") && said.contains("line 5"), "{said}");
}

#[test]
fn strict_imports_nothing_when_a_line_is_bad() {
    let cupping = Cupping::new();
    let file = cupping.file("beans.jsonl", &format!("{BEANS}not json\n"));
    let run = cupping.run(&["import", &file, "--strict"]).code(1);
    assert!(stderr(&run).contains("line 4"), "{run}");
    let good = cupping.file("good.jsonl", BEANS);
    let run = cupping.run(&["import", &good, "--strict"]).success();
    assert!(stdout(&run).contains("3 created"), "{run}");
}

#[test]
fn unknown_values_are_added_and_reported_and_a_second_import_changes_nothing() {
    let cupping = Cupping::new();
    let file = cupping.file("beans.jsonl", BEANS);
    let report = json(&cupping.run(&["import", &file, "--output", "json"]).success());
    assert_eq!(report["created"], 3);
    assert!(report["added"].to_string().contains("Atlantis"), "{report}");
    let report = json(&cupping.run(&["import", &file, "--output", "json"]).success());
    assert_eq!((&report["created"], &report["unchanged"]), (&0.into(), &3.into()));
    assert_eq!(report["added"].as_array().map(Vec::len), Some(0), "{report}");
}

#[test]
fn csv_is_read_by_its_extension_and_from_stdin_by_its_format() {
    let cupping = Cupping::new();
    let csv = "id,name,regions,notes\nx,Xi,Kenya/Nyeri,Blackcurrant|tomato jam\n";
    let file = cupping.file("beans.csv", csv);
    assert!(stdout(&cupping.run(&["import", &file]).success()).contains("1 created"));
    let mut command = cupping.command();
    let run = command.args(["import", "-", "--format", "csv"]).write_stdin(csv).assert().success();
    assert!(stdout(&run).contains("1 unchanged"), "{run}");
}

#[test]
fn recompute_fills_the_lists_that_export_and_similar_show() {
    let cupping = Cupping::new();
    let file = cupping.file("beans.jsonl", BEANS);
    cupping.run(&["import", &file]).success();
    let run = cupping.run(&["recompute", "--all"]).success();
    assert!(stdout(&run).contains("3 lists computed"), "{run}");

    let csv = stdout(&cupping.run(&["export"]).success());
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("source_id,similar_id,score"));
    let rows: Vec<&str> = lines.collect();
    let score = rows.iter().find_map(|row| row.strip_prefix("a,b,")).expect("a row of a with b");
    assert_eq!(score.split_once('.').map(|(_, decimals)| decimals.len()), Some(6), "{csv}");
    let back = rows.iter().find_map(|row| row.strip_prefix("b,a,"));
    assert_eq!(back, Some(score), "scores are symmetric");
    let lines = stdout(&cupping.run(&["export", "--output", "json"]).success());
    assert_eq!(lines.lines().count(), rows.len());

    let similar =
        json(&cupping.run(&["similar", "alpha", "--explain", "--output", "json"]).success());
    assert_eq!(similar["bean"]["id"], "a");
    assert_eq!(similar["similar"][0]["id"], "b");
    let explanation = &similar["similar"][0]["explanation"];
    assert_eq!(explanation["score"], similar["similar"][0]["score"]);
    let regions = &explanation["dimensions"][0];
    assert_eq!((&regions["name"], &regions["measured"]), (&"regions".into(), &true.into()));
    assert_eq!(regions["weight"], 0.216);
    assert!(regions["shared"].to_string().contains("Guji"), "{explanation}");
    let text = stdout(&cupping.run(&["similar", "a", "--explain"]).success());
    assert!(text.contains("weight 0.216") && text.contains("Beta"), "{text}");

    let again = json(&cupping.run(&["recompute", "--all", "--output", "json"]).success());
    assert_eq!((&again["written"], &again["unchanged"]), (&0.into(), &3.into()));
}

#[test]
fn a_mistyped_name_is_answered_with_near_ones() {
    let cupping = Cupping::new();
    cupping.run(&["import", &cupping.file("beans.jsonl", BEANS)]).success();
    let run = cupping.run(&["similar", "Gama"]).code(1);
    assert!(stderr(&run).contains("Gamma"), "{run}");
}

#[test]
fn published_messages_are_worked_off_by_a_limited_run() {
    let cupping = Cupping::new();
    let file = cupping.file("beans.jsonl", BEANS);
    let run = cupping.run(&["import", &file, "--publish"]).success();
    assert!(stdout(&run).contains("3 messages published"), "{run}");
    let off = ["--set", "admin.enabled=false"];
    cupping.run(&["run", "--limit", "3", off[0], off[1]]).success();
    let csv = stdout(&cupping.run(&["export"]).success());
    assert!(csv.lines().any(|row| row.starts_with("a,b,")), "{csv}");

    let mut command = cupping.command();
    let run = command.args(["publish", "-"]).write_stdin("a\n\nb\n").assert().success();
    assert!(stdout(&run).contains("2 messages published"), "{run}");
    let run = cupping.run(&["publish", "--all", "--kind", "updated", "--bulk"]).success();
    assert!(stdout(&run).contains("3 messages published (BeanUpdated, bulk lane)"), "{run}");
    cupping.run(&["run", "--time-limit", "1s", off[0], off[1]]).success();
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_failure() {
    use std::io::Read;
    let cupping = Cupping::new();
    cupping.run(&["import", "--sample"]).success();
    cupping.run(&["recompute", "--all"]).success();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_cupping"))
        .current_dir(cupping.path(""))
        .arg("export")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut out = child.stdout.take().expect("piped");
    out.read_exact(&mut [0; 10]).expect("a header");
    drop(out);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
