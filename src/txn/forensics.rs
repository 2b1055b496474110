//! What a deadlock tells: the wait-for graph, a fingerprint, what to do about it.
//!
//! Decides: how the texts of PostgreSQL and InnoDB (errors, server logs, status dumps, and
//! application logs that quote them) become one model; unknown or translated text is never an
//! error. Never does: I/O, except in `names`, which asks PostgreSQL for the names of relations.
//!
//! ```
//! use cupping::txn::forensics::{explain, read};
//!
//! let log = "2026-11-22 06:55:50 UTC [7] ERROR:  deadlock detected\n\
//!            2026-11-22 06:55:50 UTC [7] DETAIL:  Process 7 waits for ShareLock on transaction \
//!            766; blocked by process 9.\n\
//!            \tProcess 9 waits for ShareLock on transaction 765; blocked by process 7.\n\
//!            2026-11-22 06:55:50 UTC [7] CONTEXT:  while updating tuple (0,2) in relation \
//!            \"t\"\n";
//! let reading = read(log.as_bytes());
//! assert_eq!(reading.reports[0].relation, "t");
//! assert_eq!(reading.reports[0].nodes[0].id, "7");
//!
//! let explanation = explain(reading);
//! assert_eq!((explanation.reports, explanation.deadlocks[0].count), (1, 1));
//! println!("{}", explanation.text());
//! ```

mod advice;
mod event;
mod fingerprint;
mod groups;
mod innodb;
mod lines;
mod mentions;
mod model;
#[cfg(feature = "postgres")]
pub mod names;
mod pattern;
mod postgres;
mod reader;
mod render;
mod scan;
mod structured;

pub use advice::advice;
pub use groups::{Deadlock, Explanation, explain};
pub use model::{Context, Edge, Engine, Lock, LockedObject, Node, ObjectKind, Unread};
pub use pattern::{Pattern, pattern};
pub use reader::{Reader, Reading, read};

use postgres::prefix::Meta;

/// One deadlock: who waited for what, held by whom, and who was rolled back.
///
/// ```
/// use cupping::txn::forensics::{DeadlockReport, Engine};
///
/// let detail = "Process 7 waits for ShareLock on transaction 768; blocked by process 12.\n\
///               Process 12 waits for ShareLock on transaction 767; blocked by process 7.";
/// let report = DeadlockReport::from_postgres(Some(detail), None);
/// assert_eq!(report.engine, Engine::PostgreSql);
/// assert_eq!(report.victim().map(|node| node.id.as_str()), Some("7"));
/// assert_eq!(report.fingerprint.len(), 16);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadlockReport {
    /// The table or index the victim was working on; `unknown` where the texts do not tell.
    /// Without schema or database, because PostgreSQL does not tell it.
    pub relation: String,
    /// Who waits for whom, one line a process, the victim first on PostgreSQL.
    pub graph: String,
    /// The same for deadlocks of the same shape; see `docs/guides/deadlock-reports.md` for what
    /// counts. A client's error and the server's log of one deadlock have the same.
    pub fingerprint: String,
    /// Who wrote the report.
    pub engine: Engine,
    /// Everybody in the graph.
    pub nodes: Vec<Node>,
    /// Who waits for whom, in the order of the report; empty where only the error's name is known.
    pub edges: Vec<Edge>,
    /// What the victim was doing (PostgreSQL).
    pub context: Option<Context>,
    /// When, as in RFC 3339; without a zone where the text names none, with a blank before a zone
    /// that has only a name.
    pub timestamp: Option<String>,
    /// Number of the line in its input where the report begins; 0 when it was read from no file.
    pub line: usize,
    /// InnoDB gave up the search and rolled back without a cycle found.
    pub too_deep: bool,
}

