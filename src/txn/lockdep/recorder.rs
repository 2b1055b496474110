//! Follows one transaction: what each of its statements locks, and where it was sent from.
//!
//! Decides: what is read, bound and added to the graph when. Never does: change a statement.

use super::access::Access;
use super::account::{Account, Covering, Order, Taken, Which};
use super::binding::{Argument, Binder, Returned};
use super::catalogue::Catalogue;
use super::class::{Class, Key, Mode};
use super::graph::Lock;
use super::observed::Observed;
use super::reading::Flavour;
use super::record::{Place, Record};
use super::watched::Watched;
use super::{Lockdep, installed};
use crate::txn::body::{BodyError, Cause};
use crate::txn::dialect::Dialect;
use crate::txn::statement::Value;
use crate::txn::transaction::Tx;
use crate::txn::transactor::Transactor;
use sqlx::{Execute, Pool};
use std::panic::Location;
use std::sync::Arc;

/// The lockdep of a transactor, if it has one of its own.
#[derive(Debug, Clone, Default)]
pub(in crate::txn) struct Attached(Option<Lockdep>);

/// Where a statement is sent from.
#[derive(Debug, Clone, Copy)]
pub(in crate::txn) struct Site(&'static Location<'static>);

impl Site {
    #[track_caller]
    pub(in crate::txn) fn here() -> Self {
        Self(Location::caller())
    }
}

/// What was seen of a statement before it was sent.
pub(in crate::txn) struct Note(Option<Noted>);

struct Noted {
    accesses: Arc<Vec<Access>>,
    arguments: Vec<Argument>,
    statement: Arc<str>,
}

/// Follows one transaction, if anybody wants to know.
#[derive(Debug, Default)]
pub(in crate::txn) struct Recorder(Option<Box<Followed>>);

#[derive(Debug)]
struct Followed {
    lockdep: Lockdep,
    record: Arc<Record>,
    catalogue: Arc<Catalogue>,
    flavour: Flavour,
    name: &'static str,
    account: Account<Place>,
    inversion: Option<String>,
}

impl Recorder {
    /// Reads the catalogue the first time, before BEGIN: a query inside would fix a snapshot.
    pub(in crate::txn) async fn begin<DB: Dialect>(
        attached: &Attached,
        pool: &Pool<DB>,
        connection: &mut DB::Connection,
        name: &'static str,
    ) -> Self {
        let Some(flavour) = <DB as Observed>::FLAVOUR else { return Self(None) };
        let Some(lockdep) = attached.0.clone().or_else(installed) else { return Self(None) };
        let place = DB::place(pool);
        let record = lockdep.record(flavour, &place);
        let catalogue = match lockdep.catalogue(flavour, &place) {
            Some(catalogue) => catalogue,
            // A connection that cannot answer will show so at BEGIN.
            None => match DB::catalogue(connection).await {
                Ok(catalogue) => lockdep.learn(flavour, &place, catalogue),
                Err(error) => {
                    tracing::warn!(%error, "lockdep cannot read the catalogue");
                    Arc::default()
                }
            },
        };
        let account = Account::default();
        let inversion = None;
        let followed = Followed { lockdep, record, catalogue, flavour, name, account, inversion };
        Self(Some(Box::new(followed)))
    }

    /// Looks at a statement before it is sent; what is sent is the same.
    pub(in crate::txn) fn note<'q, DB: Dialect, E: Execute<'q, DB>>(
        &self,
        query: E,
    ) -> (Watched<DB, E>, Note) {
        let Some(followed) = &self.0 else { return (Watched::Whole(query), Note(None)) };
        let (watched, sql) = Watched::open(query);
        let arguments = || watched.arguments().map(DB::decoded).unwrap_or_default();
        let note = followed.note(&sql, arguments);
        (watched, note)
    }

    /// Looks at a statement that the toolkit has written itself.
    pub(in crate::txn) fn note_own(&self, sql: &str, values: &[Value]) -> Note {
        let Some(followed) = &self.0 else { return Note(None) };
        followed.note(&Arc::from(sql), || values.iter().map(argument).collect())
    }

    /// Adds what a statement has taken, with the rows that it gave back where they can be seen.
    pub(in crate::txn) fn took<DB: Dialect>(
        &mut self,
        note: Note,
        site: Site,
        rows: Option<&[DB::Row]>,
    ) -> Result<(), BodyError> {
        let (Some(followed), Some(noted)) = (&mut self.0, note.0) else { return Ok(()) };
        let place = Place { location: site.0, statement: noted.statement };
        let catalogue = Arc::clone(&followed.catalogue);
        let returned = returned::<DB>(&noted.accesses, &catalogue, rows);
        let guarded = followed.lockdep.guards();
        let binder = Binder {
            flavour: followed.flavour,
            catalogue: &catalogue,
            guarded: &guarded,
            arguments: &noted.arguments,
        };
        let mut inverts = false;
        for access in noted.accesses.iter() {
            if let Access::Unnamed(name) = access {
                followed.account.release(&Class::Named, &binder.named(name));
            }
            if let Access::Rows { table, .. } = access
                && !catalogue.tables.contains_key(table)
            {
                followed.lockdep.forget_catalogues(table);
            }
            for taken in binder.bind(access, &returned, &followed.account) {
                inverts |= followed.take(taken, &place, inverts);
            }
        }
        self.verdict()
    }

