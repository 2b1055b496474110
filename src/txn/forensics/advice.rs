//! What to do about each kind of deadlock.
//!
//! Decides: the words. Never does: look at a report.

use super::pattern::Pattern;

/// What happened, and what to do about it, most effective first.
///
/// ```
/// use cupping::txn::forensics::{Pattern, advice};
///
/// assert!(advice(Pattern::RowOrder).contains("ORDER BY"));
/// ```
#[must_use]
pub fn advice(pattern: Pattern) -> &'static str {
    match pattern {
        Pattern::TableOrder => TABLE_ORDER,
        Pattern::RowOrder => ROW_ORDER,
        Pattern::LockOrder => LOCK_ORDER,
        Pattern::LockUpgrade => LOCK_UPGRADE,
        Pattern::HotRow => HOT_ROW,
        Pattern::ForeignKeyCheck => FOREIGN_KEY_CHECK,
        Pattern::Cascade => CASCADE,
        Pattern::UniqueInsert => UNIQUE_INSERT,
        Pattern::GapInsert => GAP_INSERT,
        Pattern::FullScan => FULL_SCAN,
        Pattern::TableLock => TABLE_LOCK,
        Pattern::AdvisoryOrder => ADVISORY_ORDER,
        Pattern::AutoIncrement => AUTO_INCREMENT,
        Pattern::TooDeep => TOO_DEEP,
        Pattern::NoGraph => NO_GRAPH,
        Pattern::Unknown => UNKNOWN,
    }
}

const TABLE_ORDER: &str = "\
    Two transactions take locks in several tables, in different orders. Give the tables one \
    rank and let every transaction write them in that order; where the order of work is \
    fixed, lock the rows first, by rank, with SELECT … ORDER BY id FOR NO KEY UPDATE (FOR \
    UPDATE on MySQL and MariaDB). Until then, run the whole transaction again.";

const ROW_ORDER: &str = "\
    Two transactions change rows of one table in different orders. Sort the ids before \
    writing them one by one; a single UPDATE … WHERE id IN (…) does not keep an order, so \
    lock first with SELECT … WHERE id = ANY(…) ORDER BY id FOR NO KEY UPDATE (FOR UPDATE on \
    MySQL and MariaDB). Fewer rows a transaction make it rarer, the order makes it \
    impossible.";

const LOCK_ORDER: &str = "\
    Two transactions change rows in different orders, of one table or of several: a client \
    is told the victim's relation alone, and the server's log has the statements of both. \
    Sort the ids before writing rows of one table, give tables one rank, and lock first: \
    SELECT … WHERE id = ANY(…) ORDER BY id FOR NO KEY UPDATE (FOR UPDATE on MySQL and \
    MariaDB). Until then, run the whole transaction again.";

const LOCK_UPGRADE: &str = "\
    Two transactions hold a shared lock on one row (FOR SHARE, LOCK IN SHARE MODE, or the \
    check of a foreign key) and both ask for a stronger one. Take the strong lock first: \
    SELECT … FOR NO KEY UPDATE (FOR UPDATE on MySQL and MariaDB) before reading what the \
    change depends on; where a child is inserted and its parent changed, change the parent \
    first.";

const HOT_ROW: &str = "\
    Several transactions queue for one row, and one of them holds what another needs. Lock \
    in one order (ids ascending) and take the contended row last and briefly; better, do \
    without it: insert increments and sum them up, coalesce writes, or let one writer own \
    the row.";

const FOREIGN_KEY_CHECK: &str = "\
    The check of a foreign key locks the parent's row (KEY SHARE on PostgreSQL, S on InnoDB) \
    while another transaction changes it and needs what this one holds. Lock the parents \
    first, ids ascending, before inserting children; change parents with FOR NO KEY UPDATE \
    instead of FOR UPDATE and never their keys; move counters off a parent that many \
    children share.";

const CASCADE: &str = "\
    ON DELETE CASCADE (or ON UPDATE CASCADE) locks the children in an order of its own, \
    against those who write them. Let both sides take one lock first: writers shared, the \
    deleter exclusive (an advisory lock, or the parent's row with FOR UPDATE); or delete the \
    children yourself, sorted, before the parent. An index on the referencing column keeps \
    the cascade short.";

const UNIQUE_INSERT: &str = "\
    Transactions insert equal keys into a unique index in different orders; each waits for \
    the other's undecided row. Sort the rows by the unique key before inserting, in every \
    transaction; ON CONFLICT and ON DUPLICATE KEY UPDATE wait just the same. On InnoDB a \
    duplicate also leaves a shared lock behind: end the transaction after it.";

const GAP_INSERT: &str = "\
    Each transaction has locked the gap (SELECT … FOR UPDATE or a DELETE that found nothing; \
    at the end of an index the supremum) that the other inserts into. Do not lock what may \
    not exist: insert first and handle the duplicate, use INSERT … ON DUPLICATE KEY UPDATE, \
    or READ COMMITTED, which locks no gaps; else take a named lock for the key.";

const FULL_SCAN: &str = "\
    A statement locks every row and gap that it reads, because no index leads to its rows, \
    or a range is scanned. Look at its plan with EXPLAIN and add the index that its WHERE \
    clause needs; change by primary key; READ COMMITTED releases rows that do not match. \
    Then lock in ascending order.";

const TABLE_LOCK: &str = "\
    Transactions lock whole tables (LOCK TABLE, DDL, TRUNCATE) in different orders, or ask \
    for a stronger lock on a table than they hold. Take the strongest lock that the \
    transaction needs as its first statement, tables in one order; change one table a \
    transaction; set lock_timeout for DDL and try again.";

const ADVISORY_ORDER: &str = "\
    Advisory locks are taken in different orders, or in several calls. Collect all keys, \
    sort and de-duplicate them by the integer that is passed (not by the id that it is \
    computed from), and take them in one call before any row; of several kinds the same kind \
    first. Release with the transaction (pg_advisory_xact_lock).";

const AUTO_INCREMENT: &str = "\
    A statement holds the AUTO-INC lock of a table until it ends and waits for a row that \
    another holds, who now inserts into that table; the client may see error 1467. Set \
    innodb_autoinc_lock_mode = 2 (the default of MySQL 8; needs row-based replication), or \
    read first and insert with plain VALUES, or split INSERT … SELECT.";

const TOO_DEEP: &str = "\
    InnoDB gave up: too many transactions wait for one another, so it rolled one back \
    without a cycle found. It is a hot spot: shorten transactions, limit how many work on \
    the same rows at once (a queue, SKIP LOCKED), and retry with backoff.";

const NO_GRAPH: &str = "\
    This text names the error without its graph. On PostgreSQL look for the DETAIL in the \
    server's log at this time; on MySQL and MariaDB run SHOW ENGINE INNODB STATUS (it keeps \
    the latest only) or set innodb_print_all_deadlocks = ON and read the error log. Run the \
    whole transaction again.";

const UNKNOWN: &str = "\
    The locks tell no known pattern. Compare the statements: what each holds and asks for \
    must come in one order in all transactions. Run the whole transaction again.";