impl DeadlockReport {
    /// Reads the detail and the context of a PostgreSQL error 40P01, in any language.
    ///
    /// ```
    /// use cupping::txn::forensics::DeadlockReport;
    ///
    /// let detail = "Process 7 waits for ShareLock on transaction 768; blocked by process 12.\n\
    ///               Process 12 waits for ShareLock on transaction 767; blocked by process 7.";
    /// let context = "while inserting index tuple (0,11) in relation \"t_pkey\"";
    /// let report = DeadlockReport::from_postgres(Some(detail), Some(context));
    /// assert_eq!(report.relation, "t_pkey");
    /// assert_eq!(report.edges[1].holder, "7");
    /// ```
    #[must_use]
    pub fn from_postgres(detail: Option<&str>, context: Option<&str>) -> Self {
        let graph = detail.unwrap_or_default().trim();
        let context = context.and_then(postgres::whole_context);
        let edges: Vec<Edge> = graph.lines().flat_map(postgres::waits).collect();
        let nodes = cycle_nodes(&edges);
        let mut report = Self::of(Engine::PostgreSql, nodes, edges, context);
        graph.clone_into(&mut report.graph);
        if report.edges.is_empty() && !graph.is_empty() {
            // Unknown words: the shape is the text without its numbers.
            let mut shape: Vec<String> = graph.lines().map(without_numbers).collect();
            shape.sort_unstable();
            let text = format!("{}|{}", shape.join("\n"), report.relation);
            report.fingerprint = fingerprint::of_text(&text);
        }
        report
    }

    /// Reads the text of `SHOW ENGINE INNODB STATUS`: its latest detected deadlock.
    ///
    /// `None` when it tells of none, or of one that cannot be read. The text is the server's, not
    /// the session's: between error 1213 and the query another deadlock may have taken its place.
    ///
    /// ```
    /// use cupping::txn::forensics::DeadlockReport;
    ///
    /// assert!(DeadlockReport::from_innodb_status("no deadlock since the start").is_none());
    /// ```
    #[must_use]
    pub fn from_innodb_status(status: &str) -> Option<Self> {
        let mut dumps = innodb::Dumps::default();
        for (at, line) in lines::texts(status).enumerate() {
            dumps.line(at + 1, &line);
        }
        dumps.finish();
        dumps.reports.pop().map(|report| Self { line: 0, ..report })
    }

    /// What error 1213 alone tells: that there was a deadlock.
    ///
    /// ```
    /// use cupping::txn::forensics::DeadlockReport;
    ///
    /// let report = DeadlockReport::of_innodb_error();
    /// assert!(report.edges.is_empty() && report.relation == "unknown");
    /// ```
    #[must_use]
    pub fn of_innodb_error() -> Self {
        Self::of(Engine::InnoDb, Vec::new(), Vec::new(), None)
    }

    /// The node that was rolled back, where the report tells. Example: see [`DeadlockReport`].
    #[must_use]
    pub fn victim(&self) -> Option<&Node> {
        self.nodes.iter().find(|node| node.victim)
    }

    /// Whether a connection of MySQL or MariaDB is in the graph, by its `CONNECTION_ID()`.
    ///
    /// The status keeps the server's latest deadlock: this tells a victim whether it is its own.
    ///
    /// ```
    /// use cupping::txn::forensics::DeadlockReport;
    ///
    /// # let status = include_str!("../../tests/fixtures/deadlocks/mariadb/three.txt");
    /// let report = DeadlockReport::from_innodb_status(status).expect("a deadlock");
    /// assert!(report.involves_connection(12));
    /// assert!(!report.involves_connection(99));
    /// ```
    #[must_use]
    pub fn involves_connection(&self, id: u64) -> bool {
        let id = id.to_string();
        self.nodes.iter().any(|node| node.thread.as_deref() == Some(id.as_str()))
    }

