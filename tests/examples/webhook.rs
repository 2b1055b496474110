//! The webhook that is delivered several times has its effect once.

use crate::outcome::{binary, server};
use std::process::Command;

#[test]
fn a_webhook_delivered_several_times_at_once_is_paid_once() {
    let redis = server("CUPPING_TEST_REDIS");
    let output = Command::new(binary("webhook")).args(["--redis", &redis]).output();
    let output = output.expect("the example starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.matches(": paid, receipt 1").count(), 1, "{text}");
    assert_eq!(text.matches(": paid before, receipt 1").count(), 7, "{text}");
    assert!(text.contains("another body: refused"), "{text}");
}
