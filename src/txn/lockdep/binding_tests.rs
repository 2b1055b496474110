//! Accesses bound to arguments and a catalogue.
//!
//! Decides: nothing. Never does: touch a server.

use super::*;
use crate::txn::lockdep::catalogue::{ForeignKey, OnDelete, Table};
use crate::txn::lockdep::reading::read;

/// `ticket.board_id` refers to `board.id`, with a cascade; `note.ticket_id` to `ticket.id`.
fn catalogue() -> Catalogue {
    let table = |unique: &[&[&str]]| Table {
        primary: vec!["id".into()],
        indexed: BTreeSet::new(),
        unique: unique.iter().map(|key| key.iter().map(|c| (*c).into()).collect()).collect(),
    };
    let key = |child: &str, column: &str, parent: &str| ForeignKey {
        name: format!("{child}.{column}").into(),
        child: child.into(),
        columns: vec![column.into()],
        parent: parent.into(),
        parent_columns: vec!["id".into()],
        on_delete: OnDelete::Cascade,
    };
    Catalogue {
        tables: [
            ("board".into(), table(&[&["id"], &["name"]])),
            ("ticket".into(), table(&[&["id"]])),
            ("note".into(), table(&[&["id"]])),
        ]
        .into(),
        foreign_keys: vec![key("ticket", "board_id", "board"), key("note", "ticket_id", "ticket")],
    }
}

fn bind(sql: &str, arguments: &[Argument], account: &Account<()>, flavour: Flavour) -> Vec<Taken> {
    let (catalogue, guarded) = (catalogue(), HashMap::new());
    let binder = Binder { flavour, catalogue: &catalogue, guarded: &guarded, arguments };
    let accesses = read(sql, flavour).expect("it can be read");
    accesses
        .iter()
        .flat_map(|access| binder.bind(access, &None, account))
        .filter(|taken| matches!(taken.lock.class, Class::Rows(_)))
        .collect()
}

fn postgres(sql: &str, arguments: &[Argument]) -> Vec<Taken> {
    bind(sql, arguments, &Account::default(), Flavour::Postgres)
}

fn ids(keys: &[i64]) -> Which {
    Which::Known("id".into(), keys.iter().map(|key| Key::from(*key)).collect())
}

fn modes(taken: &[Taken]) -> Vec<(String, Mode)> {
    taken.iter().map(|taken| (taken.lock.class.to_string(), taken.lock.mode)).collect()
}

#[test]
fn a_new_child_shares_its_parent() {
    let one = Argument::One(Key::from(7_i64));
    let taken = postgres("INSERT INTO ticket (id, board_id) VALUES (1, $1)", &[one]);
    assert_eq!(
        modes(&taken),
        [("rows of ticket".into(), Mode::Insert), ("rows of board".into(), Mode::KeyShare)]
    );
    assert_eq!(taken[1].which, ids(&[7]));
    assert!(!taken[0].waits, "an INSERT waits for a twin only, and then fails");
    let null = postgres("INSERT INTO ticket (id, board_id) VALUES (1, $1)", &[Argument::Null]);
    assert_eq!(null.len(), 1, "NULL refers to nothing");
    let moved = postgres("UPDATE ticket SET board_id = 8 WHERE id = 1", &[]);
    assert_eq!(moved[1].which, ids(&[8]));
    assert_eq!(postgres("UPDATE ticket SET position = 8 WHERE id = 1", &[]).len(), 1);
    let mysql =
        bind("INSERT INTO ticket (board_id) VALUES (7)", &[], &Account::default(), Flavour::MySql);
    assert_eq!(mysql[1].lock.mode, Mode::Share);
}

#[test]
fn a_deleted_parent_takes_its_children_and_theirs() {
    let taken = postgres("DELETE FROM board WHERE id = 3", &[]);
    assert_eq!(
        modes(&taken),
        [
            ("rows of board".into(), Mode::Delete),
            ("rows of ticket".into(), Mode::Delete),
            ("rows of note".into(), Mode::Delete),
        ]
    );
    assert_eq!(taken[1].which, Which::Where("board_id".into(), [Key::from(3_i64)].into()));
}

