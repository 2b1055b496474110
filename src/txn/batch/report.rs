//! What became of a batch.
//!
//! Decides: that every item is in one place: processed, failed, unknown or not tried.
//! Never does: run anything.

use crate::txn::error::TxnError;
use std::sync::Arc;

/// What became of a batch: each item is counted once.
///
/// ```
/// use cupping::txn::BatchReport;
///
/// fn tell(report: &BatchReport<u64>) -> String {
///     format!("{} written, {} failed", report.processed, report.failed.len())
/// }
/// assert_eq!(tell(&BatchReport::default()), "0 written, 0 failed");
/// ```
#[derive(Debug)]
#[must_use]
pub struct BatchReport<I> {
    /// Items that are committed.
    pub processed: usize,
    /// Items that are not, and why; in the order of the items.
    pub failed: Vec<FailedItem<I>>,
    /// How often the body was run, on whatever part.
    pub attempts: u64,
    /// Transactions committed.
    pub transactions: u64,
    /// Why the batch ended before its end, if it did.
    pub stopped: Option<Stopped<I>>,
}

impl<I> Default for BatchReport<I> {
    fn default() -> Self {
        Self { processed: 0, failed: Vec::new(), attempts: 0, transactions: 0, stopped: None }
    }
}

impl<I> BatchReport<I> {
    /// Whether every item is committed.
    ///
    /// ```
    /// use cupping::txn::BatchReport;
    ///
    /// assert!(BatchReport::<u64>::default().is_complete());
    /// ```
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.stopped.is_none()
    }
}

/// An item that was not written; see [`BatchReport::failed`].
///
/// ```
/// use cupping::txn::FailedItem;
///
/// fn tell(failed: &FailedItem<String>) -> String {
///     format!("line {}: {}: {}", failed.index + 1, failed.item, failed.error)
/// }
/// # let _: fn(&FailedItem<String>) -> String = tell;
/// ```
#[derive(Debug, Clone)]
pub struct FailedItem<I> {
    /// Its place among the items, from 0.
    pub index: usize,
    /// It.
    pub item: I,
    /// Why; shared by the items of a chunk that failed whole.
    pub error: Arc<TxnError>,
}

/// Why a batch ended early, and what it left; see [`BatchReport::stopped`].
///
/// ```
/// use cupping::txn::Stopped;
///
/// /// What is to be given to the next batch: not what may be written already.
/// fn rest(stopped: Stopped<String>) -> Vec<String> {
///     for item in &stopped.unknown {
///         tracing::warn!(item, "look whether it is written");
///     }
///     stopped.not_tried
/// }
/// # let _: fn(Stopped<String>) -> Vec<String> = rest;
/// ```
#[derive(Debug)]
pub struct Stopped<I> {
    /// The failure that ended it; `None` when its own deadline passed.
    pub error: Option<TxnError>,
    /// Items of which it is not known whether they are committed.
    pub unknown: Vec<I>,
    /// Items that are certainly not written: those of the chunk that failed, and all after it.
    pub not_tried: Vec<I>,
}

impl<I> Stopped<I> {
    pub(super) fn by(error: TxnError) -> Self {
        Self { error: Some(error), unknown: Vec::new(), not_tried: Vec::new() }
    }

    pub(super) fn deadline() -> Self {
        Self { error: None, unknown: Vec::new(), not_tried: Vec::new() }
    }
}
