//! Timestamps of shared rows on MariaDB: ignored, retried, avoided; and the server's own report.

use crate::outcome::{Outcome, server};

const FORMS: [&str; 5] =
    ["ignore", "retry", "avoid: in order", "avoid: only if stale", "avoid: coalesced"];

#[test]
fn deadlocks_on_shared_timestamps_are_ignored_retried_or_avoided_and_none_surfaces() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let report = folder.path().join("innodb-status.txt");
    let url = server("CUPPING_TEST_MARIADB");
    let report_path = report.to_str().expect("a plain path");
    let outcome = Outcome::of("shared_timestamp", &["--mariadb", &url, "--report", report_path]);
    assert!(outcome.number("before", "deadlocks") > 0.0);
    assert!(outcome.number("before", "errors_surfaced") > 0.0);
    #[cfg(feature = "lockdep")]
    assert_ne!(outcome.note("retry", "contradicting lock orders"), "0");
    for form in FORMS {
        assert_eq!(outcome.number(form, "errors_surfaced"), 0.0, "{form}");
        assert_eq!(outcome.note(form, "touched rows not marked as seen"), "0", "{form}");
        if form.starts_with("avoid") {
            assert_eq!(outcome.number(form, "deadlocks"), 0.0, "{form}");
        }
    }
    #[cfg(feature = "service")]
    explained(&report);
}

/// `cupping deadlocks explain` on the file that the example has saved.
#[cfg(feature = "service")]
fn explained(report: &std::path::Path) {
    let arguments = ["deadlocks", "explain", "--format", "json"];
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_cupping"));
    let run = command.args(arguments).arg(report).assert().success();
    let told: serde_json::Value =
        serde_json::from_slice(&run.get_output().stdout).expect("JSON on stdout");
    let deadlock = &told["deadlocks"][0];
    assert_eq!(told["reports"], 1, "{told:#}");
    assert!(deadlock["nodes"].as_array().is_some_and(|nodes| nodes.len() >= 2), "{told:#}");
    assert!(deadlock["victim"].is_string(), "{told:#}");
    let advice = deadlock["advice"].as_str().expect("advice");
    assert!(advice.contains("order"), "{advice}");
}