    /// Notes that statements were sent which nobody saw.
    pub(in crate::txn) fn unseen(&self, site: Site) {
        if let Some(followed) = &self.0 {
            let at = site.0;
            followed.record.unread(&format!("the connection itself, at {at}"), "not seen");
        }
    }

    /// Refuses the commit of a transaction that has inverted an order and swallowed the error.
    pub(in crate::txn) fn verdict(&self) -> Result<(), BodyError> {
        let inversion = self.0.as_ref().and_then(|followed| followed.inversion.clone());
        inversion.map_or(Ok(()), |report| Err(BodyError(Cause::Inversion(report))))
    }
}

fn argument(value: &Value) -> Argument {
    Argument::One(match value {
        Value::Int(int) => Key::from(*int),
        Value::Text(text) => Key::Text(text.as_str().into()),
        Value::Bytes(bytes) => Key::Bytes(bytes.clone()),
    })
}

impl Followed {
    fn note(&self, sql: &Arc<str>, arguments: impl FnOnce() -> Vec<Argument>) -> Note {
        let read = self.lockdep.read(sql, self.flavour);
        let statement = excerpt(sql);
        match &*read {
            Ok(accesses) => {
                let (accesses, arguments) = (Arc::clone(accesses), arguments());
                Note(Some(Noted { accesses, arguments, statement }))
            }
            Err(reason) => {
                self.record.unread(&statement, reason);
                Note(None)
            }
        }
    }

    /// Whether it inverts an order. One report a statement: its other edges, often several for one
    /// lock, are then left out.
    fn take(&mut self, taken: Taken, place: &Place, inverts_already: bool) -> bool {
        self.record.note();
        let mut inverts = inverts_already;
        for added in self.account.take(taken, place) {
            if inverts {
                continue;
            }
            let Some(report) = self.record.add(added, place, self.name) else { continue };
            inverts = true;
            if self.lockdep.fails_units() {
                self.inversion.get_or_insert(report);
            }
        }
        inverts
    }
}

/// The ids of the rows that came back, where one table's are locked and they are among the columns.
fn returned<DB: Dialect>(
    accesses: &[Access],
    catalogue: &Catalogue,
    rows: Option<&[DB::Row]>,
) -> Returned {
    let mut tables = accesses.iter().filter_map(|access| match access {
        Access::Rows { table, .. } => Some(table),
        _ => None,
    });
    let (Some(table), None) = (tables.next(), tables.next()) else { return None };
    let columns = catalogue.identity(table);
    rows?
        .iter()
        .map(|row| {
            let mut keys =
                columns.iter().map(|column| DB::key(row, column)).collect::<Option<Vec<Key>>>()?;
            if keys.len() == 1 { keys.pop() } else { Some(Key::Tuple(keys)) }
        })
        .collect()
}

/// A statement, short enough for a report.
fn excerpt(sql: &str) -> Arc<str> {
    const LENGTH: usize = 120;
    let words: Vec<&str> = sql.split_whitespace().collect();
    let text = words.join(" ");
    match text.char_indices().nth(LENGTH) {
        Some((cut, _)) => format!("{} …", &text[..cut]).into(),
        None => text.into(),
    }
}

impl<DB: Dialect> Transactor<DB> {
    /// Has its transactions watched by this lockdep, and not by the one installed.
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")]
    /// # fn example(pool: sqlx::PgPool) {
    /// use cupping::txn::{Lockdep, Transactor};
    ///
    /// let lockdep = Lockdep::new();
    /// let transactor = Transactor::new(pool).with_lockdep(&lockdep);
    /// # drop(transactor);
    /// # }
    /// ```
    #[must_use]
    pub fn with_lockdep(self, lockdep: &Lockdep) -> Self {
        Self { lockdep: Attached(Some(lockdep.clone())), ..self }
    }
}

impl<DB: Dialect> Tx<DB> {
    /// Tells lockdep of rows that were locked where it cannot see it, in this order: by
    /// [`Tx::with_connection`], by a trigger or a function of the database. `table` is written as
    /// in statements; `ids` are of its primary key.
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")]
    /// # fn example(tx: &mut cupping::txn::Tx<sqlx::Postgres>)
    /// # -> Result<(), cupping::txn::BodyError> {
    /// use cupping::txn::lockdep::Mode;
    ///
    /// tx.record_rows("region", Mode::NoKeyUpdate, [3_i64, 7])?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When this order contradicts one seen before.
    #[track_caller]
    pub fn record_rows<K: Into<Key>>(
        &mut self,
        table: &str,
        mode: Mode,
        ids: impl IntoIterator<Item = K>,
    ) -> Result<(), BodyError> {
        let Some(followed) = &mut self.recorder.0 else { return Ok(()) };
        let keys: Vec<Key> = ids.into_iter().map(Into::into).collect();
        let mode = match (followed.flavour, mode) {
            (Flavour::MySql, Mode::KeyShare | Mode::Share) => Mode::Share,
            (Flavour::MySql, _) => Mode::Update,
            (Flavour::Postgres, mode) => mode,
        };
        let column = followed.catalogue.identity(table).join(",").into();
        let taken = Taken {
            lock: Lock::new(Class::Rows(table.into()), mode),
            which: Which::Known(column, keys.iter().cloned().collect()),
            order: Order::Listed(keys),
            waits: true,
            covering: Covering::Nothing,
            implied: false,
            written: true,
        };
        let statement = format!("rows of {table} recorded by hand").into();
        followed.take(taken, &Place { location: Location::caller(), statement }, false);
        self.recorder.verdict()
    }
}
