//! Reports that somebody else quotes: applications, our own events, pasted pieces.
//!
//! Decides: nothing of its own. Never does: ask a server.

use super::forensics::{closed, explained, fixture};
use cupping::txn::forensics::{DeadlockReport, Pattern, read};

#[test]
fn stack_traces_that_say_it_thrice_tell_of_one_deadlock() {
    let java = explained("applications/java-postgres.log");
    assert_eq!((java.reports, java.deadlocks.len(), java.deadlocks[0].count), (2, 1, 1));
    let statement = java.deadlocks[0].report.nodes[0].statement.as_deref();
    assert_eq!(statement, Some("update account set balance=? where id=?"));
    assert_eq!(java.deadlocks[0].report.relation, "account");

    let python = explained("applications/python-postgres.log");
    assert_eq!((python.reports, python.deadlocks.len(), python.deadlocks[0].count), (3, 1, 1));
    assert_eq!(python.deadlocks[0].first_seen.as_deref(), Some("2024-05-01T12:00:02.456"));

    let php = explained("applications/php-mysql.log");
    assert_eq!((php.reports, php.deadlocks.len(), php.deadlocks[0].count), (2, 1, 2));
    assert_eq!(php.deadlocks[0].pattern, Pattern::NoGraph);

    let docker = explained("applications/docker.json");
    assert_eq!((docker.reports, docker.deadlocks.len()), (3, 3));
}

#[test]
fn our_own_events_keep_the_fingerprint_that_was_logged() {
    let context = "while updating tuple (0,4) in relation \"region\"";
    let detail = "Process 7 waits for ShareLock on transaction 768; blocked by process 12.\n\
                  Process 12 waits for ShareLock on transaction 767; blocked by process 7.";
    let live = DeadlockReport::from_postgres(Some(detail), Some(context));
    let status = String::from_utf8(fixture("mariadb/three.txt")).expect("text");
    let innodb = DeadlockReport::from_innodb_status(&status).expect("a report");
    for report in [live, innodb] {
        let fields = serde_json::json!({
            "message": "deadlock", "relation": report.relation, "graph": report.graph,
            "fingerprint": report.fingerprint, "attempt": 1,
        });
        let nested = serde_json::json!({
            "timestamp": "2026-11-22T06:55:50.789Z", "level": "WARN", "fields": fields,
        });
        let line = format!(
            "2026-11-22T06:55:50.789Z  WARN cupping::txn::events: deadlock name=\"x\" attempt=1 \
             relation={:?} fingerprint={:?} graph={:?}",
            report.relation, report.fingerprint, report.graph
        );
        for text in [nested.to_string(), line] {
            let found = read(text.as_bytes()).reports;
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(found[0].fingerprint, report.fingerprint);
            assert_eq!(found[0].relation, report.relation);
            assert_eq!(found[0].engine, report.engine);
            assert!(closed(&found[0]));
            assert_eq!(found[0].timestamp.as_deref(), Some("2026-11-22T06:55:50.789Z"));
        }
    }
}

#[test]
fn what_looks_like_a_report_and_is_cut_is_said_to_be_unread() {
    let cut = "Process 7 waits for ShareLock on transaction 768; blocked by process 12.\n";
    let reading = read(cut.as_bytes());
    assert!(reading.reports.is_empty());
    assert_eq!((reading.unread.len(), reading.unread[0].line), (1, 1));
    assert!(reading.unread[0].why.contains("process 12"), "{:?}", reading.unread);
    let broken = read(b"one\nProcess 7 waits for; blocked by process twelve\n");
    assert_eq!((broken.unread.len(), broken.unread[0].line), (1, 2));
}

#[test]
fn a_report_in_one_line_or_in_an_object_of_javascript_is_read() {
    let line = "ERROR: deadlock detected DETAIL: Process 7 waits for ShareLock on transaction 768; \
                blocked by process 12. Process 12 waits for ShareLock on transaction 767; blocked \
                by process 7. CONTEXT: while updating tuple (0,4) in relation \"region\" x";
    let object = "error: deadlock detected\n  code: '40P01',\n  detail: 'Process 7 waits for \
                  ShareLock on transaction 768; blocked by process 12.\\n' +\n    'Process 12 \
                  waits for ShareLock on transaction 767; blocked by process 7.',\n  where: 'while \
                  updating tuple (0,4) in relation \"region\"',\n";
    for text in [line, object] {
        let reading = read(text.as_bytes());
        assert!(reading.unread.is_empty(), "{reading:?}");
        let [report] = reading.reports.as_slice() else { panic!("{text}: {reading:?}") };
        assert!(closed(report));
        let context = report.context.as_ref().expect("a context");
        assert_eq!(context.text, "while updating tuple (0,4) in relation \"region\"");
    }
}
