//! Reports of every engine and release, read from texts.
//!
//! Decides: nothing of its own; the fixtures are texts as servers and libraries wrote them.
//! Never does: ask a server (see `forensics_live`).

use cupping::txn::forensics::{
    DeadlockReport, Engine, Explanation, ObjectKind, Pattern, Reading, explain, read,
};
use std::collections::HashSet;
use std::path::PathBuf;

/// The bytes of a fixture.
pub fn fixture(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/deadlocks");
    let path = folder.join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of all fixtures below a folder.
pub fn fixtures(folder: &str) -> Vec<String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/deadlocks");
    let entries = std::fs::read_dir(root.join(folder)).expect("a folder of fixtures");
    let names =
        entries.map(|entry| entry.expect("readable")).filter(|entry| entry.path().is_file());
    let mut names: Vec<String> =
        names.map(|entry| format!("{folder}/{}", entry.file_name().to_string_lossy())).collect();
    names.sort();
    names
}

fn reading(name: &str) -> Reading {
    read(&fixture(name))
}

/// The distinct deadlocks of a fixture.
pub fn explained(name: &str) -> Explanation {
    explain(reading(name))
}

/// Each waits for the next and the last for the first.
pub fn closed(report: &DeadlockReport) -> bool {
    let edges = &report.edges;
    (0..edges.len()).all(|at| edges[at].holder == edges[(at + 1) % edges.len()].waiter)
        && !edges.is_empty()
}

fn fingerprints(name: &str) -> Vec<String> {
    reading(name).reports.into_iter().map(|report| report.fingerprint).collect()
}

#[test]
fn every_shape_that_was_made_on_postgresql_is_read_once_and_closed() {
    let reading = reading("postgres/pg15-shapes.txt");
    assert!(reading.unread.is_empty(), "{:?}", reading.unread);
    for report in &reading.reports {
        assert!(closed(report), "{report:?}");
        assert_eq!(report.nodes[0].id, report.edges[0].waiter);
        assert_eq!(report.victim().map(|node| &node.id), Some(&report.nodes[0].id));
    }
    // Ten deadlocks, each told by a client and by the log.
    let explanation = explain(reading);
    assert_eq!(explanation.reports, 20);
    assert_eq!(explanation.deadlocks.iter().map(|one| one.count).sum::<usize>(), 10);
    let patterns: HashSet<Pattern> =
        explanation.deadlocks.iter().map(|deadlock| deadlock.pattern).collect();
    for pattern in [
        Pattern::UniqueInsert,
        Pattern::RowOrder,
        Pattern::AdvisoryOrder,
        Pattern::TableLock,
        Pattern::HotRow,
        Pattern::LockUpgrade,
        Pattern::Cascade,
    ] {
        assert!(patterns.contains(&pattern), "{pattern:?} is missing from {patterns:?}");
    }
}

#[test]
fn a_client_and_the_three_formats_of_the_log_tell_the_same_deadlocks() {
    let told = fingerprints("postgres/client.txt");
    assert_eq!(told.len(), 7);
    for name in ["postgres/stderr.log", "postgres/server.csv", "postgres/server.json"] {
        assert_eq!(fingerprints(name), told, "{name}");
    }
    let client = explained("postgres/client.txt");
    assert!(client.deadlocks.iter().any(|one| one.pattern == Pattern::LockOrder));
    let mut all = Reading::default();
    for name in fixtures("postgres") {
        all.reports.append(&mut reading(&name).reports);
    }
    let again = explain(all);
    assert_eq!(again.deadlocks.iter().map(|one| one.count).sum::<usize>(), 17);
}

#[test]
fn statements_of_many_lines_and_sessions_are_read_from_the_log() {
    for name in ["postgres/stderr.log", "postgres/server.csv", "postgres/server.json"] {
        let report = &reading(name).reports[0];
        let statement = report.nodes[0].statement.as_deref().expect("the victim's statement");
        assert!(statement.starts_with("update t\n"), "{name}: {statement}");
        assert!(statement.ends_with("where id=2;"), "{name}: {statement}");
        assert!(statement.contains("Process 7: \"x\" waits for, nothing"), "{name}: {statement}");
        let other = report.nodes[1].statement.as_deref().expect("the other's statement");
        assert_eq!(other, "update t\n   set v='3'::int\n where id=1;", "{name}");
        assert_eq!(report.nodes[0].application.as_deref(), Some("worker-A"), "{name}");
        assert_eq!(report.nodes[0].user.as_deref(), Some("postgres"), "{name}");
        let time = report.timestamp.as_deref();
        assert_eq!(time, Some("2026-11-24T20:29:40.932Z"), "{name}");
    }
}

