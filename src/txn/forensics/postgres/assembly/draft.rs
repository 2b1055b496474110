//! One report of PostgreSQL while its lines come in.
//!
//! Decides: whether its cycle is closed, and what it becomes. Never does: look at other reports.

use super::{Context, DeadlockReport, Engine, Meta};
use crate::txn::forensics::model::{Edge, Node};
use crate::txn::forensics::postgres::inner_statement;
use crate::txn::forensics::scan;
use std::collections::HashMap;

/// Most processes of one cycle.
pub(super) const EDGES: usize = 1024;

/// User and application of a session.
type Session = (Option<String>, Option<String>);

/// A report that grows.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) id: u64,
    /// The session that wrote it; empty where lines do not tell.
    pub(super) key: String,
    pub(super) edges: Vec<Edge>,
    pub(super) closed: bool,
    /// Statements by process, from the server's log.
    pub(super) statements: HashMap<String, String>,
    /// The statement of the session that wrote it: the victim's.
    pub(super) own_statement: String,
    pub(super) context: Option<Context>,
    /// The lines of the context after its first.
    pub(super) inner: String,
    pub(super) sessions: HashMap<String, Session>,
    pub(super) time: Option<String>,
    pub(super) line: usize,
    pub(super) touched: usize,
    pub(super) excerpt: String,
    own_session: Session,
}

impl Draft {
    pub(super) fn new(id: u64, key: &str, meta: &Meta, text: &str) -> Self {
        Self {
            id,
            key: key.to_owned(),
            edges: Vec::new(),
            closed: false,
            statements: HashMap::new(),
            own_statement: String::new(),
            context: None,
            inner: String::new(),
            sessions: HashMap::new(),
            time: meta.time.clone(),
            line: meta.line,
            touched: meta.line,
            excerpt: scan::excerpt(text),
            own_session: (meta.user.clone(), meta.application.clone()),
        }
    }

    /// Whether the next line of its chain is the wait of this process.
    pub(super) fn expects(&self, waiter: &str) -> bool {
        !self.closed && self.edges.len() < EDGES && self.end() == waiter
    }

    /// The process that the chain ends at.
    pub(super) fn end(&self) -> &str {
        self.edges.last().map(|edge| edge.holder.as_str()).unwrap_or_default()
    }

    pub(super) fn push(&mut self, edge: Edge) {
        let first = self.edges.first().map_or(edge.waiter.as_str(), |first| first.waiter.as_str());
        self.closed = first == edge.holder;
        self.edges.push(edge);
    }

    /// Whether the statement of this process is still to come.
    pub(super) fn lacks(&self, pid: &str) -> bool {
        self.closed
            && !self.statements.contains_key(pid)
            && self.edges.iter().any(|edge| edge.waiter == pid)
    }

    /// What it became.
    pub(super) fn report(mut self) -> DeadlockReport {
        if let Some(context) = &mut self.context {
            context.statement = inner_statement(&self.inner);
        }
        let mut nodes: Vec<Node> = Vec::with_capacity(self.edges.len());
        for edge in &self.edges {
            let statement = self.statements.remove(&edge.waiter);
            let session = self.sessions.remove(&edge.waiter);
            let (user, application) = session.unwrap_or_default();
            nodes.push(Node { statement, user, application, ..Node::new(&edge.waiter) });
        }
        if let Some(victim) = nodes.first_mut() {
            victim.victim = true;
            if victim.statement.is_none() && !self.own_statement.is_empty() {
                victim.statement = Some(self.own_statement);
            }
            victim.user = victim.user.take().or(self.own_session.0);
            victim.application = victim.application.take().or(self.own_session.1);
        }
        let mut report = DeadlockReport::of(Engine::PostgreSql, nodes, self.edges, self.context);
        report.timestamp = self.time;
        report.line = self.line;
        report
    }
}