#[test]
fn what_a_plan_sends_shows_its_ids_and_its_order() {
    let ids_of = |text: &str| {
        let sql = "SELECT CAST(r.id AS text) FROM board AS r WHERE \
                   r.id = ANY(CAST(CAST($1 AS text) AS uuid[])) \
                   ORDER BY r.id COLLATE \"C\" FOR NO KEY UPDATE";
        let taken = postgres(sql, &[Argument::One(text.into())]).remove(0);
        assert_eq!(taken.order, Order::By("id".into(), true));
        assert_eq!(taken.covering, Covering::Later);
        taken.which
    };
    assert_eq!(ids_of("{1,2}"), ids(&[1, 2]));
    let array = "{30313233-3435-3637-3839-616263646566,30313233-3435-3637-3839-616263646567}";
    let uuids = [*b"0123456789abcdef", *b"0123456789abcdeg"].map(|id| Key::Bytes(id.to_vec()));
    assert_eq!(ids_of(array), Which::Known("id".into(), uuids.into()));
    let texts = [Key::from("a"), Key::from("b c")];
    assert_eq!(ids_of("{\"a\",\"b c\"}"), Which::Known("id".into(), texts.into()));
    assert_eq!(ids_of("{\"a\\\\\"}"), Which::Unseen);
    let sql = "SELECT CAST(r.id AS CHAR) FROM board AS r FORCE INDEX (PRIMARY) WHERE \
               r.id IN (?, ?) ORDER BY r.id FOR UPDATE NOWAIT";
    let arguments = [Argument::One(Key::from(2_i64)), Argument::One(Key::from(5_i64))];
    let taken = bind(sql, &arguments, &Account::default(), Flavour::MySql).remove(0);
    assert_eq!(taken.which, ids(&[2, 5]));
    assert!(!taken.waits);
}

#[test]
fn a_row_written_twice_has_its_parent_checked_on_postgres() {
    let update = "UPDATE ticket SET position = 1 WHERE id = 1";
    for (flavour, expected) in [(Flavour::Postgres, 2), (Flavour::MySql, 1)] {
        let mut account = Account::default();
        for taken in bind(update, &[], &account, flavour) {
            account.take(taken, &());
        }
        let again = bind(update, &[], &account, flavour);
        assert_eq!(again.len(), expected, "{again:?}");
        let other = "UPDATE ticket SET position = 1 WHERE id = 2";
        assert_eq!(bind(other, &[], &account, flavour).len(), 1, "it was not written before");
    }
}

#[test]
fn an_update_of_a_key_is_stronger_than_another() {
    let mode = |sql| postgres(sql, &[])[0].lock.mode;
    assert_eq!(mode("UPDATE board SET n = 1 WHERE id = 1"), Mode::NoKeyUpdate);
    assert_eq!(mode("UPDATE board SET name = 'a' WHERE id = 1"), Mode::Update);
}

#[test]
fn a_unique_key_names_one_row_and_another_column_several() {
    let taken = |sql| postgres(sql, &[]).remove(0);
    let by_name = taken("DELETE FROM board WHERE name = 'a'");
    assert_eq!(by_name.order, Order::One);
    assert_eq!(by_name.which, Which::Known("name".into(), [Key::from("a")].into()));
    let by_column = taken("UPDATE ticket SET position = 1 WHERE board_id = 4");
    assert_eq!(by_column.order, Order::Plan);
    let one =
        taken("SELECT id FROM ticket WHERE board_id = 4 ORDER BY position LIMIT 1 FOR UPDATE");
    assert_eq!(one.order, Order::One);
}

#[test]
fn the_order_is_that_of_the_text_the_list_or_the_plan() {
    let keys = vec![Key::from(5_i64), Key::from(2_i64)];
    let arguments = [Argument::Many(keys.clone())];
    let order = |sql| postgres(sql, &arguments).remove(0).order;
    let any = "UPDATE board SET n = 1 WHERE id = ANY($1)";
    assert_eq!(order(any), Order::Plan, "an index may sort it, or may not be used");
    let joined = "UPDATE board SET n = 1 FROM unnest($1::int[]) AS x(id) WHERE board.id = x.id";
    assert_eq!(order(joined), Order::Listed(keys.clone()));
    let upsert = "INSERT INTO board (id) SELECT x FROM unnest($1::int[]) AS t(x) \
                  ON CONFLICT (id) DO UPDATE SET n = 1";
    assert_eq!(order(upsert), Order::Listed(keys));
    let sorted = "SELECT id FROM board WHERE id = ANY($1) ORDER BY id FOR UPDATE";
    assert_eq!(order(sorted), Order::By("id".into(), true));
}

#[test]
fn rows_chosen_by_a_parent_that_is_held_alone_are_guarded() {
    let mut account = Account::default();
    let children = "UPDATE ticket SET position = 1 WHERE board_id = 4";
    let guards = |account: &Account<()>| {
        bind(children, &[], account, Flavour::Postgres).remove(0).lock.guards
    };
    assert!(guards(&account).is_empty());
    let lock = "SELECT id FROM board WHERE id IN (4, 5) ORDER BY id FOR NO KEY UPDATE";
    for taken in postgres(lock, &[]) {
        account.take(taken, &());
    }
    assert_eq!(guards(&account).len(), 1);
    let other = "UPDATE ticket SET position = 1 WHERE board_id = 6";
    let unguarded = bind(other, &[], &account, Flavour::Postgres).remove(0);
    assert!(unguarded.lock.guards.is_empty(), "its parent is not held");
}
