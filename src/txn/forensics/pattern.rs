//! The kind of a deadlock, as far as its report tells.
//!
//! Decides: which facts of a report mean which kind. Never does: say what to do (see `advice`).

use super::model::{Edge, Engine, ObjectKind};
use super::{DeadlockReport, scan};
use std::collections::HashSet;

/// Kinds of deadlocks that have remedies of their own.
///
/// ```
/// use cupping::txn::forensics::{DeadlockReport, Pattern, pattern};
///
/// assert_eq!(pattern(&DeadlockReport::of_innodb_error()), Pattern::NoGraph);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pattern {
    /// Several tables, taken in different orders.
    TableOrder,
    /// Rows of one table, taken in different orders.
    RowOrder,
    /// Rows taken in different orders, of one table or of several: the statements are not told.
    LockOrder,
    /// Two who hold a shared lock on a row both ask for a stronger one.
    LockUpgrade,
    /// Several queue for one row, one of them inside the cycle.
    HotRow,
    /// The check of a foreign key locks a parent that others change.
    ForeignKeyCheck,
    /// A cascading delete or update meets those who write the children.
    Cascade,
    /// Insertions of equal keys into a unique index, in different orders.
    UniqueInsert,
    /// Insertions into a gap that each has locked.
    GapInsert,
    /// Next-key locks on all that a statement reads: no index leads to its rows.
    FullScan,
    /// Locks of whole tables.
    TableLock,
    /// Advisory locks, taken in different orders.
    AdvisoryOrder,
    /// The counter of an auto-increment column.
    AutoIncrement,
    /// InnoDB gave up searching.
    TooDeep,
    /// The text names the error without its graph.
    NoGraph,
    /// Something else.
    Unknown,
}

/// The kind of a deadlock.
///
/// ```
/// use cupping::txn::forensics::{DeadlockReport, Pattern, pattern};
///
/// let detail = "Process 7 waits for ExclusiveLock on advisory lock [5,0,2,1]; blocked by process \
///               12.\nProcess 12 waits for ExclusiveLock on advisory lock [5,0,1,1]; blocked by \
///               process 7.";
/// let report = DeadlockReport::from_postgres(Some(detail), None);
/// assert_eq!(pattern(&report), Pattern::AdvisoryOrder);
/// ```
#[must_use]
pub fn pattern(report: &DeadlockReport) -> Pattern {
    if report.too_deep {
        return Pattern::TooDeep;
    }
    if report.edges.is_empty() {
        return Pattern::NoGraph;
    }
    match report.engine {
        Engine::PostgreSql => postgres(report),
        Engine::InnoDb => innodb(report),
    }
}

fn any(report: &DeadlockReport, test: impl Fn(&Edge) -> bool) -> bool {
    report.edges.iter().any(test)
}

fn kind(report: &DeadlockReport, kind: ObjectKind) -> bool {
    any(report, |edge| edge.object.kind == kind)
}

fn postgres(report: &DeadlockReport) -> Pattern {
    if kind(report, ObjectKind::Advisory) {
        return Pattern::AdvisoryOrder;
    }
    if kind(report, ObjectKind::Relation) {
        return Pattern::TableLock;
    }
    let contexts = || report.edges.iter().filter_map(|edge| edge.context.as_ref());
    let inner = |test: &dyn Fn(&str) -> bool| {
        contexts().filter_map(|context| context.statement.as_deref()).any(test)
    };
    if inner(&|statement| statement.contains("FOR KEY SHARE OF x")) {
        return Pattern::ForeignKeyCheck;
    }
    let cascade = |statement: &str| {
        let written =
            statement.starts_with("DELETE FROM ONLY") || statement.starts_with("UPDATE ONLY");
        written && statement.contains("$1 OPERATOR(")
    };
    if inner(&cascade) {
        return Pattern::Cascade;
    }
    let inserting =
        |action: &str| matches!(action, "inserting index tuple" | "checking uniqueness of");
    if contexts().filter_map(|context| context.action.as_deref()).any(inserting)
        || kind(report, ObjectKind::SpeculativeToken)
    {
        return Pattern::UniqueInsert;
    }
    if kind(report, ObjectKind::Tuple) {
        return Pattern::HotRow;
    }
    let relations: HashSet<&str> =
        contexts().filter_map(|context| context.relation.as_deref()).collect();
    if relations.len() > 1 {
        return Pattern::TableOrder;
    }
    by_statements(report)
}

