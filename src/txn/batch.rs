//! Batches: many items, one transaction a chunk, and the bad ones found.
//!
//! Decides: which failures divide a chunk (those of its data), which leave it whole (conflicts,
//! time) and which end the batch (an outage, an unknown outcome). Never does: count an item that
//! was not committed; retry (each chunk is a unit, which does that by itself).

use super::body::BodyFuture;
use super::dialect::Dialect;
use super::error::TxnError;
use super::options::TxnOptions;
use super::transaction::Tx;
use super::transactor::Transactor;
use crate::resilience::retryability::{Reason, Retryability};
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

mod report;

pub use report::{BatchReport, FailedItem, Stopped};

/// How a batch is to be run.
///
/// ```
/// use cupping::txn::Batch;
/// use std::time::Duration;
///
/// let batch = Batch { chunk: 50, deadline: Some(Duration::from_secs(600)), ..Batch::default() };
/// assert_eq!(batch.options.attempts, 3);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Items in one transaction, at least one.
    pub chunk: usize,
    /// Longest the whole batch may take; what is not tried by then is reported as such.
    pub deadline: Option<Duration>,
    /// How each chunk's transaction is run.
    pub options: TxnOptions,
}

impl Default for Batch {
    fn default() -> Self {
        Self { chunk: 100, deadline: None, options: TxnOptions::default() }
    }
}

/// The items of one transaction, in the order in which they were given. Cheap to clone.
///
/// ```
/// use cupping::txn::Chunk;
///
/// fn total(items: &Chunk<u64>) -> u64 {
///     items.iter().sum()
/// }
/// ```
#[derive(Debug)]
pub struct Chunk<I> {
    items: Arc<[I]>,
    range: Range<usize>,
}

impl<I> Clone for Chunk<I> {
    fn clone(&self) -> Self {
        Self { items: Arc::clone(&self.items), range: self.range.clone() }
    }
}

impl<I> Deref for Chunk<I> {
    type Target = [I];

    fn deref(&self) -> &[I] {
        &self.items[self.range.clone()]
    }
}

/// Says what a closure is, so that it can be named before it is run. Used by [`crate::txn::work`].
#[doc(hidden)]
pub fn typed<DB, I, F>(body: F) -> F
where
    DB: Dialect,
    F: for<'t> Fn(&'t mut Tx<DB>, Chunk<I>) -> BodyFuture<'t, ()> + Send + Sync + 'static,
{
    body
}

/// What a chunk's failure means for the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Some of its items are bad: find out which.
    Divide,
    /// Its items are not to blame: they have failed, and the next chunk may do better.
    GoOn,
    /// No chunk would do better.
    Stop,
}

fn next(error: &TxnError) -> Next {
    match error {
        TxnError::OutcomeUnknown { .. }
        | TxnError::Refused { .. }
        | TxnError::BudgetSpent { .. }
        | TxnError::GateBusy { .. }
        | TxnError::Nested { .. } => return Next::Stop,
        _ => {}
    }
    match error.retryability() {
        Retryability::Permanent => Next::Divide,
        Retryability::OutcomeUnknown => Next::Stop,
        Retryability::Transient(Reason::Connection | Reason::Overload | Reason::Shutdown) => {
            Next::Stop
        }
        Retryability::Transient(_) => Next::GoOn,
    }
}

/// A batch under way.
struct Run<'b, I> {
    items: Arc<[I]>,
    /// What is still to be tried; the next is the last.
    ranges: Vec<Range<usize>>,
    batch: &'b Batch,
    until: Option<Instant>,
    attempts: Arc<AtomicU64>,
    report: BatchReport<I>,
}

