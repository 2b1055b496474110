//! The graph alone: a cycle is found if, and only if, there is one.
//!
//! Decides: the oracle. Never does: touch a server.

use super::*;
use proptest::prelude::*;

fn rows(table: &str, mode: Mode) -> Lock {
    Lock::new(Class::Rows(table.into()), mode)
}

fn across(held: &str, asked: &str) -> Edge {
    let (held, asked) = (rows(held, Mode::NoKeyUpdate), rows(asked, Mode::NoKeyUpdate));
    Edge { held, asked, step: Step::Across }
}

fn within(step: Step) -> Edge {
    Edge { step, ..across("a", "a") }
}

fn add(graph: &mut Graph<()>, edge: Edge) -> Found {
    graph.add(edge, || ())
}

#[test]
fn opposite_orders_of_two_and_of_three_are_cycles() {
    let mut graph = Graph::default();
    assert_eq!(add(&mut graph, across("a", "b")), Found::Order);
    assert_eq!(add(&mut graph, across("b", "c")), Found::Order);
    assert_eq!(add(&mut graph, across("a", "c")), Found::Order);
    assert_eq!(add(&mut graph, across("c", "a")), Found::Cycle(vec![3, 2]));
    assert_eq!(add(&mut graph, across("c", "a")), Found::Again(3));
    assert_eq!(add(&mut graph, across("b", "a")), Found::Cycle(vec![4, 0]));
    let mut graph = Graph::default();
    add(&mut graph, across("a", "b"));
    add(&mut graph, across("b", "c"));
    assert_eq!(add(&mut graph, across("c", "a")), Found::Cycle(vec![2, 0, 1]));
}

#[test]
fn up_against_down_is_a_cycle_and_up_alone_is_not() {
    let id: Arc<str> = "id".into();
    let mut graph = Graph::default();
    assert_eq!(add(&mut graph, within(Step::Up(id.clone()))), Found::Order);
    assert_eq!(add(&mut graph, within(Step::Down(id.clone()))), Found::Cycle(vec![1, 0]));
    let by_name = within(Step::Up("name".into()));
    assert_eq!(add(&mut graph, by_name), Found::Cycle(vec![2, 0]), "two orders are none");
    let mut graph = Graph::default();
    assert_eq!(add(&mut graph, within(Step::Unknown)), Found::Cycle(vec![0]));
    assert_eq!(add(&mut graph, within(Step::Plan)), Found::Order);
    assert_eq!(add(&mut graph, within(Step::Up(id))), Found::Cycle(vec![2, 1]));
}

#[test]
fn a_shared_lock_made_stronger_is_a_cycle_by_itself() {
    let upgrade =
        |held, asked| Edge { held: rows("a", held), asked: rows("a", asked), step: Step::Same };
    let mut graph = Graph::default();
    let found = add(&mut graph, upgrade(Mode::KeyShare, Mode::Update));
    assert_eq!(found, Found::Cycle(vec![0]));
    let alone = upgrade(Mode::NoKeyUpdate, Mode::Update);
    assert_eq!(add(&mut graph, alone), Found::Order, "nobody else can hold it so");
    let mut graph = Graph::default();
    let harmless = upgrade(Mode::KeyShare, Mode::NoKeyUpdate);
    assert_eq!(add(&mut graph, harmless), Found::Order, "KEY SHARE is in nobody's way");
    let alone = upgrade(Mode::NoKeyUpdate, Mode::Update);
    assert_eq!(add(&mut graph, alone), Found::Cycle(vec![1, 0]), "unless it is in somebody's");
}

#[test]
fn shared_modes_and_common_guards_close_no_cycle() {
    let mut graph = Graph::default();
    let mut reader = across("a", "b");
    reader.held.mode = Mode::KeyShare;
    add(&mut graph, reader);
    assert_eq!(add(&mut graph, across("b", "a")), Found::Order);
    let mut graph = Graph::default();
    let guard = |mut edge: Edge| {
        edge.asked.guards.insert("g".into());
        edge.held.guards.insert("g".into());
        edge
    };
    assert_eq!(add(&mut graph, guard(across("a", "b"))), Found::Order);
    assert_eq!(add(&mut graph, guard(across("b", "a"))), Found::Order);
    assert_eq!(add(&mut graph, across("b", "a")), Found::Cycle(vec![2, 0]));
}

const MODES: [Mode; 4] = [Mode::KeyShare, Mode::Share, Mode::NoKeyUpdate, Mode::Update];

/// Whether there is a cycle through the last edge, by closing the relation "leads to".
fn oracle(edges: &[Edge]) -> bool {
    let last = edges.len() - 1;
    let size = edges.len();
    let mut reach = vec![false; size * size];
    for (from, edge) in edges.iter().enumerate() {
        for (to, next) in edges.iter().enumerate() {
            reach[from * size + to] = edge.leads_to(next);
        }
    }
    for via in 0..size {
        for from in 0..size {
            for to in 0..size {
                reach[from * size + to] |= reach[from * size + via] && reach[via * size + to];
            }
        }
    }
    reach[last * size + last]
}

proptest! {
    #[test]
    fn a_cycle_is_found_if_and_only_if_there_is_one(
        picks in prop::collection::vec((0..5_u8, 0..5_u8, 0..4_usize, 0..4_usize), 1..40)
    ) {
        let mut graph = Graph::default();
        let mut kept: Vec<Edge> = Vec::new();
        for (held, asked, held_mode, asked_mode) in picks {
            if held == asked {
                continue;
            }
            let edge = Edge {
                held: rows(&held.to_string(), MODES[held_mode]),
                asked: rows(&asked.to_string(), MODES[asked_mode]),
                step: Step::Across,
            };
            if kept.contains(&edge) {
                continue;
            }
            kept.push(edge.clone());
            match graph.add(edge, || ()) {
                Found::Order => prop_assert!(!oracle(&kept)),
                Found::Cycle(cycle) => {
                    prop_assert!(oracle(&kept));
                    let turns = cycle.iter().zip(cycle.iter().cycle().skip(1));
                    for (from, to) in turns {
                        prop_assert!(graph.edge(*from).0.leads_to(graph.edge(*to).0));
                    }
                    kept.pop();
                }
                Found::Again(_) => { kept.pop(); }
            }
        }
    }

    #[test]
    fn orders_that_agree_are_never_reported(
        picks in prop::collection::vec((0..8_u8, 0..8_u8, 0..4_usize, 0..4_usize), 1..80)
    ) {
        let mut graph = Graph::default();
        for (one, other, held_mode, asked_mode) in picks {
            let step = if one == other { Step::Up("id".into()) } else { Step::Across };
            let edge = Edge {
                held: rows(&one.min(other).to_string(), MODES[held_mode]),
                asked: rows(&one.max(other).to_string(), MODES[asked_mode]),
                step,
            };
            prop_assert_eq!(graph.add(edge, || ()), Found::Order);
        }
    }
}
