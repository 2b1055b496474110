//! Deadlocks that a text mentions: `deadlock detected`, `Deadlock found when trying to get lock`.
//!
//! Decides: which mentions are one event (a stack trace says it several times), which a graph
//! follows, and which statement belongs to them. Never does: read a graph.

use super::model::Engine;
use super::postgres::prefix::Meta;
use super::scan;
use std::collections::VecDeque;

/// Lines within which a stack trace repeats itself, and a graph follows its mention.
const REACH: usize = 60;
/// Mentions that wait for their graph; the oldest gives way.
const PENDING: usize = 256;

/// One deadlock of which the graph is not seen yet.
#[derive(Debug)]
pub(super) struct Mention {
    pub(super) engine: Engine,
    pub(super) key: String,
    pub(super) meta: Meta,
    pub(super) statement: Option<String>,
    touched: usize,
}

/// The mentions that wait for a graph.
#[derive(Debug, Default)]
pub(super) struct Mentions {
    pending: VecDeque<Mention>,
    /// Where the last graph of a session without a name ended.
    graph_line: Option<usize>,
}

/// The engine whose deadlock a line mentions.
pub(super) fn engine(line: &str) -> Option<Engine> {
    if !line.contains("eadlock") && !line.contains("EADLOCK") {
        return None;
    }
    let line = line.to_ascii_lowercase();
    if line.contains("deadlock found when trying to get lock") {
        return Some(Engine::InnoDb);
    }
    // InnoDB's log has `Transactions deadlock detected, dumping detailed information`.
    let other = line.contains("dumping detailed") || line.contains("no deadlock detected");
    (line.contains("deadlock detected") && !other).then_some(Engine::PostgreSql)
}

/// The statement that a library quotes beside its error.
pub(super) fn quoted_statement(line: &str) -> Option<&str> {
    /// What stands before a statement, and what may end it: the first of these that is found.
    const MARKS: [(&str, &[&str]); 6] = [
        ("[SQL: ", &[]),
        ("(SQL: ", &[") {\"", ") at "]),
        (", SQL: ", &[") {\"", ") at "]),
        ("executing '", &["' with params", "':"]),
        ("; SQL [", &["];"]),
        ("SQL statement: ", &[]),
    ];
    let (mark, ends) = MARKS.iter().find(|(mark, _)| line.contains(mark))?;
    let after = line.split_once(mark)?.1;
    let statement = match ends.iter().find_map(|end| after.find(end)) {
        Some(end) => &after[..end],
        None => after.trim_end().trim_end_matches([']', ')', '\'']),
    };
    Some(statement.trim()).filter(|statement| !statement.is_empty())
}

impl Mentions {
    /// A line that may mention a deadlock or quote its statement.
    pub(super) fn line(&mut self, key: &str, meta: &Meta, text: &str) {
        if let Some(engine) = engine(text) {
            self.mention(engine, key, meta);
        }
        if self.pending.back().is_some_and(|mention| mention.statement.is_none())
            && let Some(statement) = quoted_statement(text)
        {
            self.statement(key, meta.line, statement);
        }
    }

    fn mention(&mut self, engine: Engine, key: &str, meta: &Meta) {
        let near = |line: usize| meta.line.saturating_sub(line) <= REACH;
        let repeats = self.pending.iter_mut().rev().find(|mention| {
            mention.engine == engine
                && mention.key == key
                && near(mention.touched)
                && (meta.time.is_none() || meta.time == mention.meta.time)
        });
        if let Some(mention) = repeats {
            mention.touched = meta.line;
            return;
        }
        if meta.time.is_none() && engine == Engine::PostgreSql && self.graph_line.is_some_and(near)
        {
            return;
        }
        let (key, meta) = (key.to_owned(), meta.clone());
        let touched = meta.line;
        self.pending.push_back(Mention { engine, key, meta, statement: None, touched });
    }

    /// The statement of the newest mention of a session that has none.
    pub(super) fn statement(&mut self, key: &str, line: usize, statement: &str) {
        let mention =
            self.pending.iter_mut().rev().find(|mention| {
                mention.key == key && line.saturating_sub(mention.touched) <= REACH
            });
        if let Some(mention) = mention.filter(|mention| mention.statement.is_none()) {
            mention.statement = Some(scan::head(statement, scan::STATEMENT_BYTES).to_owned());
        }
    }

    /// A graph of PostgreSQL begins or goes on: the mention that it belongs to.
    pub(super) fn graph(&mut self, key: &str, line: usize) -> Option<Mention> {
        self.graph_line = Some(line);
        let at = self.pending.iter().rposition(|mention| {
            mention.engine == Engine::PostgreSql
                && mention.key == key
                && line.saturating_sub(mention.touched) <= REACH
        })?;
        self.pending.remove(at)
    }

    /// The next mention that no graph can follow any more.
    pub(super) fn expired(&mut self, line: usize) -> Option<Mention> {
        let first = self.pending.front()?;
        let old = line.saturating_sub(first.touched) > REACH || self.pending.len() > PENDING;
        if old { self.pending.pop_front() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_read_from_the_errors_of_libraries() {
        for line in [
            "[SQL: UPDATE t SET a = 1]",
            "QueryException: SQLSTATE[40001] (SQL: UPDATE t SET a = 1)",
            "(Connection: mysql, SQL: UPDATE t SET a = 1)",
            "An exception occurred while executing 'UPDATE t SET a = 1' with params [1]:",
            "PreparedStatementCallback; SQL [UPDATE t SET a = 1]; Deadlock found",
        ] {
            assert_eq!(quoted_statement(line), Some("UPDATE t SET a = 1"), "{line}");
        }
    }

    #[test]
    fn a_deadlock_of_either_engine_is_mentioned_in_any_case() {
        assert_eq!(engine("ñ Deadlock Detected"), Some(Engine::PostgreSql));
        assert_eq!(
            engine("1213 Deadlock found when trying to get lock; try restarting transaction"),
            Some(Engine::InnoDb)
        );
        assert_eq!(engine("No deadlock detected"), None);
        assert_eq!(engine("process 1 detected deadlock while waiting"), None);
    }
}
