//! Statements, and what is read from them.
//!
//! Decides: nothing. Never does: touch a server.

use super::*;
use proptest::prelude::*;

/// Table, deed, filter, sorting, whether it may wait.
type Rows = (String, Deed, Vec<(String, Values)>, Sorting, bool);

fn rows(sql: &str, flavour: Flavour) -> Vec<Rows> {
    let accesses = read(sql, flavour).expect("it can be read");
    accesses
        .into_iter()
        .filter_map(|access| match access {
            Access::Rows { table, deed, filter, sorting, waits, .. } => {
                let filter = filter.into_iter().map(|(name, values)| (name.to_string(), values));
                Some((table.to_string(), deed, filter.collect(), sorting, waits))
            }
            _ => None,
        })
        .collect()
}

fn postgres(sql: &str) -> Rows {
    let mut found = rows(sql, Flavour::Postgres);
    assert_eq!(found.len(), 1, "{sql}: {found:?}");
    found.remove(0)
}

fn by_id(values: Values) -> Vec<(String, Values)> {
    vec![("id".to_owned(), values)]
}

fn up() -> Sorting {
    Sorting::By("id".into(), true)
}

#[test]
fn each_strength_of_a_locking_clause_is_told() {
    let strengths = [
        ("FOR UPDATE", Mode::Update),
        ("for no key update", Mode::NoKeyUpdate),
        ("FOR SHARE", Mode::Share),
        ("FOR KEY SHARE", Mode::KeyShare),
    ];
    for (clause, mode) in strengths {
        let sql = format!("SELECT * FROM public.bean b WHERE b.id = $2 ORDER BY b.id {clause}");
        let expected = by_id(Values::Listed(vec![Operand::Bound(1)]));
        assert_eq!(postgres(&sql), ("bean".into(), Deed::Lock(mode), expected, up(), true));
    }
    let (.., sorting, waits) =
        postgres("SELECT id FROM bean ORDER BY id DESC LIMIT 5 FOR NO KEY UPDATE SKIP LOCKED");
    assert_eq!((sorting, waits), (Sorting::By("id".into(), false), false));
    let (.., waits) = postgres("SELECT id FROM bean FOR UPDATE OF bean NOWAIT");
    assert!(!waits);
    let shared = rows("SELECT * FROM bean LOCK IN SHARE MODE", Flavour::MySql);
    assert_eq!(shared[0].1, Deed::Lock(Mode::Share));
    let waiting = rows("SELECT * FROM `Bean` WHERE id = ? FOR UPDATE WAIT 5", Flavour::MySql);
    assert_eq!(waiting[0].2, by_id(Values::Listed(vec![Operand::Bound(0)])));
}

#[test]
fn of_several_tables_the_named_one_is_locked() {
    let sql = "SELECT * FROM bean b JOIN region r ON r.id = b.region_id FOR UPDATE OF r";
    assert_eq!(postgres(sql).0, "region");
    let both = rows(&sql.replace(" OF r", ""), Flavour::Postgres);
    assert_eq!(both.iter().map(|row| row.0.as_str()).collect::<Vec<_>>(), ["bean", "region"]);
}

#[test]
fn the_ids_of_a_statement_are_found_wherever_they_stand() {
    let any = by_id(Values::AnyOf(Operand::Bound(0)));
    assert_eq!(postgres("UPDATE bean SET n = 1 WHERE id = ANY($1::bigint[])").2, any);
    assert_eq!(postgres("DELETE FROM bean WHERE id IN (SELECT unnest($1::int[]))").2, any);
    let listed = by_id(Values::Unnested(Operand::Bound(0)));
    let sql = "UPDATE bean b SET n = x.n FROM unnest($1::int[], $2::int[]) AS x(id, n) \
               WHERE b.id = x.id";
    assert_eq!(postgres(sql).2, listed);
    let one_of = Values::OneOf(vec![
        Operand::Literal(crate::txn::lockdep::Key::Int(-1)),
        Operand::Bound(0),
        Operand::Opaque,
    ]);
    assert_eq!(
        postgres("DELETE FROM bean WHERE (id IN (-1, $1, n + 1)) AND n > 2").2,
        by_id(one_of)
    );
    assert_eq!(postgres("UPDATE bean SET n = 1 WHERE id = 1 OR n = 2").2, []);
}