/// What the statements tell where the locks do not: one text twice means one row, locked weaker
/// before; several tables mean an order between them.
fn by_statements(report: &DeadlockReport) -> Pattern {
    let statements: Vec<&str> =
        report.nodes.iter().filter_map(|node| node.statement.as_deref()).collect();
    if statements.len() < 2 || statements.len() < report.edges.len() {
        return Pattern::LockOrder;
    }
    let literal = statements.iter().any(|text| !text.contains(['$', '?']));
    if literal && statements.iter().all(|text| text.trim() == statements[0].trim()) {
        return Pattern::LockUpgrade;
    }
    let tables: HashSet<String> = statements.iter().filter_map(|text| table(text)).collect();
    match tables.len() {
        0 => Pattern::LockOrder,
        1 => Pattern::RowOrder,
        _ => Pattern::TableOrder,
    }
}

/// The table that a statement changes or locks first, in lower case.
fn table(statement: &str) -> Option<String> {
    let shape = scan::shape(statement);
    let words: Vec<&str> = shape.split_whitespace().collect();
    let after = |word: &str| words.iter().position(|found| *found == word).map(|at| at + 1);
    let mut at = match *words.first()? {
        "update" => 1,
        "insert" | "merge" | "replace" => after("into")?,
        "delete" | "select" => after("from")?,
        _ => return None,
    };
    while matches!(words.get(at), Some(&"only" | &"ignore" | &"low_priority")) {
        at += 1;
    }
    let name = words.get(at)?.split('(').next()?;
    let name = name.rsplit('.').next()?.trim_matches(['"', '`', ';', ',']);
    (!name.is_empty()).then(|| name.to_owned())
}

fn innodb(report: &DeadlockReport) -> Pattern {
    if any(report, |edge| edge.mode.contains("AUTO-INC")) {
        return Pattern::AutoIncrement;
    }
    if kind(report, ObjectKind::Table) {
        return Pattern::TableLock;
    }
    let shared = |mode: &str| mode == "S" || mode.starts_with("S ");
    let holds_shared = |edge: &Edge| edge.held.iter().any(|mode| shared(mode));
    if any(report, |edge| edge.mode.contains("insert intention")) {
        let unique = any(report, holds_shared);
        return if unique { Pattern::UniqueInsert } else { Pattern::GapInsert };
    }
    let statement = |edge: &Edge| {
        let node = report.nodes.iter().find(|node| node.id == edge.waiter)?;
        node.statement.as_deref()
    };
    let checks_parent = |edge: &Edge| {
        let own = statement(edge).and_then(table);
        let locked = edge.object.relation.as_deref().map(str::to_lowercase);
        shared(&edge.mode) && own.is_some() && own != locked
    };
    if any(report, checks_parent) {
        return Pattern::ForeignKeyCheck;
    }
    let inserts = |edge: &Edge| {
        statement(edge).is_some_and(|text| {
            let word = text.trim_start().get(..6).unwrap_or_default();
            word.eq_ignore_ascii_case("insert")
        })
    };
    if any(report, |edge| shared(&edge.mode) && inserts(edge)) {
        return Pattern::UniqueInsert;
    }
    if report.edges.iter().all(|edge| edge.mode.starts_with('X') && holds_shared(edge)) {
        return Pattern::LockUpgrade;
    }
    let tables: HashSet<&str> =
        report.edges.iter().filter_map(|edge| edge.object.relation.as_deref()).collect();
    // A next-key lock on the clustered index: rows were found by reading, not by a key.
    let scans = |edge: &Edge| {
        let index = edge.object.index.as_deref().unwrap_or_default();
        edge.mode == "X" && matches!(index, "PRIMARY" | "GEN_CLUST_INDEX")
    };
    if any(report, scans) && tables.len() < 2 {
        return Pattern::FullScan;
    }
    if tables.len() > 1 { Pattern::TableOrder } else { Pattern::RowOrder }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_a_statement_is_found() {
        for statement in [
            "UPDATE ONLY public.\"T\" SET x = 1",
            "insert into t(a) values (1)",
            "DELETE FROM `d`.`t` WHERE a = 1",
            "select * from t where id = 1 for update",
        ] {
            assert_eq!(table(statement).as_deref(), Some("t"), "{statement}");
        }
        assert_eq!(table("commit"), None);
        assert_eq!(table(""), None);
    }
}
