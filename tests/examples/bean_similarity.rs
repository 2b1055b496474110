//! The report that the service answers: the old handler deadlocks on `region`, the service cannot.

use crate::outcome::{Outcome, server};

#[test]
fn the_old_handler_deadlocks_on_regions_and_the_service_does_not() {
    let outcome = Outcome::of("bean_similarity", &["--postgres", &server("CUPPING_TEST_POSTGRES")]);
    assert!(outcome.number("before", "deadlocks") > 0.0);
    let errors = outcome.form("before")["errors"].to_string();
    assert!(errors.contains("while updating tuple"), "{errors}");
    assert!(errors.contains("in relation \\\"region\\\""), "{errors}");
    for form in ["regions in order", "service"] {
        assert_eq!(outcome.number(form, "deadlocks"), 0.0, "{form}");
        assert_eq!(outcome.number(form, "errors_surfaced"), 0.0, "{form}");
    }
    // Both waits of the old handler are gone: for regions, and until a deadlock is found. What is
    // left is several times shorter, so that this holds on a busy machine too.
    let p99 = |form| outcome.number(form, "p99_ms");
    assert!(p99("service") <= p99("before"), "{} > {}", p99("service"), p99("before"));
    let wait = |form| -> f64 {
        let note = outcome.note(form, "lock wait of an operation, ms");
        note.parse().expect("a number")
    };
    assert!(wait("service") <= wait("before"), "{} > {}", wait("service"), wait("before"));
    #[cfg(feature = "lockdep")]
    assert_ne!(outcome.note("before", "contradicting lock orders"), "0");
    assert_eq!(outcome.note("service", "messages acknowledged"), "120");
}
