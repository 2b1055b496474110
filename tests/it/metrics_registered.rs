//! Numbers: what is registered at start, what is documented, what the code counts, all the same.

use cupping::telemetry::catalogue::{self, Kind};
use cupping::telemetry::metrics::{BUCKETS, MetricsHandle, recorder, sample};
use cupping::telemetry::{events, metrics};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn rendered(count: impl FnOnce()) -> String {
    let recorder = recorder().expect("the buckets are valid");
    let handle = MetricsHandle::of(&recorder, None);
    ::metrics::with_local_recorder(&recorder, || {
        count();
        handle.render()
    })
}

#[test]
fn every_known_series_is_there_with_zero_before_anything_happens() {
    let text = rendered(|| {});
    for metric in catalogue::metrics() {
        let kind = metric.kind.name();
        assert!(text.contains(&format!("# TYPE {} {kind}\n", metric.name)), "{}", metric.name);
        assert!(text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)), "{text}");
        for series in metric.series() {
            let pairs: Vec<String> = series.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect();
            let labels = match pairs.is_empty() {
                true => String::new(),
                false => format!("{{{}}}", pairs.join(",")),
            };
            let (suffix, expected) = match (metric.kind, metric.name) {
                (Kind::Histogram, _) => ("_count", 0.0),
                (_, "cupping_build_info") => ("", 1.0),
                _ => ("", 0.0),
            };
            let name = format!("{}{suffix}{labels}", metric.name);
            assert_eq!(sample(&text, &name), Some(expected), "{name} in\n{text}");
        }
    }
}

#[test]
fn events_count_under_the_registered_names() {
    let text = rendered(|| {
        events::message_received("BeanCreated");
        events::message_settled("acked");
        events::rows_written(3, 20);
        events::stage_duration("score", Duration::from_millis(3));
        events::in_flight(7, 256);
    });
    for (series, value) in [
        ("cupping_messages_received_total{kind=\"BeanCreated\"}", 1.0),
        ("cupping_messages_settled_total{outcome=\"acked\"}", 1.0),
        ("cupping_rows_written_total{op=\"insert\"}", 20.0),
        ("cupping_message_duration_seconds_bucket{stage=\"score\",le=\"0.005\"}", 1.0),
        ("cupping_message_duration_seconds_bucket{stage=\"score\",le=\"0.0025\"}", 0.0),
        ("cupping_in_flight", 7.0),
        ("cupping_concurrency_limit", 256.0),
    ] {
        assert_eq!(sample(&text, series), Some(value), "{series} in\n{text}");
    }
    assert!(BUCKETS.is_sorted());
}

#[test]
fn dropped_log_lines_are_counted_once_each() {
    let lines = Arc::new(AtomicU64::new(3));
    let recorder = recorder().expect("the buckets are valid");
    let seen = Arc::clone(&lines);
    let dropped: metrics::DroppedLines = Arc::new(move || seen.load(Ordering::Relaxed));
    let handle = MetricsHandle::of(&recorder, Some(dropped));
    ::metrics::with_local_recorder(&recorder, || {
        let counted = || sample(&handle.render(), "cupping_log_lines_dropped_total");
        assert_eq!((counted(), counted()), (Some(3.0), Some(3.0)));
        lines.store(5, Ordering::Relaxed);
        assert_eq!(counted(), Some(5.0));
    });
}

#[test]
fn the_process_has_numbers_of_its_own() {
    let text = rendered(|| {});
    assert!(sample(&text, "process_threads").is_some_and(|threads| threads >= 1.0), "{text}");
}

#[test]
fn every_metric_the_code_counts_is_registered() {
    let known: BTreeSet<&str> = catalogue::metrics().iter().map(|metric| metric.name).collect();
    let mut unknown = Vec::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    each_file(&source, &mut |path, text| {
        for name in ["counter!(\"", "gauge!(\"", "histogram!(\""]
            .iter()
            .flat_map(|call| text.split(call).skip(1))
            .filter_map(|rest| rest.split('"').next())
        {
            if !known.contains(name) {
                unknown.push(format!("{name} in {}", path.display()));
            }
        }
    });
    assert!(unknown.is_empty(), "not in telemetry::catalogue: {unknown:#?}");
}

fn each_file(dir: &Path, visit: &mut impl FnMut(&Path, &str)) {
    for entry in std::fs::read_dir(dir).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            each_file(&path, visit);
        } else {
            visit(&path, &std::fs::read_to_string(&path).expect("text"));
        }
    }
}

#[test]
fn the_documentation_lists_exactly_the_registered_metrics() {
    let docs = include_str!("../../docs/METRICS.md");
    let listed: Vec<&str> = docs.lines().filter(|line| line.starts_with("| `cupping_")).collect();
    let expected: Vec<String> = catalogue::metrics()
        .iter()
        .map(|metric| {
            let labels: Vec<String> = metric
                .labels
                .iter()
                .map(|label| {
                    let values = label.values.join(", ");
                    match (label.name, label.values.is_empty()) {
                        ("version", _) | (_, true) => format!("`{}`", label.name),
                        (name, false) => format!("`{name}`: {values}"),
                    }
                })
                .collect();
            let (name, kind) = (metric.name, metric.kind.name());
            format!("| `{name}` | {kind} | {} | {} |", labels.join("; "), metric.help)
        })
        .collect();
    assert_eq!(listed, expected, "docs/METRICS.md should have:\n{}", expected.join("\n"));
}
