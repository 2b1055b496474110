//! Reports of PostgreSQL put together from lines, whoever else writes between them.
//!
//! Decides: which line belongs to which report: waits by the chain of processes (each line's
//! blocker waits in the next), the rest by session. Never does: keep more than a few dozen
//! reports open, or guess a wait that no line tells.

use super::prefix::{Label, Meta, labelled, meta};
use super::{any_context, context, lock_wait, waits};
use crate::txn::forensics::DeadlockReport;
use crate::txn::forensics::lines::SYSLOG_TAB;
use crate::txn::forensics::mentions::{self, Mention, Mentions};
use crate::txn::forensics::model::{Context, Engine, LockedObject, Unread};
use crate::txn::forensics::scan;
use draft::{Draft, EDGES};
use std::collections::{HashMap, VecDeque};

mod draft;
mod fields;

/// Reports that may still grow.
const OPEN: usize = 64;
/// Lines after which a report grows no more.
const AGE: usize = 400;
/// Sessions remembered.
const SESSIONS: usize = 4096;

/// Whose fields follow in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owner {
    Report(u64),
    LockWait(String),
    Mention,
}

/// What a continued line continues.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    None,
    Detail(u64),
    Process(u64, String),
    Context(u64),
    Statement(u64),
}

/// What a lock-wait line told of a process.
#[derive(Debug)]
struct LockWait {
    object: LockedObject,
    context: Option<Context>,
}

/// A record of a structured log: the fields apart, line breaks kept.
#[derive(Debug, Default)]
pub(in crate::txn::forensics) struct Record {
    pub(in crate::txn::forensics) meta: Meta,
    pub(in crate::txn::forensics) deadlock: bool,
    pub(in crate::txn::forensics) message: String,
    pub(in crate::txn::forensics) detail: String,
    pub(in crate::txn::forensics) context: String,
    pub(in crate::txn::forensics) statement: String,
}

/// The reports that grow while lines are read.
#[derive(Debug)]
pub(in crate::txn::forensics) struct Assembly {
    drafts: VecDeque<Draft>,
    serial: u64,
    owners: HashMap<String, Owner>,
    waits: HashMap<String, LockWait>,
    sessions: HashMap<String, (Option<String>, Option<String>)>,
    field: Field,
    pub(in crate::txn::forensics) mentions: Mentions,
    pub(in crate::txn::forensics) reports: Vec<DeadlockReport>,
    pub(in crate::txn::forensics) unread: Vec<Unread>,
}