    /// A report of a graph; what follows from it is derived.
    fn of(
        engine: Engine,
        nodes: Vec<Node>,
        mut edges: Vec<Edge>,
        context: Option<Context>,
    ) -> Self {
        if let Some(victim) = edges.first_mut().filter(|_| engine == Engine::PostgreSql)
            && context.is_some()
        {
            victim.context.clone_from(&context);
        }
        let victim = nodes.iter().find(|node| node.victim).map(|node| node.id.as_str());
        let waited = edges.iter().find(|edge| Some(edge.waiter.as_str()) == victim);
        let of_edge = waited.or(edges.first()).and_then(|edge| edge.object.relation.clone());
        let of_context = context.as_ref().and_then(|context| context.relation.clone());
        let relation = of_context.or(of_edge).unwrap_or_else(|| "unknown".to_owned());
        let fingerprint = fingerprint::of(engine, &edges, context.as_ref(), &relation);
        let graph = edges.iter().map(|edge| sentence(engine, edge)).collect::<Vec<_>>().join("\n");
        Self {
            relation,
            graph,
            fingerprint,
            engine,
            nodes,
            edges,
            context,
            timestamp: None,
            line: 0,
            too_deep: false,
        }
    }

    /// A deadlock that a text mentions without its graph.
    fn without_graph(engine: Engine, statement: Option<String>, meta: Meta) -> Self {
        let fingerprint = fingerprint::without_graph(engine, statement.as_deref());
        let mut report = Self::of(engine, Vec::new(), Vec::new(), None);
        let Meta { line, time, pid, user, application } = meta;
        if statement.is_some() || pid.is_some() {
            let id = pid.unwrap_or_else(|| "unknown".to_owned());
            report.nodes.push(Node { victim: true, statement, user, application, ..Node::new(id) });
        }
        Self { fingerprint, line, timestamp: time, ..report }
    }
}

/// The nodes of the edges that a client is told: the first waits and is the victim.
fn cycle_nodes(edges: &[Edge]) -> Vec<Node> {
    let node = |(at, edge): (usize, &Edge)| Node { victim: at == 0, ..Node::new(&edge.waiter) };
    edges.iter().enumerate().map(node).collect()
}

/// One line of a graph, in the words of PostgreSQL's DETAIL.
fn sentence(engine: Engine, edge: &Edge) -> String {
    let actor = engine.actor();
    let (first, rest) = actor.split_at(1);
    format!(
        "{}{rest} {} waits for {} on {}; blocked by {actor} {}.",
        first.to_uppercase(),
        edge.waiter,
        edge.mode,
        edge.object.words(),
        edge.holder
    )
}

/// Every run of digits as one `#`: the lock modes and kinds remain.
fn without_numbers(line: &str) -> String {
    let mut shape = String::with_capacity(line.len());
    for c in line.trim().chars() {
        if !c.is_ascii_digit() {
            shape.push(c);
        } else if !shape.ends_with('#') {
            shape.push('#');
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "Process 7 waits for ShareLock on transaction 768; blocked by process 12.\n\
                       Process 12 waits for ExclusiveLock on tuple (0,4) of relation 16468 of \
                       database 5; blocked by process 7.";
    const SAME: &str = "Process 9 waits for ExclusiveLock on tuple (3,41) of relation 2 of \
                        database 51; blocked by process 800.\n\
                        Process 800 waits for ShareLock on transaction 9; blocked by process 9.";

    #[test]
    fn the_relation_is_read_from_the_context() {
        let context = "while updating tuple (0,1) in relation \"region\"\nSQL statement \"x\"";
        let report = DeadlockReport::from_postgres(Some(ONE), Some(context));
        assert_eq!(report.relation, "region");
        assert_eq!(report.graph, ONE);
        assert_eq!(report.context.and_then(|context| context.statement).as_deref(), Some("x"));
        assert_eq!(report.edges[1].row_lock, Some("FOR NO KEY UPDATE"));
    }

    #[test]
    fn one_shape_has_one_fingerprint_wherever_the_cycle_is_entered() {
        let one = DeadlockReport::from_postgres(Some(ONE), None);
        let same = DeadlockReport::from_postgres(Some(SAME), None);
        let other = DeadlockReport::from_postgres(Some(&ONE.replace("Share", "RowShare")), None);
        assert_eq!(one.fingerprint, same.fingerprint);
        assert_ne!(one.fingerprint, other.fingerprint);
    }

    #[test]
    fn an_error_without_texts_still_gives_a_report() {
        let report = DeadlockReport::from_postgres(None, Some("während etwas geschah"));
        assert_eq!((report.relation.as_str(), report.graph.as_str()), ("unknown", ""));
    }
}