#[test]
fn foreign_keys_and_functions_are_known_by_their_inner_statements() {
    let reports = reading("postgres/stderr.log").reports;
    let inner = |report: &DeadlockReport| {
        report.context.as_ref().and_then(|context| context.statement.clone())
    };
    let check =
        reports.iter().find(|report| report.relation == "region" && inner(report).is_some());
    let check = inner(check.expect("the check of a foreign key")).expect("its statement");
    assert!(check.ends_with("FOR KEY SHARE OF x"), "{check}");
    assert!(
        reports
            .iter()
            .any(|report| inner(report).as_deref() == Some("update t set v=v+1 where id=i"))
    );
    let cascade = explained("postgres/pg15-shapes.txt");
    let cascade = cascade.deadlocks.iter().find(|one| one.report.relation == "sim");
    let cascade = cascade.expect("the cascade").report.context.clone().expect("a context");
    assert_eq!(
        cascade.statement.as_deref(),
        Some("DELETE FROM ONLY \"public\".\"sim\" WHERE $1 OPERATOR(pg_catalog.=) \"b\"")
    );
}

#[test]
fn a_log_tells_what_others_of_the_cycle_were_doing() {
    let explanation = explained("postgres/pg15-shapes.txt");
    let three = explanation.deadlocks.iter().find(|one| one.report.edges.len() == 3);
    let edges = &three.expect("a cycle of three").report.edges;
    assert!(edges.iter().filter(|edge| edge.context.is_some()).count() >= 1, "{edges:?}");
}

#[test]
fn every_language_tells_the_same_deadlocks() {
    let names = fixtures("postgres/translated");
    assert!(names.len() >= 11, "{names:?}");
    let mut first: Option<Vec<String>> = None;
    for name in names {
        let reading = reading(&name);
        assert!(reading.unread.is_empty(), "{name}: {:?}", reading.unread);
        let [row, tuple, advisory, table] = reading.reports.as_slice() else {
            panic!("{name}: {} reports", reading.reports.len())
        };
        assert_eq!(row.relation, "region", "{name}");
        assert_eq!(row.edges[0].object.transaction.as_deref(), Some("766"), "{name}");
        let object = &tuple.edges[0].object;
        assert_eq!(object.kind, ObjectKind::Tuple, "{name}");
        assert_eq!(object.oid, Some(16468), "{name}");
        assert_eq!(object.database.as_deref(), Some("5"), "{name}");
        assert_eq!(advisory.edges[0].object.key.as_deref(), Some("[5,7,2,2]"), "{name}");
        assert_eq!(table.edges[0].object.oid, Some(16468), "{name}");
        for report in &reading.reports {
            assert!(closed(report), "{name}: {report:?}");
            let ran = report.nodes.iter().filter_map(|node| node.statement.as_deref());
            let ran: Vec<&str> = ran.collect();
            assert_eq!(ran[0], "update region set v=1 where id=2;", "{name}");
            assert_eq!(ran[1], "update region\n   set v=1\n where id=1;", "{name}");
        }
        let all: Vec<String> =
            reading.reports.iter().map(|report| report.fingerprint.clone()).collect();
        assert_eq!(first.get_or_insert_with(|| all.clone()), &all, "{name}");
    }
}

#[test]
fn what_carries_a_log_is_taken_off() {
    let told = fingerprints("postgres/stderr.log");
    assert_eq!(fingerprints("applications/compose.log"), told);
    let report = &reading("applications/syslog.log").reports[0];
    assert!(closed(report));
    assert_eq!(report.relation, "t");
    assert_eq!(report.nodes[0].statement.as_deref(), Some("update t set v=1\n where id=2;"));
    assert_eq!(report.timestamp.as_deref(), Some("2026-11-22T06:55:50.789Z"));
}

#[test]
fn interleaved_sessions_are_told_apart() {
    let reports = reading("applications/interleaved.log").reports;
    assert_eq!(reports.len(), 2);
    for (report, relation) in reports.iter().zip(["region", "bean"]) {
        assert_eq!(report.relation, relation);
        assert!(closed(report));
        for node in &report.nodes {
            let statement = node.statement.as_deref().unwrap_or_default();
            assert!(statement.starts_with(&format!("update {relation}")), "{report:?}");
        }
    }
}

