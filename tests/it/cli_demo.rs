//! `cupping demo`: the first contact, as a person has it.

use crate::support::command::{Cupping, json, stdout};
use serde_json::Value;

#[test]
fn a_second_demo_recomputes_nothing_and_says_so() {
    let cupping = Cupping::new();
    let first = cupping.run(&["demo"]).success();
    let text = stdout(&first);
    for part in ["sample coffees", "messages", "processed", "coalesced", "retried", "failed"] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    for part in ["0 deadlocks", "p50", "p99", "beans/s", "Similar to", "weight", "Try next"] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    let second = stdout(&cupping.run(&["demo"]).success());
    assert!(second.contains("nothing to do"), "{second}");
    assert!(second.contains("0 new, 0 changed"), "{second}");
    assert!(second.contains("Similar to"), "{second}");
}

#[test]
fn the_demo_fits_80_columns_and_prints_no_colour_and_no_log_off_a_terminal() {
    let cupping = Cupping::new();
    let run = cupping.run(&["demo"]).success();
    for line in stdout(&run).lines() {
        assert!(line.chars().count() <= 80 || line.contains("--data-dir"), "too long: {line}");
        assert!(!line.contains('\u{1b}'), "an escape sequence: {line:?}");
    }
    let errors = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert_eq!(errors, "", "stderr is for what needs attention");
}

#[test]
fn the_commands_the_demo_offers_work() {
    let cupping = Cupping::new();
    let text = stdout(&cupping.run(&["demo"]).success());
    let offered: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("  cupping ")).collect();
    assert!(offered.len() >= 3, "{text}");
    for line in offered {
        let line = line.split(['|', '#']).next().unwrap_or_default().trim();
        cupping.run(&words(line)).success();
    }
}

#[test]
fn the_demo_as_json_counts_every_bean_once() {
    let cupping = Cupping::new();
    let report: Value = json(&cupping.run(&["demo", "--output", "json"]).success());
    assert_eq!(report["published"], report["created"]);
    assert_eq!(report["processed"], report["created"]);
    assert_eq!(report["failed"], 0);
    assert_eq!(report["deadlocks"], 0);
    assert!(report["created"].as_u64().is_some_and(|n| n >= 200), "{report}");
    let explained = &report["coffees"][0]["similar"][0]["explanation"]["dimensions"];
    assert!(explained.as_array().is_some_and(|all| !all.is_empty()), "{report}");
}

#[test]
fn the_demo_does_not_mind_a_taken_admin_port() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let cupping = Cupping::new();
    cupping.run(&["demo", "--set", &format!("admin.listen={address}")]).success();
}

/// Splits a command line; double quotes keep words together.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (at, piece) in line.split('"').enumerate() {
        if at % 2 == 1 {
            words.push(piece);
        } else {
            words.extend(piece.split_whitespace());
        }
    }
    words
}
