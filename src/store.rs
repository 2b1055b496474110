//! Where beans and lists live: the ports, and what crosses them.
//!
//! Decides: what a store must promise. Never does: score, or settle messages.

use crate::domain::bean::{Bean, BeanId};
use crate::domain::dimension::Taxonomy;
use crate::domain::ranking::SimilarList;
use crate::index::BeanChange;
use crate::txn::ticket::Ticket;
use async_trait::async_trait;
use std::fmt;
use std::time::Duration;

mod batch;
pub mod error;
pub mod import;
pub mod mapping;
pub mod postgres;
mod rows;
pub mod settings;
pub mod sqlite;
mod statements;
mod streaming;

pub use error::StoreError;
pub use settings::StoreSettings;

/// A point in the change log: what a reader has seen. Opaque; only the store that made it reads it.
///
/// PostgreSQL: the text of a `pg_snapshot`. SQLite: the last sequence number. Empty where there
/// is no log (`catalogue.refresh = "reload"`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogMark(pub String);

/// A piece of a catalogue being read.
#[derive(Debug)]
pub enum Loading {
    /// The taxonomies; always first, once.
    Taxonomy(Taxonomy),
    /// One bean.
    Bean(Bean),
}

/// Why the whole catalogue must be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReloadReason {
    /// A taxonomy table changed: expansions of any bean may have.
    TaxonomyChanged,
    /// The log no longer reaches back to the reader's mark.
    Pruned,
    /// There is no log: changes are found by reloading on an interval.
    NoLog,
}

/// What changed since a mark.
#[derive(Debug)]
pub struct Changes {
    /// The new mark: everything below is seen once these changes are applied.
    pub mark: LogMark,
    /// The changed beans, reloaded in the same snapshot as the log; each at most once.
    pub beans: Vec<BeanChange>,
    /// Set when changes cannot be told bean by bean; then `beans` is empty.
    pub reload: Option<ReloadReason>,
}

/// The catalogue, read-only.
#[async_trait]
pub trait Catalogue: Send + Sync {
    /// Streams the taxonomies, then every bean, from one snapshot; returns that snapshot's mark.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    async fn load(&self, sink: &mut (dyn FnMut(Loading) + Send)) -> Result<LogMark, StoreError>;

    /// Everything visible now that was not visible at the mark.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    async fn changes(&self, since: &LogMark) -> Result<Changes, StoreError>;

    /// Beans by id; those that do not exist are left out.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read, or an id is impossible for its type.
    async fn beans(&self, ids: &[BeanId]) -> Result<Vec<Bean>, StoreError>;

    /// A page of ids in the database's own stable order, after the given one; fewer than `limit`
    /// on the last page.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    async fn ids(&self, after: Option<&BeanId>, limit: usize) -> Result<Vec<BeanId>, StoreError>;

    /// How many beans there are.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    async fn count(&self) -> Result<u64, StoreError>;

    /// Whether a bean can have this id in this catalogue (a uuid column holds only UUIDs).
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    fn accepts(&self, id: &BeanId) -> Result<(), String>;
}

/// One source's new list, to be written.
#[derive(Debug, Clone)]
pub struct WriteItem {
    /// The bean whose rows these are.
    pub source: BeanId,
    /// Its list; empty for a bean that is gone.
    pub list: SimilarList,
    /// Statements to execute in the same transaction if, and only if, this source is committed
    /// (written or unchanged): the settlement of its messages in the SQL modes.
    pub tickets: Vec<Ticket>,
}

/// A batch for one transaction.
#[derive(Debug, Clone)]
pub struct WriteBatch {
    /// The sources, each once.
    pub items: Vec<WriteItem>,
    /// The mark of the snapshot that the lists were computed from.
    pub computed_at: LogMark,
}

/// Beans that the span of a batch names, at most.
const NAMED_BEANS: usize = 8;

impl WriteBatch {
    /// The span of its transaction: a deadlock, a retry or a defeat in it is logged with the beans
    /// it struck. An error's span, so that it is there however little is logged.
    pub(crate) fn span(&self) -> tracing::Span {
        let (ids, count) = (Named(&self.items), self.items.len());
        tracing::error_span!("write", bean.ids = %ids, bean.count = count)
    }
}

/// The first ids of a batch.
struct Named<'a>(&'a [WriteItem]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().take(NAMED_BEANS).enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{}", item.source.as_str())?;
        }
        if self.0.len() > NAMED_BEANS { f.write_str(",…") } else { Ok(()) }
    }
}

/// What became of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Rows were deleted and inserted.
    Written {
        /// Rows deleted.
        deleted: u64,
        /// Rows inserted.
        inserted: u64,
    },
    /// The stored rows were equal already; nothing was written.
    Unchanged,
    /// The bean changed after the snapshot; nothing was written, run it again.
    Outdated,
}

/// What a committed batch did: one outcome an item, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteReport {
    /// `outcomes[i]` belongs to `items[i]`.
    pub outcomes: Vec<WriteOutcome>,
    /// Tickets of committed sources that were void: by then somebody else held their rows, or
    /// nobody. Those messages were not settled.
    pub void: Vec<Ticket>,
}

/// Whether the service's own state belongs to this database and these settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateCheck {
    /// It does.
    Same,
    /// There was none; it has been set up.
    Fresh,
    /// It did not (a restored database, changed weights): it has been reset; a recompute of
    /// everything is due. The text says why.
    Reset(String),
}

/// The lists.
#[async_trait]
pub trait SimilarityStore: Send + Sync {
    /// Writes a batch in one short transaction, by the write protocol.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing of the batch was written (or, `OutcomeUnknown`, perhaps all).
    async fn write(&self, batch: WriteBatch) -> Result<WriteReport, StoreError>;

    /// The stored list of a source, best first.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    async fn list(&self, source: &BeanId) -> Result<SimilarList, StoreError>;

    /// Streams every stored list in a stable order of sources.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    async fn lists(
        &self,
        sink: &mut (dyn FnMut(BeanId, SimilarList) + Send),
    ) -> Result<(), StoreError>;

    /// Compares our state with the database and the settings' fingerprint, and sets it.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read or written.
    async fn open_state(&self, fingerprint: &str) -> Result<StateCheck, StoreError>;

    /// A small named value of ours (the progress of a recompute); `None` when unset.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    async fn note(&self, name: &str) -> Result<Option<String>, StoreError>;

    /// Sets or (with `None`) removes a named value.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    async fn set_note(&self, name: &str, value: Option<&str>) -> Result<(), StoreError>;

    /// Removes change-log rows older than `keep` and moves the pruning mark.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    async fn prune_log(&self, keep: Duration) -> Result<u64, StoreError>;

    /// Answers when the database answers: the readiness probe.
    ///
    /// # Errors
    /// [`StoreError`] when it does not.
    async fn probe(&self) -> Result<(), StoreError>;

    /// Pool numbers for the gauge: (in use, idle).
    fn pool(&self) -> (u32, u32);
}

/// Everything a database offers; implemented by `postgres::PostgresStore`, `sqlite::SqliteStore`.
pub trait Store: Catalogue + SimilarityStore {}
impl<T: Catalogue + SimilarityStore> Store for T {}

/// How serious a finding of a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// All is well.
    Ok,
    /// It works, but should be looked at.
    Warning,
    /// It does not work.
    Problem,
}

/// One line of `cupping check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, such as `catalogue.dimensions.regions.join_table`.
    pub subject: String,
    /// How serious it is.
    pub severity: Severity,
    /// What was found, what it means, what to do.
    pub message: String,
}
