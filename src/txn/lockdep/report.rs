//! An inversion, in words.
//!
//! Decides: what is said, and which remedy fits. Never does: find one.

use super::class::{Class, Mode};
use super::graph::{Edge, Graph, Step};
use super::record::{Place, Witness};
use std::fmt::Write;

/// Transactions whose orders of locking contradict each other.
///
/// ```
/// use cupping::txn::Lockdep;
///
/// for inversion in Lockdep::new().inversions() {
///     println!("{}\n{}", inversion.transactions.join(", "), inversion.report);
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inversion {
    /// The transactions, first the one that closed the cycle. One name alone means that the
    /// transaction can deadlock with another run of itself.
    pub transactions: Vec<&'static str>,
    /// What is locked, class by class.
    pub classes: Vec<Class>,
    /// All of it in words: who holds what, asked for where, and what to do.
    pub report: String,
}

pub(super) fn inversion(graph: &Graph<Witness>, cycle: &[usize]) -> Inversion {
    let edges: Vec<(&Edge, &Witness)> = cycle.iter().map(|number| graph.edge(*number)).collect();
    let mut transactions = Vec::new();
    let mut classes = Vec::new();
    for (edge, witness) in &edges {
        if !transactions.contains(&witness.name) {
            transactions.push(witness.name);
        }
        for class in [&edge.held.class, &edge.asked.class] {
            if !classes.contains(class) {
                classes.push(class.clone());
            }
        }
    }
    let mut report = match transactions.as_slice() {
        [one] => format!("transaction {one} can deadlock with another run of itself"),
        names => format!("transactions {} can deadlock", names.join(" and ")),
    };
    report.push_str(", though they have not:");
    // What does not fit on a String is no memory at all.
    for (edge, witness) in &edges {
        describe(&mut report, edge, witness).expect("a string takes everything");
    }
    write!(report, "\n  what to do: {}", remedy(&edges)).expect("a string takes everything");
    Inversion { transactions, classes, report }
}

fn describe(out: &mut String, edge: &Edge, witness: &Witness) -> std::fmt::Result {
    let (held, asked) = (&edge.held, &edge.asked);
    write!(out, "\n  transaction {} holds {} ({})", witness.name, held.class, held.mode.label())?;
    place(out, &witness.held_at)?;
    let which = match &edge.step {
        Step::Across => String::new(),
        Step::Same => ", the same again".to_owned(),
        Step::Up(column) => format!(", further up by {column}"),
        Step::Down(column) => format!(", further down by {column}"),
        Step::Plan => ", others, in the order of its plan".to_owned(),
        Step::Unknown => ", others, in an order that cannot be told".to_owned(),
    };
    write!(out, "\n    and asks for {} ({}){which}", asked.class, asked.mode.label())?;
    place(out, &witness.asked_at)
}

fn place(out: &mut String, place: &Place) -> std::fmt::Result {
    write!(out, "\n      at {}: {}", place.location, place.statement)
}

fn remedy(edges: &[(&Edge, &Witness)]) -> &'static str {
    let all = |fits: fn(&Step) -> bool| edges.iter().all(|(edge, _)| fits(&edge.step));
    if all(|step| *step == Step::Same) {
        return if edges.iter().any(|(edge, _)| edge.held.mode == Mode::KeyShare) {
            "lock the parent row in the stronger mode first, before the row that refers to it"
        } else {
            "take the stronger lock at once instead of making a shared one stronger"
        };
    }
    if all(|step| *step != Step::Across) {
        return "lock all the rows first, sorted: one SELECT … ORDER BY id … FOR UPDATE, or a \
                LockPlan; or send the statements in the order of their ids";
    }
    "let every transaction lock these in the same order, the first of them before all else"
}
