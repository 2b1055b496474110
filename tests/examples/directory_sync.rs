//! Several processes sync one directory: in orders of their own they deadlock and lose batches, by
//! each of the three remedies they do not.

use crate::outcome::{Outcome, server};

#[test]
fn a_directory_sync_loses_batches_to_deadlocks_and_none_by_any_remedy() {
    let outcome = Outcome::of("directory_sync", &["--postgres", &server("CUPPING_TEST_POSTGRES")]);
    assert!(outcome.number("before", "deadlocks") >= 50.0, "deadlocks by the hundred");
    assert!(outcome.number("before", "errors_surfaced") > 0.0);
    assert_ne!(outcome.note("before", "rows unlike the directory"), "0");
    #[cfg(feature = "lockdep")]
    assert_ne!(outcome.note("before", "contradicting lock orders"), "0");
    for form in ["ordered batches", "parts by id", "one writer"] {
        assert_eq!(outcome.number(form, "deadlocks"), 0.0, "{form}");
        assert_eq!(outcome.number(form, "errors_surfaced"), 0.0, "{form}");
        assert_eq!(outcome.note(form, "rows unlike the directory"), "0", "{form}");
        assert_eq!(outcome.note(form, "system users"), "1", "{form}");
    }
    let unknown = outcome.note("before", "members unknown to the directory");
    assert!(unknown.starts_with("8: 9000007 of group 7, "), "{unknown}");
    // Equal wishes are done once, and none is lost.
    let number = |note| -> usize { outcome.note("one writer", note).parse().expect("a number") };
    assert_eq!(number("wishes fulfilled") as f64, outcome.number("one writer", "operations"));
    assert!(number("jobs that the writer ran") < number("wishes fulfilled"));
}