#[test]
fn an_insert_shows_its_values_and_what_it_does_about_a_twin() {
    let insert = |sql: &str| match postgres(sql).1 {
        Deed::Insert(values, twin) => (values, twin),
        other => panic!("{other:?}"),
    };
    let two = Values::Listed(vec![Operand::Bound(0), Operand::Bound(2)]);
    let (values, twin) = insert("INSERT INTO bean (id, n) VALUES ($1, $2), ($3, $4)");
    assert_eq!((&values[0].1, twin), (&two, Twin::Fail));
    let sql = "INSERT INTO bean (id) SELECT * FROM unnest($1::int[]) ON CONFLICT DO NOTHING";
    assert_eq!(insert(sql).1, Twin::Keep);
    let sql = "INSERT INTO bean (id) SELECT x FROM unnest($1::int[]) AS t(x) \
               ON CONFLICT (id) DO UPDATE SET n = 1";
    let (values, twin) = insert(sql);
    assert_eq!((&values[0].1, twin), (&Values::Unnested(Operand::Bound(0)), Twin::Update));
    let twin = |sql| match rows(sql, Flavour::MySql).remove(0).1 {
        Deed::Insert(_, twin) => twin,
        other => panic!("{other:?}"),
    };
    assert_eq!(twin("REPLACE INTO bean (id) VALUES (?)"), Twin::Update);
    assert_eq!(twin("INSERT IGNORE INTO bean (id) VALUES (?)"), Twin::Keep);
    let sql = "INSERT INTO bean (id) VALUES (?) ON DUPLICATE KEY UPDATE n = n + 1";
    assert_eq!(twin(sql), Twin::Update);
}

#[test]
fn what_is_written_inside_comes_first() {
    let sql = "WITH gone AS (DELETE FROM log RETURNING id), \
               claimed AS (SELECT id FROM queue ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) \
               UPDATE bean SET n = 1 FROM gone WHERE bean.id = gone.id";
    let found = rows(sql, Flavour::Postgres);
    let tables: Vec<&str> = found.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(tables, ["log", "queue", "bean"], "a common table is no table");
    let sql = "MERGE INTO bean USING log ON bean.id = log.id \
               WHEN MATCHED THEN UPDATE SET n = 1";
    assert_eq!(postgres(sql).0, "bean");
}

#[test]
fn tables_and_advisory_locks_are_told() {
    let found = |sql| read(sql, Flavour::Postgres).expect("it can be read");
    let table = |name: &str, mode, waits| Access::Table(name.into(), mode, waits);
    let sql = "LOCK TABLE a, b IN SHARE ROW EXCLUSIVE MODE NOWAIT";
    let mode = Mode::ShareRowExclusive;
    assert!(found(sql).ends_with(&[table("a", mode, false), table("b", mode, false)]));
    assert!(found("TRUNCATE a").contains(&table("a", Mode::AccessExclusive, true)));
    assert!(found("SELECT * FROM a").contains(&table("a", Mode::AccessShare, true)));
    let advisory = found("SELECT pg_advisory_xact_lock_shared($1, 5)");
    let five = Values::Listed(vec![Operand::Literal(crate::txn::lockdep::Key::Int(5))]);
    let space = Some(Operand::Bound(0));
    assert_eq!(advisory, [Access::Advisory(space, five, Mode::TableShare, true)]);
    let sorted = found("SELECT pg_advisory_xact_lock(k) FROM unnest($1::bigint[]) AS keys(k)");
    let keys = Values::Unnested(Operand::Bound(0));
    assert_eq!(sorted, [Access::Advisory(None, keys, Mode::Exclusive, true)]);
    let tried = found("SELECT pg_try_advisory_xact_lock(hashtext('a'))");
    let opaque = Values::Listed(vec![Operand::Opaque]);
    assert_eq!(tried, [Access::Advisory(None, opaque, Mode::Exclusive, false)]);
    let named = read("SELECT GET_LOCK(?, 0)", Flavour::MySql).expect("it can be read");
    assert_eq!(named, [Access::Named(Operand::Bound(0), false)]);
}

#[test]
fn what_cannot_be_read_says_so() {
    assert!(read("this is no SQL", Flavour::Postgres).is_err());
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(text in ".{0,200}") {
        for flavour in [Flavour::Postgres, Flavour::MySql] {
            let _read_or_not = read(&text, flavour).is_ok();
        }
    }

    #[test]
    fn no_words_of_sql_make_it_panic(words in prop::collection::vec(prop::sample::select(vec![
        "SELECT", "FOR", "NO", "KEY", "UPDATE", "SHARE", "FROM", "a", "WHERE", "id", "=", "$1",
        "?", "ANY", "(", ")", "IN", "INSERT", "INTO", "VALUES", ",", "ON", "CONFLICT", "DO", "WITH",
        "AS", "DELETE", "LOCK", "unnest", "WAIT", "1", "'x'", "$0", "$99999999999999999999",
    ]), 0..30)) {
        let text = words.join(" ");
        for flavour in [Flavour::Postgres, Flavour::MySql] {
            let _read_or_not = read(&text, flavour).is_ok();
        }
    }
}