impl<DB: Dialect> Transactor<DB> {
    /// Runs `body` on all items, a chunk at a time, each chunk in a transaction of its own.
    ///
    /// A chunk that fails by its data (a broken constraint, an error or a panic of the body, an
    /// error that the body swallowed) is divided in two until the bad items are alone; they are
    /// reported, the others written. A chunk that fails by conflicts although its unit has tried
    /// again, or by time, is reported whole, and the batch goes on. An outage ends the batch, and
    /// so does an outcome that is not known.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use cupping::txn::{Batch, Transactor, work};
    ///
    /// # let memory = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    /// # let pool = memory.connect("sqlite::memory:").await?;
    /// # sqlx::raw_sql("CREATE TABLE member (name TEXT UNIQUE)").execute(&pool).await?;
    /// let names = ["ada", "grace", "ada", "mary"].map(str::to_owned).to_vec();
    /// let report = Transactor::new(pool)
    ///     .run_batch("sync_members", &Batch::default(), names, work!(|tx, names| {
    ///         for name in names.iter() {
    ///             let insert = sqlx::query("INSERT INTO member VALUES (?)").bind(name.clone());
    ///             tx.execute(insert).await?;
    ///         }
    ///         Ok(())
    ///     }))
    ///     .await;
    /// assert_eq!(report.processed, 3);
    /// let failed = &report.failed[0];
    /// assert_eq!((failed.index, failed.item.as_str()), (2, "ada"));
    /// println!("{}: {}", failed.item, failed.error);
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sqlite"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Hazards
    /// The body sees a different set of items each time that a chunk is divided, and may run
    /// several times on each. Chunks are committed one by one: a batch that ends early has written
    /// what it reports as processed.
    ///
    /// Chunks run one after the other. Two batches at once may deadlock with one another as any two
    /// transactions may, unless the body locks first what it changes: [`Tx::lock_rows`].
    pub async fn run_batch<I, F>(
        &self,
        name: &'static str,
        batch: &Batch,
        items: Vec<I>,
        body: F,
    ) -> BatchReport<I>
    where
        I: Clone + Send + Sync + 'static,
        F: for<'t> Fn(&'t mut Tx<DB>, Chunk<I>) -> BodyFuture<'t, ()> + Send + Sync + 'static,
    {
        let mut run = Run::new(items.into(), batch);
        let body = Arc::new(body);
        while let Some(range) = run.ranges.pop() {
            let Some(options) = run.options() else {
                run.stop(range, Stopped::deadline());
                break;
            };
            let chunk = Chunk { items: Arc::clone(&run.items), range: range.clone() };
            let (body, attempts) = (Arc::clone(&body), Arc::clone(&run.attempts));
            let unit = super::body::typed::<DB, _, _>(move |tx| {
                attempts.fetch_add(1, Ordering::Relaxed);
                body(tx, chunk.clone())
            });
            match self.run(name, &options, unit).await {
                Ok(()) => run.committed(&range),
                Err(error) => match next(&error) {
                    Next::Divide if range.len() > 1 => run.divide(&range),
                    Next::Divide | Next::GoOn => run.failed(range, error),
                    Next::Stop => run.stop(range, Stopped::by(error)),
                },
            }
        }
        run.report.attempts = run.attempts.load(Ordering::Relaxed);
        run.report
    }
}

impl<'b, I: Clone> Run<'b, I> {
    fn new(items: Arc<[I]>, batch: &'b Batch) -> Self {
        let (all, chunk) = (items.len(), batch.chunk.max(1));
        let starts = (0..all).step_by(chunk).rev();
        Self {
            ranges: starts.map(|start| start..(start + chunk).min(all)).collect(),
            until: batch.deadline.map(|deadline| Instant::now() + deadline),
            attempts: Arc::default(),
            report: BatchReport::default(),
            items,
            batch,
        }
    }

    /// How the next chunk is to be run; `None` when there is no time left.
    fn options(&self) -> Option<TxnOptions> {
        let mut options = self.batch.options.clone();
        if let Some(until) = self.until {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            options.deadline = options.deadline.min(left);
        }
        Some(options)
    }

    fn committed(&mut self, range: &Range<usize>) {
        self.report.processed += range.len();
        self.report.transactions += 1;
    }

    /// The first half comes first, so that items are tried in their order.
    fn divide(&mut self, range: &Range<usize>) {
        let middle = range.start + range.len() / 2;
        self.ranges.push(middle..range.end);
        self.ranges.push(range.start..middle);
    }

    fn failed(&mut self, range: Range<usize>, error: TxnError) {
        let error = Arc::new(error);
        self.report.failed.extend(range.map(|index| FailedItem {
            index,
            item: self.items[index].clone(),
            error: Arc::clone(&error),
        }));
    }

    /// The chunk at which it stopped, and all that was to come.
    fn stop(&mut self, range: Range<usize>, mut stopped: Stopped<I>) {
        let items = |range: Range<usize>| self.items[range].to_vec();
        if matches!(stopped.error, Some(TxnError::OutcomeUnknown { .. })) {
            stopped.unknown = items(range);
        } else {
            stopped.not_tried = items(range);
        }
        while let Some(range) = self.ranges.pop() {
            stopped.not_tried.extend(items(range));
        }
        self.report.stopped = Some(stopped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_all_items_in_order_and_so_do_halves() {
        let batch = Batch { chunk: 4, ..Batch::default() };
        let mut run = Run::new((0..10).collect::<Vec<_>>().into(), &batch);
        let first = run.ranges.pop().expect("there are items");
        run.divide(&first);
        let order: Vec<_> = std::iter::from_fn(|| run.ranges.pop()).collect();
        assert_eq!(order, [0..2, 2..4, 4..8, 8..10]);
    }

    #[test]
    fn only_the_data_divides_and_only_an_outage_stops() {
        let name = "n";
        let exhausted = |reason| TxnError::Exhausted {
            name,
            attempts: 3,
            reason,
            source: Arc::new(sqlx::Error::RowNotFound),
        };
        assert_eq!(next(&TxnError::Panicked { name }), Next::Divide);
        assert_eq!(next(&TxnError::Body { name, source: "bad".into() }), Next::Divide);
        assert_eq!(next(&exhausted(Reason::Deadlock)), Next::GoOn);
        assert_eq!(next(&TxnError::Timeout { name, after: Duration::ZERO }), Next::GoOn);
        assert_eq!(next(&exhausted(Reason::Connection)), Next::Stop);
        let unknown = TxnError::OutcomeUnknown { name, reason: "lost".into() };
        assert_eq!(next(&unknown), Next::Stop);
        assert_eq!(next(&TxnError::Nested { name, outer: name }), Next::Stop);
    }
}
