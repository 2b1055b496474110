//! The model of a deadlock that all engines share: nodes, edges, objects.
//!
//! Decides: which facts a report holds and what they are called. Never does: read text.

use serde::Serialize;

/// The engine that wrote a report.
///
/// ```
/// use cupping::txn::forensics::Engine;
///
/// assert_eq!((Engine::InnoDb.name(), Engine::InnoDb.actor()), ("InnoDB", "transaction"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Engine {
    /// PostgreSQL.
    PostgreSql,
    /// InnoDB, in MySQL or MariaDB.
    InnoDb,
}

impl Engine {
    /// Its name for people. Example: see [`Engine`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PostgreSql => "PostgreSQL",
            Self::InnoDb => "InnoDB",
        }
    }

    /// What a node is called: PostgreSQL tells of processes, InnoDB of transactions.
    /// Example: see [`Engine`].
    #[must_use]
    pub fn actor(self) -> &'static str {
        match self {
            Self::PostgreSql => "process",
            Self::InnoDb => "transaction",
        }
    }
}

/// One who waits, and is waited for.
///
/// ```
/// use cupping::txn::forensics::Node;
///
/// let node = Node::new("4711");
/// assert!(!node.victim && node.statement.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Node {
    /// Process id on PostgreSQL, transaction id on InnoDB, as printed.
    pub id: String,
    /// Whether it was rolled back to end the deadlock.
    pub victim: bool,
    /// Connection id on InnoDB, as in `SHOW PROCESSLIST`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// The statement that waited; absent in what a client is told by PostgreSQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// `application_name`, where the log tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// Database user, where the report or the log's prefix tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Locks that InnoDB says it held.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Lock>,
}

impl Node {
    /// A node of which only the id is known. Example: see [`Node`].
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), ..Self::default() }
    }
}

/// A lock: how strong, and on what.
///
/// ```
/// use cupping::txn::forensics::{Lock, ObjectKind};
///
/// assert_eq!(Lock::default().object.kind, ObjectKind::Unknown);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Lock {
    /// The mode as the engine prints it: `ShareLock`, `X locks rec but not gap`.
    pub mode: String,
    /// What is locked.
    pub object: LockedObject,
}

/// One waits for another.
///
/// ```
/// use cupping::txn::forensics::DeadlockReport;
///
/// let detail = "Process 7 waits for ExclusiveLock on tuple (0,4) of relation 16468 of database \
///               5; blocked by process 12.";
/// let edge = &DeadlockReport::from_postgres(Some(detail), None).edges[0];
/// assert_eq!((edge.waiter.as_str(), edge.holder.as_str()), ("7", "12"));
/// assert_eq!(edge.row_lock, Some("FOR NO KEY UPDATE"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Edge {
    /// Id of the node that waits.
    pub waiter: String,
    /// Id of the node that it waits for.
    pub holder: String,
    /// The mode asked for, as the engine prints it.
    pub mode: String,
    /// What is waited for.
    pub object: LockedObject,
    /// The row lock that a tuple lock of PostgreSQL stands for: `FOR NO KEY UPDATE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row_lock: Option<&'static str>,
    /// The modes of the conflicting locks, where InnoDB tells them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<String>,
    /// What the waiter was doing, where the report or a lock-wait line tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
}

/// What kind of thing is locked.
///
/// ```
/// use cupping::txn::forensics::{LockedObject, ObjectKind};
///
/// assert_eq!(LockedObject::of(ObjectKind::Relation).words(), "relation (unknown)");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ObjectKind {
    /// A table, index or other relation of PostgreSQL.
    Relation,
    /// The right to lengthen a relation's file.
    Extension,
    /// A page of an index of PostgreSQL.
    Page,
    /// A row version of PostgreSQL: the queue before a locked row.
    Tuple,
    /// The end of a transaction: a row that it changed or inserted.
    Transaction,
    /// The end of a virtual transaction.
    VirtualTransaction,
    /// An insertion that is not decided yet.
    SpeculativeToken,
    /// An object of a system catalogue.
    Object,
    /// An advisory or user lock.
    Advisory,
    /// A transaction of a subscription.
    RemoteTransaction,
    /// A record of an InnoDB index, and perhaps the gap before it.
    Record,
    /// A whole table of InnoDB.
    Table,
    /// Something that this release does not know.
    #[default]
    Unknown,
}

