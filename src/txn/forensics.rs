//! What a deadlock error tells: the wait-for graph, the relation, a fingerprint.
//!
//! Decides: how an error's texts become a report; unknown or translated text is never an error.
//! Never does: ask the server.

use super::locks::fnv1a;

/// What the victim of a deadlock was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadlockReport {
    /// The relation the victim was working on; `unknown` where the error does not tell.
    pub relation: String,
    /// Who waits for whom, one line a process, the victim first.
    pub graph: String,
    /// The same for deadlocks of the same shape: lock modes, kinds of locks and the relation,
    /// without process ids, transaction ids and tuple numbers, wherever the cycle is entered.
    pub fingerprint: String,
}

impl DeadlockReport {
    /// Reads the detail and the context of a PostgreSQL error 40P01.
    #[must_use]
    pub fn from_postgres(detail: Option<&str>, context: Option<&str>) -> Self {
        let graph = detail.unwrap_or_default().trim().to_owned();
        let relation = context.and_then(relation).unwrap_or("unknown").to_owned();
        let mut shape: Vec<String> = graph.lines().map(without_numbers).collect();
        shape.sort_unstable();
        let text = format!("{}|{relation}", shape.join("\n"));
        let fingerprint = format!("{:016x}", fnv1a(text.as_bytes()));
        Self { relation, graph, fingerprint }
    }
}

/// The name after `relation "` in an error's context.
fn relation(context: &str) -> Option<&str> {
    let (_, after) = context.split_once("relation \"")?;
    after.split_once('"').map(|(name, _)| name)
}

/// Every run of digits as one `#`: the lock modes and kinds remain.
fn without_numbers(line: &str) -> String {
    let mut shape = String::with_capacity(line.len());
    for c in line.trim().chars() {
        if !c.is_ascii_digit() {
            shape.push(c);
        } else if !shape.ends_with('#') {
            shape.push('#');
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "Process 7 waits for ShareLock on transaction 768; blocked by process 12.\n\
                       Process 12 waits for ExclusiveLock on tuple (0,4) of relation 16468 of \
                       database 5; blocked by process 7.";
    const SAME: &str = "Process 9 waits for ExclusiveLock on tuple (3,41) of relation 2 of \
                        database 51; blocked by process 800.\n\
                        Process 800 waits for ShareLock on transaction 9; blocked by process 9.";

    #[test]
    fn the_relation_is_read_from_the_context() {
        let context = "while updating tuple (0,1) in relation \"region\"\nSQL statement \"x\"";
        let report = DeadlockReport::from_postgres(Some(ONE), Some(context));
        assert_eq!(report.relation, "region");
        assert_eq!(report.graph, ONE);
    }

    #[test]
    fn one_shape_has_one_fingerprint_wherever_the_cycle_is_entered() {
        let one = DeadlockReport::from_postgres(Some(ONE), None);
        let same = DeadlockReport::from_postgres(Some(SAME), None);
        let other = DeadlockReport::from_postgres(Some(&ONE.replace("Share", "RowShare")), None);
        assert_eq!(one.fingerprint, same.fingerprint);
        assert_ne!(one.fingerprint, other.fingerprint);
    }

    #[test]
    fn an_error_without_texts_still_gives_a_report() {
        let report = DeadlockReport::from_postgres(None, Some("während etwas geschah"));
        assert_eq!((report.relation.as_str(), report.graph.as_str()), ("unknown", ""));
    }
}
