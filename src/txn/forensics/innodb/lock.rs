//! The lines of InnoDB's locks: `RECORD LOCKS …` and `TABLE LOCK …`.
//!
//! Decides: table, index, mode and owner of a lock, in every release's spelling.
//! Never does: read the bytes of a record: they are data.

use crate::txn::forensics::model::{Lock, LockedObject, ObjectKind};
use crate::txn::forensics::scan;

/// A lock, and the transaction that holds it or asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OwnedLock {
    pub(super) owner: String,
    pub(super) lock: Lock,
}

/// Reads a line that describes a lock.
pub(super) fn parse(line: &str) -> Option<OwnedLock> {
    let line = line.trim();
    let (kind, rest) = if let Some(rest) = line.strip_prefix("RECORD LOCKS ") {
        (ObjectKind::Record, rest)
    } else {
        (ObjectKind::Table, line.strip_prefix("TABLE LOCK ")?)
    };
    // What stands after the owner holds no name, so the last mark is the true one.
    let (place, rest) = rest.rsplit_once(" trx id ")?;
    let (owner, mode) = match rest.find(" lock") {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (before, table) = match kind {
        ObjectKind::Record => place.split_once(" of table ").or(place.split_once(" table "))?,
        _ => ("", place.strip_prefix("table ")?),
    };
    let index = before.split_once("index ").map(|(_, index)| bare(index).to_owned());
    let page = scan::between(before, "page no ", " ").and_then(|page| page.parse().ok());
    let (table, partition) = match table.split_once("/* Partition ") {
        Some((table, partition)) => {
            (table, partition.split("*/").next().map(|name| bare(name).to_owned()))
        }
        None => (table, None),
    };
    let (database, relation) = qualified(table.trim());
    let object = LockedObject {
        relation: Some(relation),
        database,
        index,
        partition,
        page,
        ..LockedObject::of(kind)
    };
    Some(OwnedLock { owner: owner.trim().to_owned(), lock: Lock { mode: mode_name(mode), object } })
}

/// `` `db`.`table` ``, `db.table`, `db/table`: database and table.
fn qualified(name: &str) -> (Option<String>, String) {
    let parts = name.split_once("`.`").or(name.split_once('.')).or(name.split_once('/'));
    match parts {
        Some((database, table)) => {
            let partition = table.split("#P#").next().unwrap_or(table);
            (Some(bare(database).to_owned()), bare(partition).to_owned())
        }
        None => (None, bare(name).to_owned()),
    }
}

fn bare(name: &str) -> &str {
    scan::head(name.trim().trim_matches('`'), 256)
}

/// ` lock_mode X locks rec but not gap waiting` and ` lock mode S` as `X locks rec but not gap`
/// and `S`.
fn mode_name(text: &str) -> String {
    let text = text.trim();
    let text = text.strip_prefix("lock_mode ").or(text.strip_prefix("lock mode ")).unwrap_or(text);
    let text = text.trim_end().trim_end_matches("waiting").trim_end();
    scan::head(text, 120).to_owned()
}

/// The number of `Record lock, heap no 4 PHYSICAL RECORD: …`.
pub(super) fn heap(line: &str) -> Option<u64> {
    let rest = line.trim_start().strip_prefix("Record lock, heap no ")?;
    scan::number(rest).map(|(heap, _)| heap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_of_every_spelling_are_read() {
        for (line, table, index, mode) in [
            (
                "RECORD LOCKS space id 5 page no 3 n bits 320 index PRIMARY of table `shop`.`t` \
                 trx id 24 lock_mode X locks rec but not gap waiting",
                "t",
                Some("PRIMARY"),
                "X locks rec but not gap",
            ),
            (
                "RECORD LOCKS space id 0 page no 833 n bits 72 index `uniq` of table `a`.`b c` \
                 /* Partition `p0` */ trx id 5F36A lock mode S waiting",
                "b c",
                Some("uniq"),
                "S",
            ),
            (
                "TABLE LOCK table `shop`.`a` trx id 157 lock mode AUTO-INC waiting",
                "a",
                None,
                "AUTO-INC",
            ),
            ("TABLE LOCK table `a`.` trx id 9 ` trx id 0 4 lock mode IX", " trx id 9 ", None, "IX"),
        ] {
            let lock = parse(line).expect(line);
            assert_eq!(lock.lock.object.relation.as_deref().map(str::trim), Some(table.trim()));
            assert_eq!(lock.lock.object.index.as_deref(), index, "{line}");
            assert_eq!(lock.lock.mode, mode, "{line}");
            assert!(!lock.owner.is_empty());
        }
        assert_eq!(parse("RECORD LOCKS space id 5"), None);
        assert_eq!(parse("SELECT 1"), None);
    }
}
