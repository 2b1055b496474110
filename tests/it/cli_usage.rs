//! Arguments, settings, help and exit codes.

use crate::support::command::{Cupping, stderr, stdout};

const VERBS: [&str; 13] = [
    "demo",
    "run",
    "publish",
    "recompute",
    "import",
    "export",
    "similar",
    "migrate",
    "check",
    "config",
    "deadlocks",
    "completions",
    "man",
];

#[test]
fn every_verb_has_a_help_text() {
    let cupping = Cupping::new();
    let all = stdout(&cupping.run(&["--help"]).success());
    for verb in VERBS {
        assert!(all.contains(&format!("  {verb} ")), "{verb} is missing from:\n{all}");
        let help = stdout(&cupping.run(&[verb, "--help"]).success());
        assert!(help.contains("Usage: cupping"), "{verb}: {help}");
    }
}

#[test]
fn an_unknown_verb_or_flag_is_a_usage_error() {
    let cupping = Cupping::new();
    let run = cupping.run(&["dmeo"]).code(2);
    assert!(stderr(&run).contains("demo"), "{run}");
    cupping.run(&["run", "--limt", "3"]).code(2);
    cupping.run(&[]).code(2);
    cupping.run(&["publish"]).code(2);
    cupping.run(&["similar", "x", "--output", "csv"]).code(2);
    cupping.run(&["export", "--output", "table"]).code(2);
}

#[test]
fn an_unknown_setting_is_refused_with_the_nearest_one() {
    let cupping = Cupping::new();
    let run = cupping.run(&["check", "--set", "pipeline.bach=3"]).code(78);
    assert!(stderr(&run).contains("pipeline.batch"), "{run}");
    let file = cupping.file("wrong.toml", "[pipeline]\nconcurency = 3\n");
    let run = cupping.run(&["check", "-c", &file]).code(78);
    assert!(stderr(&run).contains("pipeline.concurrency"), "{run}");
    assert!(stderr(&run).contains("wrong.toml"), "{run}");
}

#[test]
fn settings_before_and_after_the_verb_all_count() {
    let cupping = Cupping::new();
    let arguments = ["--set", "retry.max_retries=3", "config", "show", "--set", "pipeline.batch=7"];
    let text = stdout(&cupping.run(&arguments).success());
    assert!(text.contains("max_retries = 3") && text.contains("batch = 7"), "{text}");
}

#[test]
fn config_show_hides_secrets_and_tells_origins() {
    let cupping = Cupping::new();
    let mut command = cupping.command();
    command
        .env("CUPPING__DATABASE__URL", "postgres://who:hunter2@db.example/cat")
        .env("CUPPING__TRANSPORT__URL", "amqp://who:hunter3@mq.example/");
    let run = command.args(["config", "show"]).assert().success();
    let text = stdout(&run);
    assert!(text.contains("db.example") && text.contains("***"), "{text}");
    assert!(!text.contains("hunter"), "{text}");
    assert!(text.contains("CUPPING__DATABASE__URL"), "{text}");
    let mut command = cupping.command();
    command.env("CUPPING__DATABASE__URL", "postgres://who:hunter2@db.example/cat");
    let run = command.args(["config", "show", "--output", "json"]).assert().success();
    assert!(!stdout(&run).contains("hunter"), "{run}");
}

#[test]
fn config_init_writes_a_file_that_is_accepted_and_not_overwritten() {
    let cupping = Cupping::new();
    cupping.run(&["config", "init"]).success();
    cupping.run(&["config", "show"]).success();
    let run = cupping.run(&["config", "init"]).code(1);
    assert!(stderr(&run).contains("--force"), "{run}");
    cupping.run(&["config", "init", "--force"]).success();
    assert!(stdout(&cupping.run(&["config", "init", "-"]).success()).contains("[pipeline]"));
}

#[test]
fn a_service_out_of_reach_ends_with_69_and_says_which() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nowhere = format!("127.0.0.1:{}", port.local_addr().expect("bound").port());
    drop(port);
    let cupping = Cupping::new();
    let database = format!("database.url=postgres://u:pw@{nowhere}/none");
    let broker = format!("transport.url=amqp://u:pw@{nowhere}/");
    let quick = ["--set", "transport.amqp.connect_timeout=1s"];
    let patience = ["--set", "database.acquire_timeout=1s"];
    let mut arguments = vec!["publish", "x", "--set", &database, "--set", &broker];
    arguments.extend(quick.iter().chain(&patience));
    let run = cupping.run(&arguments).code(69);
    assert!(stderr(&run).contains(&nowhere), "{run}");
    assert!(!stderr(&run).contains("pw@"), "{run}");
    for verb in ["export", "check"] {
        let mut arguments = vec![verb, "--set", &database];
        arguments.extend(patience);
        cupping.run(&arguments).code(69);
    }
}

#[test]
fn check_changes_nothing_and_finds_an_embedded_database_fit() {
    let cupping = Cupping::new();
    cupping.run(&["check", "--set", "admin.enabled=false"]).success();
    assert!(!cupping.path("cupping-data").exists(), "check created the data directory");
    cupping.run(&["migrate"]).success();
    let run = cupping.run(&["check", "--set", "admin.enabled=false"]).success();
    assert!(stdout(&run).contains("0 problems"), "{run}");
    let again = cupping.run(&["migrate"]).success();
    assert!(stdout(&again).contains("up to date"), "{again}");
}

#[test]
fn beans_named_in_the_readme_and_the_help_are_in_the_sample() {
    let cupping = Cupping::new();
    let help = stdout(&cupping.run(&["similar", "--help"]).success());
    let readme = include_str!("../../README.md");
    let sample = include_str!("../../assets/sample/catalogue.jsonl");
    for text in [help.as_str(), readme] {
        let named = text.split("cupping similar \"").nth(1).expect("it shows the command");
        let name = named.split('"').next().expect("a quoted name");
        assert!(sample.contains(&format!("\"name\": \"{name}\"")), "{name}");
    }
}

#[test]
fn completions_and_manual_pages_are_made() {
    let cupping = Cupping::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = stdout(&cupping.run(&["completions", shell]).success());
        assert!(script.contains("recompute"), "{shell}");
    }
    assert!(stdout(&cupping.run(&["man"]).success()).contains(".TH cupping 1"));
    cupping.run(&["man", "--to", "pages"]).success();
    assert!(cupping.path("pages/cupping-recompute.1").exists());
    assert!(stdout(&cupping.run(&["migrate", "--roles"]).success()).contains("cupping_worker"));
}
