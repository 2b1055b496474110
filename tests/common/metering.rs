//! The metrics of one test, apart from those of every other.
//!
//! Works on a current-thread runtime (the default of `#[tokio::test]`), where every task runs on
//! the thread whose recorder is set here.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

/// Runs before the test's runtime has started anything that counts; the value must be kept.
pub fn recorder() -> &'static PrometheusRecorder {
    Box::leak(Box::new(PrometheusBuilder::new().build_recorder()))
}

/// The value of the series whose line starts with `name` and has every one of `labels`.
pub fn value(recorder: &PrometheusRecorder, name: &str, labels: &[&str]) -> f64 {
    let text = recorder.handle().render();
    let line = text.lines().find(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    });
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
}
