//! Many workers at once, measured: what surfaced, how long each operation took, how many a second.
//!
//! Decides: what the columns of a before/after table mean. Never does: know what is contended for.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Barrier;

/// What one form of a program did under contention.
pub struct Measured {
    /// The form's name: `before`, `after`, or a remedy.
    pub form: String,
    /// Operations asked for.
    pub operations: usize,
    /// The errors that reached a caller.
    pub errors: Vec<String>,
    /// Deadlocks by the server's own counter.
    pub deadlocks: i64,
    /// How long each operation took, failed ones too, ascending.
    pub latencies: Vec<Duration>,
    /// From the first operation's start to the last one's end.
    pub wall: Duration,
    /// What else is worth a line: a name and a value.
    pub notes: Vec<(String, String)>,
}

impl Measured {
    /// Mean duration of an operation.
    pub fn mean(&self) -> Duration {
        let operations = u32::try_from(self.latencies.len()).unwrap_or(u32::MAX).max(1);
        self.latencies.iter().sum::<Duration>() / operations
    }

    /// The duration that a share of the operations did not exceed.
    pub fn percentile(&self, share: f64) -> Duration {
        let rank = (self.latencies.len() as f64 * share).ceil() as usize;
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get(rank.saturating_sub(1).min(last)).copied().unwrap_or_default()
    }

    /// Operations that succeeded, a second.
    pub fn throughput(&self) -> f64 {
        (self.operations - self.errors.len()) as f64 / self.wall.as_secs_f64().max(1e-9)
    }

    /// With a line of its own below the table.
    #[allow(dead_code, reason = "not every example has a note")]
    pub fn note(mut self, name: &str, value: impl ToString) -> Self {
        self.notes.push((name.to_owned(), value.to_string()));
        self
    }
}

/// Starts `workers` tasks together; each does `each` operations one after the other. An operation
/// is given the numbers of its worker and of itself, and says what surfaced as an error.
#[allow(dead_code, reason = "examples use this or `contend_while`")]
pub async fn contend<F, Fut>(form: &str, workers: usize, each: usize, operation: F) -> Measured
where
    F: Fn(usize, usize) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), String>> + Send,
{
    let counted = move |worker, number| {
        let operation = operation.clone();
        async move {
            if number == each {
                return Ok(false);
            }
            operation(worker, number).await.map(|()| true)
        }
    };
    contend_while(form, workers, counted).await
}

/// As [`contend`], until a worker's operation says that nothing is left (`false`), which is not
/// counted.
pub async fn contend_while<F, Fut>(form: &str, workers: usize, operation: F) -> Measured
where
    F: Fn(usize, usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<bool, String>> + Send,
{
    let start = Arc::new(Barrier::new(workers));
    let tasks: Vec<_> = (0..workers)
        .map(|worker| {
            let (start, operation) = (Arc::clone(&start), operation.clone());
            tokio::spawn(async move {
                start.wait().await;
                let mut done = Vec::new();
                loop {
                    let started = Instant::now();
                    let result = operation(worker, done.len()).await;
                    if result == Ok(false) {
                        return done;
                    }
                    done.push((started, Instant::now(), result));
                }
            })
        })
        .collect();
    let mut done = Vec::new();
    for task in tasks {
        done.extend(task.await.expect("an operation reports its failure, it does not panic"));
    }
    let first = done.iter().map(|(started, ..)| *started).min();
    let last = done.iter().map(|(_, ended, _)| *ended).max();
    let mut latencies: Vec<Duration> = done.iter().map(|(from, to, _)| *to - *from).collect();
    latencies.sort_unstable();
    Measured {
        form: form.to_owned(),
        operations: done.len(),
        errors: done.into_iter().filter_map(|(.., result)| result.err()).collect(),
        deadlocks: 0,
        latencies,
        wall: first.zip(last).map(|(from, to)| to - from).unwrap_or_default(),
        notes: Vec::new(),
    }
}
