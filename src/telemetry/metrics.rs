//! The metrics recorder: Prometheus text on demand.
//!
//! Decides: buckets, zero values at start, upkeep. Never does: listen (see `admin`).

use super::catalogue::{self, Kind, Metric};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Upper bounds of the histograms, seconds: from a scored bean (fractions of a millisecond) to a
/// message that waited for an outage to pass.
pub const BUCKETS: [f64; 18] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 60.0, 600.0,
];

/// Upper bounds of the attempts of a unit of work.
const ATTEMPTS: [f64; 6] = [1.0, 2.0, 3.0, 5.0, 10.0, 20.0];

/// How often histograms are folded and process numbers are read.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why metrics cannot be recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// Another recorder is installed in this process.
    #[error("the metrics recorder cannot be installed: {0}; a process has one recorder")]
    Install(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The buckets are not accepted.
    #[error("the buckets of the histograms are refused")]
    Buckets(#[source] BuildError),
}

/// Counts log lines that were dropped; filled in by the log writer's own counter.
pub type DroppedLines = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The numbers of this process. Cheap to clone.
#[derive(Clone)]
pub struct MetricsHandle {
    handle: PrometheusHandle,
    process: metrics_process::Collector,
    dropped_lines: Option<DroppedLines>,
    dropped_seen: Arc<AtomicU64>,
}

impl std::fmt::Debug for MetricsHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MetricsHandle")
    }
}

/// A recorder with our buckets, every metric described and its known series at zero.
///
/// # Errors
/// [`MetricsError::Buckets`] when they are refused.
pub fn recorder() -> Result<PrometheusRecorder, MetricsError> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS)
        .map_err(MetricsError::Buckets)?
        .set_buckets_for_metric(Matcher::Suffix("_attempts".into()), &ATTEMPTS)
        .map_err(MetricsError::Buckets)?
        .build_recorder();
    metrics::with_local_recorder(&recorder, || {
        catalogue::metrics().iter().for_each(register);
        metrics_process::Collector::default().describe();
        gauge!("cupping_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    });
    Ok(recorder)
}

fn register(metric: &Metric) {
    match metric.kind {
        Kind::Counter => describe_counter!(metric.name, metric.help),
        Kind::Gauge => describe_gauge!(metric.name, metric.help),
        Kind::Histogram => describe_histogram!(metric.name, metric.help),
    }
    for series in metric.series() {
        match metric.kind {
            Kind::Counter => counter!(metric.name, &series).increment(0),
            Kind::Gauge => gauge!(metric.name, &series).increment(0.0),
            Kind::Histogram => zero_histogram(metric.name, &series),
        }
    }
}

/// Registers the series without an observation. (The exporter shows a histogram from its first
/// folding on; see [`MetricsHandle::render`].)
fn zero_histogram(name: &'static str, series: &[(&'static str, &'static str)]) {
    drop(histogram!(name, series));
}

impl MetricsHandle {
    /// Installs the recorder for the whole process and registers every metric.
    ///
    /// # Errors
    /// [`MetricsError::Install`] when the process has a recorder already.
    pub fn install(dropped_lines: Option<DroppedLines>) -> Result<Self, MetricsError> {
        let recorder = recorder()?;
        let handle = Self::of(&recorder, dropped_lines);
        metrics::set_global_recorder(recorder)
            .map_err(|error| MetricsError::Install(error.to_string().into()))?;
        Ok(handle)
    }

    /// The handle of a recorder that is not the process's own.
    #[must_use]
    pub fn of(recorder: &PrometheusRecorder, dropped_lines: Option<DroppedLines>) -> Self {
        Self {
            handle: recorder.handle(),
            process: metrics_process::Collector::default(),
            dropped_lines,
            dropped_seen: Arc::default(),
        }
    }

    /// The numbers now, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.collect();
        self.handle.render()
    }

    /// Folds histograms and reads process numbers every five seconds, until `stop`.
    pub async fn upkeep(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {
                    self.collect();
                    self.handle.run_upkeep();
                }
            }
        }
    }

    fn collect(&self) {
        self.process.collect();
        if let Some(dropped_lines) = &self.dropped_lines {
            let now = dropped_lines();
            let before = self.dropped_seen.fetch_max(now, Ordering::Relaxed);
            counter!("cupping_log_lines_dropped_total").increment(now.saturating_sub(before));
        }
    }
}

/// The value of one series in rendered text, as an operator would read it; for tests and for the
/// closing summary of a run.
#[must_use]
pub fn sample(rendered: &str, series: &str) -> Option<f64> {
    rendered.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}
