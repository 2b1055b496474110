//! The handle by which tests hold lockdep.
//!
//! Decides: which transactions share a graph, and whether an inversion fails a unit. Never does:
//! look at a statement.

use super::access::Access;
use super::catalogue::Catalogue;
use super::class::Class;
use super::reading::{self, Flavour};
use super::record::Record;
use super::report::Inversion;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// How many different statements are remembered as read.
const STATEMENTS: usize = 10_000;

static INSTALLED: OnceLock<Lockdep> = OnceLock::new();

/// The one that watches every transactor without one of its own.
pub(super) fn installed() -> Option<Lockdep> {
    INSTALLED.get().cloned()
}

/// What has been read of a statement.
type Read = Result<Arc<Vec<Access>>, String>;

/// What has been read of each.
type AllRead = HashMap<(Flavour, Arc<str>), Arc<Read>>;

/// Watches the order in which transactions lock, and fails the unit whose order contradicts one
/// seen before, with [`LockOrderInversion`](crate::txn::TxnError::LockOrderInversion). Cheap to
/// clone; clones share what they have seen.
///
/// All transactors that it is given share one graph for each kind of database, because tests make a
/// fresh database each, of the same tables. Where the tables differ, use several, or
/// [`Lockdep::per_database`].
///
/// ```no_run
/// # #[cfg(feature = "postgres")]
/// # async fn example(pool: sqlx::PgPool) -> Result<(), cupping::txn::TxnError> {
/// use cupping::txn::{Lockdep, Transactor, TxnOptions, work};
///
/// let lockdep = Lockdep::new();
/// let transactor = Transactor::new(pool).with_lockdep(&lockdep);
/// transactor
///     .run("rename", &TxnOptions::default(), work!(|tx| {
///         tx.execute("UPDATE region SET name = 'a' WHERE id = 2").await?;
///         tx.execute("UPDATE region SET name = 'b' WHERE id = 1").await?;
///         Ok(())
///     }))
///     .await?;
/// lockdep.assert_clean();
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Lockdep {
    reports_only: bool,
    per_database: bool,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    records: Mutex<HashMap<(Flavour, String), Arc<Record>>>,
    catalogues: Mutex<HashMap<(Flavour, String), Arc<Catalogue>>>,
    /// Tables that no catalogue has: names for which reading again was no use.
    strange: Mutex<HashSet<Arc<str>>>,
    guarded: Mutex<HashMap<Arc<str>, Class>>,
    read: Mutex<AllRead>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept here is whole after each step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lockdep {
    /// One that has seen nothing. Example: see [`Lockdep`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Inversions are kept and logged, and fail no unit: for looking at code that is known to
    /// deadlock, and with [`Lockdep::assert_clean`] at the end.
    ///
    /// ```
    /// use cupping::txn::Lockdep;
    ///
    /// let lockdep = Lockdep::new().reporting();
    /// lockdep.assert_clean();
    /// ```
    #[must_use]
    pub fn reporting(self) -> Self {
        Self { reports_only: true, ..self }
    }

    /// Each database has a graph of its own, by its name.
    ///
    /// ```
    /// use cupping::txn::Lockdep;
    ///
    /// let lockdep = Lockdep::new().per_database();
    /// assert_eq!(lockdep.locks(), 0);
    /// ```
    #[must_use]
    pub fn per_database(self) -> Self {
        Self { per_database: true, ..self }
    }

    /// Watches every transactor of this process that has no lockdep of its own. False when there is
    /// one already, which stays.
    ///
    /// ```
    /// use cupping::txn::Lockdep;
    ///
    /// assert!(Lockdep::new().per_database().install());
    /// assert!(!Lockdep::new().install());
    /// ```
    #[must_use]
    pub fn install(&self) -> bool {
        INSTALLED.set(self.clone()).is_ok()
    }

    /// Declares that the rows of `table` are only ever locked by who holds their `guard` alone:
    /// the row that they belong to, an advisory lock over them. Then their own order does not
    /// matter, among transactions that do hold one.
    ///
    /// # Hazards
    /// It is believed: that the guard held is the guard of these very rows is not checked.
    ///
    /// ```
    /// use cupping::txn::Lockdep;
    /// use cupping::txn::lockdep::Class;
    ///
    /// let lockdep = Lockdep::new();
    /// lockdep.guarded("ticket", Class::Rows("board_column".into()));
    /// lockdep.guarded("coffee_bean_similarity", Class::Advisory(None));
    /// ```
    pub fn guarded(&self, table: &str, guard: Class) {
        locked(&self.shared.guarded).insert(table.into(), guard);
    }

    /// The inversions found so far.
    ///
    /// ```
    /// use cupping::txn::Lockdep;
    ///
    /// for inversion in Lockdep::new().inversions() {
    ///     println!("{:?}: {}", inversion.transactions, inversion.report);
    /// }
    /// ```
    #[must_use]
    pub fn inversions(&self) -> Vec<Inversion> {
        let records: Vec<Arc<Record>> = locked(&self.shared.records).values().cloned().collect();
        records.iter().flat_map(|record| record.inversions()).collect()
    }

    /// Statements that could not be read, each with the reason: what they lock is not watched.
    ///
    /// ```
    /// use cupping::txn::Lockdep;
    ///
    /// assert!(Lockdep::new().unread().is_empty());
    /// ```
    #[must_use]
    pub fn unread(&self) -> Vec<(String, String)> {
        let records: Vec<Arc<Record>> = locked(&self.shared.records).values().cloned().collect();
        records.iter().flat_map(|record| record.all_unread()).collect()
    }

    /// How many locks have been noted: zero means that nothing was watched.
    ///
    /// ```
    /// use cupping::txn::Lockdep;
    ///
    /// assert_eq!(Lockdep::new().locks(), 0);
    /// ```
    #[must_use]
    pub fn locks(&self) -> u64 {
        locked(&self.shared.records).values().map(|record| record.locks()).sum()
    }

    /// Panics with every inversion found so far.
    ///
    /// ```
    /// cupping::txn::Lockdep::new().assert_clean();
    /// ```
    ///
    /// # Panics
    /// When there is one.
    #[track_caller]
    pub fn assert_clean(&self) {
        let reports: Vec<String> = self.inversions().into_iter().map(|i| i.report).collect();
        assert!(reports.is_empty(), "lock orders are inverted:\n{}", reports.join("\n"));
    }

    pub(super) fn fails_units(&self) -> bool {
        !self.reports_only
    }

    pub(super) fn guards(&self) -> HashMap<Arc<str>, Class> {
        locked(&self.shared.guarded).clone()
    }

    pub(super) fn record(&self, flavour: Flavour, place: &str) -> Arc<Record> {
        let place = if self.per_database { place } else { "" };
        let key = (flavour, place.to_owned());
        Arc::clone(locked(&self.shared.records).entry(key).or_default())
    }

    pub(super) fn catalogue(&self, flavour: Flavour, place: &str) -> Option<Arc<Catalogue>> {
        locked(&self.shared.catalogues).get(&(flavour, place.to_owned())).cloned()
    }

    pub(super) fn learn(
        &self,
        flavour: Flavour,
        place: &str,
        catalogue: Catalogue,
    ) -> Arc<Catalogue> {
        let catalogue = Arc::new(catalogue);
        let key = (flavour, place.to_owned());
        locked(&self.shared.catalogues).insert(key, Arc::clone(&catalogue));
        catalogue
    }

    /// A table was named that the catalogue does not have: it is read again, once for each name.
    pub(super) fn forget_catalogues(&self, table: &Arc<str>) {
        if locked(&self.shared.strange).insert(Arc::clone(table)) {
            locked(&self.shared.catalogues).clear();
        }
    }

    pub(super) fn read(&self, sql: &Arc<str>, flavour: Flavour) -> Arc<Read> {
        let key = (flavour, Arc::clone(sql));
        if let Some(read) = locked(&self.shared.read).get(&key) {
            return Arc::clone(read);
        }
        let read = Arc::new(reading::read(sql, flavour).map(Arc::new));
        let mut all = locked(&self.shared.read);
        if all.len() >= STATEMENTS {
            all.clear();
        }
        all.insert(key, Arc::clone(&read));
        read
    }
}
