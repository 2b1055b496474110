//! The account of one transaction alone.
//!
//! Decides: nothing. Never does: touch a server.

use super::*;

fn known(keys: &[i64]) -> Which {
    Which::Known("id".into(), keys.iter().map(|key| Key::from(*key)).collect())
}

fn taken(table: &str, mode: Mode, which: Which) -> Taken {
    let lock = Lock::new(Class::Rows(table.into()), mode);
    Taken {
        lock,
        which,
        order: Order::Plan,
        waits: true,
        covering: Covering::Nothing,
        implied: false,
        written: false,
    }
}

fn take(account: &mut Account<u32>, taken: Taken) -> Vec<Step> {
    account.take(taken, &0).into_iter().map(|added| added.edge.step).collect()
}

fn up() -> Step {
    Step::Up("id".into())
}

fn down() -> Step {
    Step::Down("id".into())
}

#[test]
fn the_direction_is_that_of_the_ids() {
    let mut account = Account::default();
    let row = |id| taken("a", Mode::NoKeyUpdate, known(&[id]));
    assert!(take(&mut account, row(3)).is_empty());
    assert_eq!(take(&mut account, row(5)), [up()]);
    assert_eq!(take(&mut account, row(4)), [up(), down()]);
    assert!(take(&mut account, row(5)).is_empty(), "it is held already");
}

#[test]
fn what_is_held_is_not_asked_for_again_unless_it_is_to_be_stronger() {
    let mut account = Account::default();
    take(&mut account, taken("a", Mode::KeyShare, known(&[1])));
    assert_eq!(take(&mut account, taken("a", Mode::Update, known(&[1]))), [Step::Same]);
    assert!(take(&mut account, taken("a", Mode::NoKeyUpdate, known(&[1]))).is_empty());
    let by_name = Which::Where("name".into(), [Key::from("x")].into());
    assert_eq!(
        take(&mut account, taken("b", Mode::Update, by_name.clone())),
        [Step::Across, Step::Across, Step::Plan]
    );
    assert!(take(&mut account, taken("b", Mode::NoKeyUpdate, by_name)).is_empty());
}

#[test]
fn a_sorted_select_covers_what_does_not_show_its_ids() {
    let mut account = Account::default();
    let mut select = taken("a", Mode::NoKeyUpdate, Which::Unseen);
    select.order = Order::By("id".into(), true);
    select.covering = Covering::Later;
    assert_eq!(take(&mut account, select), [up()]);
    assert!(take(&mut account, taken("a", Mode::NoKeyUpdate, Which::Unseen)).is_empty());
    assert!(take(&mut account, taken("a", Mode::NoKeyUpdate, known(&[7]))).is_empty());
    let stronger = take(&mut account, taken("a", Mode::Update, Which::Unseen));
    assert_eq!(stronger, [Step::Unknown, Step::Plan], "its mode is not covered");
}

#[test]
fn what_cannot_wait_adds_no_edge_but_is_held() {
    let mut account = Account::default();
    take(&mut account, taken("a", Mode::Update, known(&[9])));
    let claim = Taken { waits: false, ..taken("b", Mode::Update, Which::Unseen) };
    assert!(take(&mut account, claim).is_empty());
    let next = take(&mut account, taken("c", Mode::Update, known(&[1])));
    assert_eq!(next, [Step::Across, Step::Across]);
}

#[test]
fn a_list_has_the_direction_of_its_turns() {
    let listed = |keys: &[i64]| {
        let list = keys.iter().map(|key| Key::from(*key)).collect();
        Taken { order: Order::Listed(list), ..taken("a", Mode::Upsert, known(keys)) }
    };
    assert_eq!(take(&mut Account::default(), listed(&[1, 2, 9])), [up()]);
    assert_eq!(take(&mut Account::default(), listed(&[9, 2])), [down()]);
    assert_eq!(take(&mut Account::default(), listed(&[1, 9, 2])), [up(), down()]);
    assert!(take(&mut Account::default(), listed(&[4])).is_empty());
}

#[test]
fn a_table_held_alone_covers_its_rows() {
    let mut account = Account::default();
    let lock = Lock::new(Class::Table("a".into()), Mode::Exclusive);
    take(&mut account, Taken { lock, ..taken("a", Mode::Update, Which::Unseen) });
    assert!(take(&mut account, taken("a", Mode::Delete, Which::Unseen)).is_empty());
}