#[test]
fn a_status_dump_and_the_error_log_of_mariadb_tell_the_same_deadlocks() {
    let logged = reading("mariadb/error.log");
    assert!(logged.unread.is_empty(), "{:?}", logged.unread);
    assert_eq!(logged.reports.len(), 12);
    let known: HashSet<&str> =
        logged.reports.iter().map(|report| report.fingerprint.as_str()).collect();
    for name in fixtures("mariadb").iter().filter(|name| name.ends_with(".txt")) {
        let text = String::from_utf8(fixture(name)).expect("text");
        let report = DeadlockReport::from_innodb_status(&text).expect(name);
        assert_eq!(report.engine, Engine::InnoDb);
        assert!(closed(&report), "{name}: {report:?}");
        assert!(known.contains(report.fingerprint.as_str()), "{name}");
        assert_eq!(report.nodes.iter().filter(|node| node.victim).count(), 1, "{name}");
        assert!(report.nodes.iter().all(|node| node.statement.is_some()), "{name}");
        let escaped = text.replace('\\', "\\\\").replace('\n', "\\n");
        let quoted = read(escaped.as_bytes()).reports;
        assert_eq!(quoted.len(), 1, "{name}");
        assert_eq!(quoted[0].fingerprint, report.fingerprint, "{name}");
    }
}

#[test]
fn patterns_of_mariadb_are_known() {
    for (name, pattern, nodes) in [
        ("two-rows", Pattern::RowOrder, 2),
        ("three", Pattern::RowOrder, 3),
        ("gap-insert", Pattern::GapInsert, 2),
        ("supremum", Pattern::GapInsert, 2),
        ("duplicate", Pattern::UniqueInsert, 2),
        ("shared-upgrade", Pattern::LockUpgrade, 2),
        ("foreign-key", Pattern::LockUpgrade, 2),
        ("full-scan", Pattern::FullScan, 2),
        ("auto-inc", Pattern::AutoIncrement, 2),
        ("partition", Pattern::RowOrder, 2),
        ("secondary", Pattern::RowOrder, 2),
        ("two-tables", Pattern::TableOrder, 2),
    ] {
        let explanation = explained(&format!("mariadb/{name}.txt"));
        assert_eq!(explanation.deadlocks.len(), 1, "{name}");
        assert_eq!(explanation.deadlocks[0].pattern, pattern, "{name}");
        assert_eq!(explanation.deadlocks[0].report.nodes.len(), nodes, "{name}");
    }
}

#[test]
fn a_statement_that_quotes_headings_does_not_end_its_transaction() {
    let report = &reading("mariadb/two-rows.txt").reports[0];
    let statements: Vec<&str> =
        report.nodes.iter().filter_map(|node| node.statement.as_deref()).collect();
    assert!(statements.iter().any(|text| text.ends_with("*** (9) TRANSACTION:' where id=1")));
    assert!(statements.iter().any(|text| text.contains("update t\n set v=1")));
}

#[test]
fn forms_of_mysql_are_read() {
    let status = &reading("mysql/status-8.0.txt").reports[0];
    assert!(closed(status) && status.nodes.len() == 3);
    assert_eq!(status.victim().map(|node| node.id.as_str()), Some("4003"));
    assert_eq!(status.nodes[0].user.as_deref(), Some("app"));
    assert_eq!(status.nodes[0].holds[0].object.heap_no, Some(3));

    let log = &reading("mysql/error-8.0.log").reports[0];
    assert!(closed(log));
    assert_eq!(log.edges[0].object.heap_no, Some(1));
    let statement = log.nodes[0].statement.as_deref();
    assert_eq!(statement, Some("/* pool 7 */ INSERT INTO counter (id, value)\nVALUES (1, 79)"));
    assert_eq!(log.timestamp.as_deref(), Some("2024-05-01T12:00:00.728726Z"));
    assert_eq!(&fingerprints("mysql/error-8.0.json")[0], &log.fingerprint);

    let old = &reading("mysql/status-5.5.txt").reports[0];
    assert!(closed(old));
    assert_eq!(old.nodes[0].id, "4 2719072253");
    assert_eq!(old.edges[0].object.partition.as_deref(), Some("p0"));

    let deep = explained("mysql/too-deep.txt");
    assert_eq!(deep.deadlocks[0].pattern, Pattern::TooDeep);
    assert_eq!(deep.deadlocks[0].report.victim().map(|node| node.id.as_str()), Some("9001"));
}

#[test]
fn headings_without_their_lines_are_said_to_be_unread() {
    let reading = reading("mysql/error-8.0-headings.json");
    assert!(reading.reports.is_empty());
    assert_eq!(reading.unread.len(), 1);
    assert!(reading.unread[0].why.contains("headings"), "{:?}", reading.unread);
    assert_eq!(reading.unread[0].line, 1);
}

#[test]
fn a_victim_that_mariadb_did_not_list_is_nobody() {
    let text = String::from_utf8(fixture("mariadb/two-tables.txt")).expect("text");
    let text = text.replace("WE ROLL BACK TRANSACTION (1)", "WE ROLL BACK TRANSACTION (0)");
    let report = DeadlockReport::from_innodb_status(&text).expect("a report");
    assert_eq!(report.victim(), None);
    assert!(closed(&report));
}
