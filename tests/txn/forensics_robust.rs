//! No bytes make the reader fail, and its time stays in proportion to them.
//!
//! Decides: how texts are spoilt: cut, mixed, changed, repeated. Never does: ask a server.

use super::forensics::{fixture, fixtures};
use cupping::txn::forensics::{DeadlockReport, Explanation, explain, read};
use proptest::prelude::*;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Every fixture, as lines.
fn corpus() -> &'static Vec<Vec<Vec<u8>>> {
    static CORPUS: OnceLock<Vec<Vec<Vec<u8>>>> = OnceLock::new();
    CORPUS.get_or_init(|| {
        let folders = ["postgres", "postgres/translated", "mariadb", "mysql", "applications"];
        let names = folders.iter().flat_map(|folder| fixtures(folder));
        let lines = |name: String| {
            fixture(&name).split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
        };
        names.map(lines).collect()
    })
}

/// Reads, explains and prints in every format; what it made of the bytes.
fn everything(bytes: &[u8]) -> Explanation {
    let explanation = explain(read(bytes));
    let counted: usize = explanation.deadlocks.iter().map(|one| one.count).sum();
    assert!(counted <= explanation.reports);
    assert!(!explanation.text().contains('\u{1b}'));
    let json = serde_json::to_string(&explanation).expect("JSON");
    let _: serde_json::Value = serde_json::from_str(&json).expect("JSON again");
    for line in explanation.dot().lines() {
        let quotes = line.replace("\\\\", "").replace("\\\"", "");
        assert!(quotes.matches('"').count().is_multiple_of(2), "{line}");
    }
    for line in explanation.mermaid().lines() {
        assert!(matches!(line.matches('"').count(), 0 | 2), "{line}");
    }
    explanation
}

/// One way to spoil a line.
#[derive(Debug, Clone)]
enum Spoil {
    Cut(usize),
    Byte(usize, u8),
    Drop,
    Double,
    Swap(usize),
    Other(usize, usize),
}

fn spoil() -> impl Strategy<Value = Spoil> {
    prop_oneof![
        (0..200usize).prop_map(Spoil::Cut),
        (0..200usize, any::<u8>()).prop_map(|(at, byte)| Spoil::Byte(at, byte)),
        Just(Spoil::Drop),
        Just(Spoil::Double),
        (0..9usize).prop_map(Spoil::Swap),
        (any::<usize>(), any::<usize>()).prop_map(|(file, line)| Spoil::Other(file, line)),
    ]
}

fn spoilt(file: usize, spoils: &[(usize, Spoil)]) -> Vec<u8> {
    let corpus = corpus();
    let mut lines = corpus[file % corpus.len()].clone();
    for (at, spoil) in spoils {
        if lines.is_empty() {
            break;
        }
        let at = at % lines.len();
        match spoil {
            Spoil::Cut(length) => {
                let length = (*length).min(lines[at].len());
                lines[at].truncate(length);
            }
            Spoil::Byte(place, byte) if !lines[at].is_empty() => {
                let place = place % lines[at].len();
                lines[at][place] = *byte;
            }
            Spoil::Byte(..) => {}
            Spoil::Drop => drop(lines.remove(at)),
            Spoil::Double => lines.insert(at, lines[at].clone()),
            Spoil::Swap(by) => {
                let other = (at + by) % lines.len();
                lines.swap(at, other);
            }
            Spoil::Other(file, line) => {
                let other = &corpus[file % corpus.len()];
                lines.insert(at, other[line % other.len()].clone());
            }
        }
    }
    lines.concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        everything(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        drop(DeadlockReport::from_innodb_status(&text));
        drop(DeadlockReport::from_postgres(Some(&text), Some(&text)));
    }

    #[test]
    fn any_words_of_reports_are_read(
        words in proptest::collection::vec(prop_oneof![
            Just("Process "), Just("7"), Just(" waits for "), Just("ShareLock"), Just(" on "),
            Just("; blocked by "), Just("process 9."), Just("\n"), Just("\t"), Just("ERROR:  "),
            Just("DETAIL:  "), Just("deadlock detected"), Just("*** (1) TRANSACTION:\n"),
            Just("TRANSACTION 5, ACTIVE"), Just("RECORD LOCKS "), Just("TABLE LOCK table `"),
            Just(" trx id "), Just("*** WE ROLL BACK TRANSACTION (1)\n"), Just("\""), Just("»«"),
            Just("(0,4)"), Just("relation \""), Just("{\"log\":\""), Just("\"}\n"), Just(","),
            Just("2026-11-22 06:55:50.789 UTC"), Just("[7]"), Just("\\n"), Just("ñ"),
            Just("SQL statement \""), Just("99999999999999999999"), Just("while updating tuple"),
            Just("graph=\""), Just("Deadlock found when trying to get lock"), Just("[SQL: "),
        ], 0..80)
    ) {
        everything(words.concat().as_bytes());
    }

    #[test]
    fn spoilt_reports_are_read(
        file in any::<usize>(),
        spoils in proptest::collection::vec((any::<usize>(), spoil()), 0..12),
    ) {
        everything(&spoilt(file, &spoils));
    }

    #[test]
    fn a_report_cut_anywhere_is_a_report_or_unread(
        file in any::<usize>(), at in any::<usize>(),
    ) {
        let corpus = corpus();
        let whole = corpus[file % corpus.len()].concat();
        everything(&whole[..at % (whole.len() + 1)]);
    }
}

#[test]
fn time_stays_in_proportion_to_the_input() {
    let log = fixture("postgres/stderr.log");
    let dump = fixture("mariadb/three.txt");
    let cycle = "Process 7 waits for ShareLock on transaction 768; blocked by process 7";
    let long = [
        log.repeat(200),
        dump.repeat(200),
        format!("{}\n", " waits for ShareLock on ".repeat(40_000)).into_bytes(),
        format!("ERROR:  {}\n", "deadlock ".repeat(100_000)).into_bytes(),
        format!("{cycle}8.\n").repeat(10_000).into_bytes(),
        b"deadlock detected\n".repeat(50_000),
        b"2026-11-22 06:55:50 UTC,\"a\",\"b\",7,\"\n".repeat(10_000),
        format!("[SQL: {}\n", "'".repeat(1_000_000)).into_bytes(),
        format!("(0,{}\"Lock\"", "(1,2".repeat(100_000)).into_bytes(),
        "while updating tuple ".repeat(50_000).into_bytes(),
    ];
    for (at, text) in long.iter().enumerate() {
        let start = Instant::now();
        drop(explain(read(text)));
        let spent = start.elapsed();
        // Generous: a build without optimisation on a busy machine reads a megabyte a second.
        assert!(spent < Duration::from_secs(20), "input {at}: {spent:?} for {} bytes", text.len());
    }
}
