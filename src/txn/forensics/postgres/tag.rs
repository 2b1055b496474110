//! The lock tags of PostgreSQL: `tuple (0,4) of relation 16468 of database 5`.
//!
//! Decides: what is locked, from `DescribeLockTag` of lmgr.c; in other languages by the brackets
//! and the count of numbers. Never does: fail; what is unknown stays as text.

use crate::txn::forensics::model::{LockedObject, ObjectKind};
use crate::txn::forensics::scan;

/// Words that stand directly before the OID of a database in translations that name it first.
const DATABASE_FIRST: [&str; 2] = ["データベース", "数据库"];

/// A tag in English.
pub(super) fn english(tag: &str) -> LockedObject {
    let tag = tag.trim();
    let numbers: Vec<&str> = scan::runs(tag).collect();
    let of = |kind| LockedObject::of(kind);
    let at = |index: usize| numbers.get(index).copied();
    let oid = |index: usize| at(index).and_then(|number| number.parse().ok());
    let database = |index: usize| at(index).map(str::to_owned);
    let is = |start: &str| tag.starts_with(start);
    if is("relation ") {
        LockedObject { oid: oid(0), database: database(1), ..of(ObjectKind::Relation) }
    } else if is("extension of relation ") {
        LockedObject { oid: oid(0), database: database(1), ..of(ObjectKind::Extension) }
    } else if is("page ") {
        let page = at(0).and_then(|page| page.parse().ok());
        LockedObject { page, oid: oid(1), database: database(2), ..of(ObjectKind::Page) }
    } else if is("tuple ") {
        let tuple = scan::tuple(tag).map(|(tuple, _)| tuple);
        LockedObject { tuple, oid: oid(2), database: database(3), ..of(ObjectKind::Tuple) }
    } else if is("transaction ") {
        let transaction = at(0).map(str::to_owned);
        LockedObject { transaction, ..of(ObjectKind::Transaction) }
    } else if let Some(id) = tag.strip_prefix("virtual transaction ") {
        LockedObject { transaction: Some(short(id)), ..of(ObjectKind::VirtualTransaction) }
    } else if is("speculative token ") {
        let (key, transaction) = (at(0).map(str::to_owned), at(1).map(str::to_owned));
        LockedObject { key, transaction, ..of(ObjectKind::SpeculativeToken) }
    } else if is("advisory lock ") || is("user lock ") {
        let key = scan::between(tag, "[", "]").map(|key| short(&format!("[{key}]")));
        LockedObject { key, ..of(ObjectKind::Advisory) }
    } else if is("remote transaction ") {
        let transaction = at(0).map(str::to_owned);
        LockedObject { transaction, ..of(ObjectKind::RemoteTransaction) }
    } else if let Some(key) = tag.strip_prefix("object ") {
        LockedObject { key: Some(short(key)), database: database(2), ..of(ObjectKind::Object) }
    } else if let Some(object) = innodb(tag) {
        object
    } else {
        LockedObject { key: Some(short(tag)), ..of(ObjectKind::Unknown) }
    }
}

/// The words of our own events for locks of InnoDB: `index i of table d.t`, `table d.t`.
fn innodb(tag: &str) -> Option<LockedObject> {
    let (index, table) = match tag.strip_prefix("index ") {
        Some(rest) => rest.split_once(" of table ").map(|(index, table)| (Some(index), table))?,
        None => (None, tag.strip_prefix("table ")?),
    };
    let table = table.split(" (").next().unwrap_or(table);
    let (table, partition) = match table.split_once(" partition ") {
        Some((table, partition)) => (table, Some(short(partition))),
        None => (table, None),
    };
    let (database, relation) = match table.split_once('.') {
        Some((database, relation)) => (Some(short(database)), relation),
        None => (None, table),
    };
    let kind = if index.is_some() { ObjectKind::Record } else { ObjectKind::Table };
    Some(LockedObject {
        index: index.map(short),
        relation: Some(short(relation)),
        database,
        partition,
        ..LockedObject::of(kind)
    })
}

/// A tag in any language.
pub(super) fn any(tag: &str) -> LockedObject {
    let known = english(tag);
    if known.kind != ObjectKind::Unknown {
        return known;
    }
    let numbers: Vec<&str> = scan::runs(tag).take(7).collect();
    translated(tag, &numbers)
}

/// A tag in another language, by its numbers.
pub(super) fn translated(tag: &str, numbers: &[&str]) -> LockedObject {
    let known = english(tag.trim_start_matches(|c: char| !c.is_ascii_alphabetic()));
    if known.kind != ObjectKind::Unknown {
        return known;
    }
    let owned = |at: usize| numbers.get(at).map(|number| (*number).to_owned());
    if let Some(key) = scan::between(tag, "[", "]") {
        let key = Some(short(&format!("[{key}]")));
        return LockedObject { key, ..LockedObject::of(ObjectKind::Advisory) };
    }
    let first = numbers.first().and_then(|first| tag.find(first)).unwrap_or_default();
    let reversed = DATABASE_FIRST.iter().any(|word| tag[..first].trim_end().ends_with(word));
    let relation = |at: usize| {
        let (oid, database) = if reversed { (at + 1, at) } else { (at, at + 1) };
        (numbers.get(oid).and_then(|oid| oid.parse().ok()), owned(database))
    };
    if let Some((tuple, _)) = scan::tuple(tag)
        && numbers.len() >= 4
    {
        let place = if reversed { 0 } else { 2 };
        let (oid, database) = relation(place);
        let tuple = Some(tuple);
        return LockedObject { tuple, oid, database, ..LockedObject::of(ObjectKind::Tuple) };
    }
    match numbers {
        [id] => LockedObject {
            transaction: Some((*id).to_owned()),
            ..LockedObject::of(ObjectKind::Transaction)
        },
        [a, b] if tag.contains(&format!("{a}/{b}")) => LockedObject {
            transaction: Some(format!("{a}/{b}")),
            ..LockedObject::of(ObjectKind::VirtualTransaction)
        },
        [_, _] => {
            let (oid, database) = relation(0);
            LockedObject { oid, database, ..LockedObject::of(ObjectKind::Relation) }
        }
        _ => LockedObject { key: Some(short(tag)), ..LockedObject::of(ObjectKind::Unknown) },
    }
}

fn short(text: &str) -> String {
    scan::excerpt(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_of_the_lock_manager_is_read() {
        let kind = |tag: &str| english(tag).kind;
        assert_eq!(kind("relation 1 of database 2"), ObjectKind::Relation);
        assert_eq!(kind("extension of relation 1 of database 2"), ObjectKind::Extension);
        assert_eq!(kind("page 3 of relation 1 of database 2"), ObjectKind::Page);
        assert_eq!(kind("virtual transaction 3/21"), ObjectKind::VirtualTransaction);
        assert_eq!(kind("speculative token 1 of transaction 7"), ObjectKind::SpeculativeToken);
        assert_eq!(kind("object 1 of class 2 of database 3"), ObjectKind::Object);
        assert_eq!(kind("user lock [1,2,3]"), ObjectKind::Advisory);
        let remote = "remote transaction 7 of subscription 9 of database 3";
        assert_eq!(kind(remote), ObjectKind::RemoteTransaction);
        assert_eq!(kind("unrecognized locktag type 12"), ObjectKind::Unknown);
        let tuple = english("tuple (0,4) of relation 16468 of database 5");
        assert_eq!((tuple.tuple, tuple.oid), (Some((0, 4)), Some(16468)));
        assert_eq!(tuple.database.as_deref(), Some("5"));
        assert_eq!(tuple.words(), "tuple (0,4) of relation 16468");
    }
}