impl Assembly {
    pub(in crate::txn::forensics) fn new() -> Self {
        Self {
            drafts: VecDeque::new(),
            serial: 0,
            owners: HashMap::new(),
            waits: HashMap::new(),
            sessions: HashMap::new(),
            field: Field::None,
            mentions: Mentions::default(),
            reports: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// A line of text.
    pub(in crate::txn::forensics) fn line(&mut self, number: usize, text: &str) {
        self.age(number);
        if let Some(rest) = text.strip_prefix('\t').or_else(|| text.strip_prefix(SYSLOG_TAB)) {
            self.detail_line(number, rest, true);
        } else if let Some((prefix, label, body)) = labelled(text) {
            let meta = meta(prefix, number);
            self.labelled(&meta, label, body, text);
        } else {
            self.plain(number, text);
        }
    }

    fn labelled(&mut self, meta: &Meta, label: Label, body: &str, text: &str) {
        let key = meta.pid.clone().unwrap_or_default();
        self.remember(&key, meta);
        let label = match label {
            // In one message all parts bear one time, a hint in an unknown language too.
            Label::Unknown if self.reported_at(&key, meta) => Label::Other,
            Label::Unknown => Label::Message,
            label => label,
        };
        match label {
            Label::Message | Label::Unknown | Label::Detail => {
                if label == Label::Message {
                    self.field = Field::None;
                    self.message(&key, meta, body, text);
                }
                if self.wait_line(&key, meta, body) {
                    self.same_line_context(&key, meta.line, body);
                }
            }
            Label::Context => self.context(&key, meta.line, any_context(body), body),
            Label::Statement => self.statement(&key, meta.line, body),
            Label::Other => self.field = Field::None,
        }
    }

    /// Whether a session's last report bears the time of this line.
    fn reported_at(&self, key: &str, meta: &Meta) -> bool {
        let Some(Owner::Report(id)) = self.owners.get(key) else { return false };
        let draft = self.drafts.iter().rev().find(|draft| draft.id == *id);
        meta.time.is_some() && draft.is_some_and(|draft| draft.time == meta.time)
    }

    /// The first line of a message: whatever its session said before is over.
    fn message(&mut self, key: &str, meta: &Meta, body: &str, text: &str) {
        self.owners.remove(key);
        if let Some((waiter, object)) = lock_wait(body) {
            if self.waits.len() >= SESSIONS {
                self.waits.clear();
            }
            let wait = LockWait { object, context: None };
            self.waits.insert(waiter.to_owned(), wait);
            self.own(key, Owner::LockWait(waiter.to_owned()));
            return;
        }
        if mentions::engine(body).is_some() {
            self.own(key, Owner::Mention);
        }
        self.mentions.line(key, meta, text);
    }

    /// A line without a label: of a client, a stack trace, a paste.
    fn plain(&mut self, number: usize, text: &str) {
        if let Field::Context(id) = self.field
            && !text.trim().is_empty()
            && (text.starts_with("SQL ") || text.starts_with("PL/") || text.contains(['"', '»']))
            && let Some(draft) = self.draft(id)
        {
            scan::append(&mut draft.inner, text);
            return;
        }
        self.field = Field::None;
        let meta = meta(text, number);
        let meta = Meta { pid: None, user: None, application: None, ..meta };
        if self.wait_line("", &meta, text) {
            self.same_line_context("", number, text);
            return;
        }
        self.mentions.line("", &meta, text);
        if let Some(Owner::Report(id)) = self.owners.get("")
            && let Some(statement) = mentions::quoted_statement(text)
        {
            let id = *id;
            let near = |draft: &&mut Draft| number.saturating_sub(draft.touched) <= AGE / 4;
            if let Some(draft) = self.draft(id).filter(near)
                && draft.own_statement.is_empty()
            {
                scan::append(&mut draft.own_statement, statement);
            }
        }
        if let Some(found) = context(text) {
            self.context("", number, Some(found), text);
        }
    }

    /// Takes the waits of a line; whether there were any.
    fn wait_line(&mut self, key: &str, meta: &Meta, text: &str) -> bool {
        let edges = waits(text);
        let any = !edges.is_empty();
        for edge in edges {
            let at = self.drafts.iter().rposition(|draft| draft.expects(&edge.waiter));
            let at = at.unwrap_or_else(|| self.begin(key, meta, text));
            let draft = &mut self.drafts[at];
            draft.touched = meta.line;
            draft.push(edge);
            let (id, closed) = (draft.id, draft.closed);
            self.field = Field::Detail(id);
            self.own(key, Owner::Report(id));
            if closed {
                self.close(at);
            }
        }
        any
    }

    /// Where line breaks were lost, the context follows the waits.
    fn same_line_context(&mut self, key: &str, number: usize, text: &str) {
        if let Some(found) = context(text) {
            self.context(key, number, Some(found), text);
        }
    }

    fn begin(&mut self, key: &str, meta: &Meta, text: &str) -> usize {
        if self.drafts.len() >= OPEN {
            self.flush_first();
        }
        self.serial += 1;
        let mention = self.mentions.graph(key, meta.line);
        let mut draft = Draft::new(self.serial, key, meta, text);
        if let Some(mention) = mention {
            draft.time = draft.time.or(mention.meta.time);
            draft.own_statement = mention.statement.unwrap_or_default();
            draft.line = mention.meta.line;
        }
        self.drafts.push_back(draft);
        self.drafts.len() - 1
    }

    /// A cycle is complete: what lock-wait lines told of its processes belongs to it.
    fn close(&mut self, at: usize) {
        let draft = &mut self.drafts[at];
        for edge in &mut draft.edges {
            if let Some(wait) =
                self.waits.get(&edge.waiter).filter(|wait| wait.object == edge.object)
            {
                edge.context.clone_from(&wait.context);
            }
            if let Some(session) = self.sessions.get(&edge.waiter) {
                draft.sessions.insert(edge.waiter.clone(), session.clone());
            }
        }
    }

    /// A record of a structured log.
    pub(in crate::txn::forensics) fn record(&mut self, record: &Record) {
        let (meta, number) = (&record.meta, record.meta.line);
        self.age(number);
        let key = meta.pid.clone().unwrap_or_default();
        self.remember(&key, meta);
        self.field = Field::None;
        self.message(&key, meta, &record.message, &record.message);
        let mut lines = record.detail.lines();
        let mut told = false;
        if let Some(first) = lines.next() {
            told = self.wait_line(&key, meta, first);
            if told {
                lines.for_each(|line| self.detail_line(number, line, false));
            }
        }
        if record.deadlock && !told {
            self.own(&key, Owner::Mention);
            self.mentions.line(&key, meta, "deadlock detected");
        }
        if !record.context.is_empty() {
            let mut lines = record.context.lines();
            let first = lines.next().unwrap_or_default();
            self.context(&key, number, any_context(first), first);
            lines.for_each(|line| self.more(line));
        }
        if !record.statement.is_empty() {
            self.statement(&key, number, &record.statement);
        }
        self.field = Field::None;
    }

    fn remember(&mut self, key: &str, meta: &Meta) {
        if key.is_empty() || (meta.user.is_none() && meta.application.is_none()) {
            return;
        }
        if self.sessions.len() >= SESSIONS {
            self.sessions.clear();
        }
        self.sessions.insert(key.to_owned(), (meta.user.clone(), meta.application.clone()));
    }

    fn own(&mut self, key: &str, owner: Owner) {
        if self.owners.len() >= SESSIONS {
            self.owners.clear();
        }
        self.owners.insert(key.to_owned(), owner);
    }

    fn draft(&mut self, id: u64) -> Option<&mut Draft> {
        self.drafts.iter_mut().rev().find(|draft| draft.id == id)
    }

    /// Lets go of what can grow no more.
    fn age(&mut self, number: usize) {
        while self.drafts.front().is_some_and(|draft| number.saturating_sub(draft.touched) > AGE) {
            self.flush_first();
        }
        while let Some(mention) = self.mentions.expired(number) {
            self.mentioned(mention);
        }
    }

    fn mentioned(&mut self, mention: Mention) {
        let Mention { engine, meta, statement, .. } = mention;
        self.reports.push(DeadlockReport::without_graph(engine, statement, meta));
    }

    fn flush_first(&mut self) {
        let Some(draft) = self.drafts.pop_front() else { return };
        if draft.closed {
            self.reports.push(draft.report());
        } else {
            let why = if draft.edges.len() >= EDGES {
                format!("more than {EDGES} processes wait in one chain")
            } else {
                format!(
                    "the chain of waits ends at process {}: the line that says what it waits for \
                     is missing",
                    draft.end()
                )
            };
            self.unread.push(Unread::new(draft.line, why, draft.excerpt));
        }
    }

    /// The input ends here.
    pub(in crate::txn::forensics) fn end(&mut self) {
        while !self.drafts.is_empty() {
            self.flush_first();
        }
        while let Some(mention) = self.mentions.expired(usize::MAX) {
            self.mentioned(mention);
        }
        self.owners.clear();
        self.waits.clear();
        self.field = Field::None;
    }
}