/// What is locked; fields that do not apply are absent.
///
/// ```
/// use cupping::txn::forensics::{LockedObject, ObjectKind};
///
/// let mut object = LockedObject::of(ObjectKind::Tuple);
/// (object.oid, object.tuple) = (Some(16468), Some((0, 4)));
/// assert_eq!(object.words(), "tuple (0,4) of relation 16468");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct LockedObject {
    /// Its kind.
    pub kind: ObjectKind,
    /// The table's name: InnoDB prints it, PostgreSQL prints an OID, which a connection resolves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relation: Option<String>,
    /// OID of the relation (PostgreSQL).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oid: Option<u32>,
    /// OID (PostgreSQL) or name (InnoDB) of the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Index (InnoDB).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// Partition (InnoDB).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// Page number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<u64>,
    /// Block and offset (PostgreSQL).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuple: Option<(u64, u64)>,
    /// Number of the record in its page (InnoDB); 1 is the supremum, the gap after the last record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heap_no: Option<u64>,
    /// Transaction id, virtual or not, as printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    /// The key of an advisory lock, `[database,high,low,form]`, or the numbers of anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl LockedObject {
    /// An object of a kind, nothing else known. Example: see [`LockedObject`].
    #[must_use]
    pub fn of(kind: ObjectKind) -> Self {
        Self { kind, ..Self::default() }
    }

    /// The object in words: `tuple (0,4) of relation 16468`, `index PRIMARY of table shop.t`.
    /// Example: see [`LockedObject`].
    #[must_use]
    pub fn words(&self) -> String {
        let relation = || match (&self.relation, self.oid) {
            (Some(name), _) => format!("\"{name}\""),
            (None, Some(oid)) => oid.to_string(),
            (None, None) => "(unknown)".to_owned(),
        };
        let transaction = self.transaction.as_deref().unwrap_or("(unknown)");
        let key = self.key.as_deref().unwrap_or("(unknown)");
        match self.kind {
            ObjectKind::Relation => format!("relation {}", relation()),
            ObjectKind::Extension => format!("extension of relation {}", relation()),
            ObjectKind::Page => {
                format!("page {} of relation {}", self.page.unwrap_or_default(), relation())
            }
            ObjectKind::Tuple => {
                let (block, offset) = self.tuple.unwrap_or_default();
                format!("tuple ({block},{offset}) of relation {}", relation())
            }
            ObjectKind::Transaction => format!("transaction {transaction}"),
            ObjectKind::VirtualTransaction => format!("virtual transaction {transaction}"),
            ObjectKind::SpeculativeToken => {
                format!("speculative token {key} of transaction {transaction}")
            }
            ObjectKind::Object => format!("object {key}"),
            ObjectKind::Advisory => format!("advisory lock {key}"),
            ObjectKind::RemoteTransaction => format!("remote transaction {transaction}"),
            ObjectKind::Record | ObjectKind::Table => self.innodb_words(),
            ObjectKind::Unknown => key.to_owned(),
        }
    }

    fn innodb_words(&self) -> String {
        let mut text = String::new();
        if let Some(index) = &self.index {
            text.push_str(&format!("index {index} of "));
        }
        let table = self.relation.as_deref().unwrap_or("(unknown)");
        match &self.database {
            Some(database) => text.push_str(&format!("table {database}.{table}")),
            None => text.push_str(&format!("table {table}")),
        }
        if let Some(partition) = &self.partition {
            text.push_str(&format!(" partition {partition}"));
        }
        match self.heap_no {
            Some(1) => text.push_str(" (supremum: the gap after the last record)"),
            Some(heap) => {
                text.push_str(&format!(" (page {}, heap {heap})", self.page.unwrap_or_default()));
            }
            None => {}
        }
        text
    }
}

/// What a process of PostgreSQL was doing while it waited for a row.
///
/// ```
/// use cupping::txn::forensics::DeadlockReport;
///
/// let context = "while updating tuple (0,4) in relation \"region\"";
/// let report = DeadlockReport::from_postgres(None, Some(context));
/// let context = report.context.expect("it was given");
/// assert_eq!(context.action.as_deref(), Some("updating"));
/// assert_eq!(context.tuple, Some((0, 4)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Context {
    /// The first line as printed: `while updating tuple (0,4) in relation "region"`.
    pub text: String,
    /// `updating`, `deleting`, `locking`, `inserting index tuple` …; absent when translated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The relation, without schema; an index where a unique key was being inserted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relation: Option<String>,
    /// Block and offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuple: Option<(u64, u64)>,
    /// The inner statement: a foreign key's check or cascade, or one of a function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
}

/// What looked like a report and could not be read.
///
/// ```
/// use cupping::txn::forensics::read;
///
/// let cut = "2026-11-22 06:55:50 UTC [7] ERROR:  deadlock detected\n\
///            2026-11-22 06:55:50 UTC [7] DETAIL:  Process 7 waits for ShareLock on tran\n";
/// for unread in read(cut.as_bytes()).unread {
///     println!("line {}: {}: {}", unread.line, unread.why, unread.excerpt);
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Unread {
    /// Name of the input, where several were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Number of the line in its input, from 1.
    pub line: usize,
    /// Why it could not be read.
    pub why: String,
    /// The start of the line.
    pub excerpt: String,
}

impl Unread {
    /// An entry for a line.
    #[must_use]
    pub(super) fn new(line: usize, why: String, excerpt: String) -> Self {
        Self { input: None, line, why, excerpt }
    }
}
