//! Lockdep on real PostgreSQL and MariaDB: each shape of an inverted order is found though its
//! transactions run one after the other, and its mended form stays silent.
//!
//! Decides: the shapes. Never does: let two transactions run at the same time.

use crate::lockdep_rig::{Story, mariadb, postgres};

const TABLES: &str = "
    CREATE TABLE region (id int PRIMARY KEY, name varchar(20), n int NOT NULL DEFAULT 0);
    CREATE TABLE bean (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
    CREATE TABLE roast (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
    INSERT INTO region (id, name) VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd');
    INSERT INTO bean (id) VALUES (1), (2);
    INSERT INTO roast (id) VALUES (1), (2)";

#[tokio::test]
async fn two_tables_in_opposite_orders_are_found() {
    const BEAN: &str = "UPDATE bean SET n = n + 1 WHERE id = 1";
    const REGION: &str = "UPDATE region SET n = n + 1 WHERE id = 1";
    let before: [Story; 2] = [("import", &[BEAN, REGION]), ("rename", &[REGION, BEAN])];
    let after: [Story; 2] = [("import", &[BEAN, REGION]), ("rename", &[BEAN, REGION])];
    let report = postgres(TABLES).await.inverts(&before).await;
    assert!(report.contains("transactions rename and import can deadlock"), "{report}");
    postgres(TABLES).await.agrees(&after).await;
    mariadb(TABLES).await.inverts(&before).await;
    mariadb(TABLES).await.agrees(&after).await;
}

#[tokio::test]
async fn rows_of_one_table_in_opposite_orders_are_found() {
    let before: [Story; 2] = [
        (
            "bean_7",
            &[
                "UPDATE region SET n = n + 1 WHERE id = 1",
                "UPDATE region SET n = n + 1 WHERE id = 3",
            ],
        ),
        (
            "bean_8",
            &[
                "UPDATE region SET n = n + 1 WHERE id = 4",
                "UPDATE region SET n = n + 1 WHERE id = 2",
            ],
        ),
    ];
    let sorted: [Story; 2] = [
        before[0],
        (
            "bean_8",
            &[
                "UPDATE region SET n = n + 1 WHERE id = 2",
                "UPDATE region SET n = n + 1 WHERE id = 4",
            ],
        ),
    ];
    let locked_first: [Story; 2] = [
        before[0],
        (
            "bean_8",
            &[
                "SELECT id FROM region WHERE id IN (4, 2) ORDER BY id FOR UPDATE",
                "UPDATE region SET n = n + 1 WHERE id = 4",
                "UPDATE region SET n = n + 1 WHERE id = 2",
            ],
        ),
    ];
    postgres(TABLES).await.inverts(&before).await;
    postgres(TABLES).await.agrees(&sorted).await;
    postgres(TABLES).await.agrees(&locked_first).await;
    mariadb(TABLES).await.inverts(&before).await;
    mariadb(TABLES).await.agrees(&sorted).await;
    mariadb(TABLES).await.agrees(&locked_first).await;
}

const DIRECTORY: &str = "
    CREATE TABLE users (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
    CREATE TABLE groups_ (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
    CREATE TABLE membership (
        user_id int NOT NULL REFERENCES users (id), group_id int NOT NULL REFERENCES groups_ (id),
        PRIMARY KEY (user_id, group_id));
    INSERT INTO users (id) VALUES (1), (2);
    INSERT INTO groups_ (id) VALUES (1), (2)";

#[tokio::test]
async fn users_groups_and_memberships_in_different_orders_are_found() {
    const USER: &str = "UPDATE users SET n = n + 1 WHERE id = 1";
    const GROUP: &str = "UPDATE groups_ SET n = n + 1 WHERE id = 1";
    const MEMBER: &str = "INSERT INTO membership (user_id, group_id) VALUES (1, 1)";
    const LEAVE: &str = "DELETE FROM membership WHERE user_id = 1 AND group_id = 1";
    const LOCK: &str = "SELECT id FROM users WHERE id = 1 FOR UPDATE";
    let before: [Story; 2] = [("scheduler", &[USER, GROUP]), ("web", &[GROUP, USER])];
    // The foreign keys alone close this one: a membership shares its user, then its group.
    let by_keys: [Story; 2] = [
        ("join", &[MEMBER, LEAVE]),
        (
            "close",
            &[
                "SELECT id FROM groups_ WHERE id = 1 FOR UPDATE",
                "SELECT id FROM users WHERE id = 1 FOR UPDATE",
            ],
        ),
    ];
    let after: [Story; 3] = [
        ("scheduler", &[USER, GROUP]),
        ("web", &[USER, GROUP]),
        ("join", &[LOCK, "SELECT id FROM groups_ WHERE id = 1 FOR UPDATE", MEMBER, LEAVE]),
    ];
    postgres(DIRECTORY).await.inverts(&before).await;
    postgres(DIRECTORY).await.inverts(&by_keys).await;
    postgres(DIRECTORY).await.agrees(&after).await;
    mariadb(DIRECTORY).await.inverts(&before).await;
    mariadb(DIRECTORY).await.inverts(&by_keys).await;
    mariadb(DIRECTORY).await.agrees(&after).await;
}

const BOARD: &str = "
    CREATE TABLE board_column (id int PRIMARY KEY, name varchar(20));
    CREATE TABLE ticket (
        id int PRIMARY KEY, column_id int NOT NULL REFERENCES board_column (id),
        position int NOT NULL);
    INSERT INTO board_column (id, name) VALUES (1, 'A'), (2, 'B');
    INSERT INTO ticket (id, column_id, position)
    VALUES (10, 1, 0), (11, 1, 1), (20, 2, 0), (21, 2, 1)";

#[tokio::test]
async fn moves_between_two_columns_are_found() {
    const SHIFT_A: &str =
        "UPDATE ticket SET position = position + 1 WHERE column_id = 1 AND position >= 1";
    const SHIFT_B: &str =
        "UPDATE ticket SET position = position + 1 WHERE column_id = 2 AND position >= 1";
    const COLUMNS: &str = "SELECT id FROM board_column WHERE id IN (1, 2) ORDER BY id FOR UPDATE";
    const TICKETS: &str = "SELECT id FROM ticket WHERE column_id IN (1, 2) ORDER BY id FOR UPDATE";
    // One such move is enough: another run of it may go the other way.
    let before: [Story; 1] = [("move_to_position", &[SHIFT_A, SHIFT_B])];
    let by_columns: [Story; 2] =
        [("a_to_b", &[COLUMNS, SHIFT_A, SHIFT_B]), ("b_to_a", &[COLUMNS, SHIFT_B, SHIFT_A])];
    let by_tickets: [Story; 2] = [
        ("a_to_b", &[TICKETS, SHIFT_A, SHIFT_B, "UPDATE ticket SET position = 1 WHERE id = 10"]),
        ("b_to_a", &[TICKETS, SHIFT_B, SHIFT_A, "UPDATE ticket SET position = 1 WHERE id = 20"]),
    ];
    let report = postgres(BOARD).await.inverts(&before).await;
    assert!(report.contains("another run of itself"), "{report}");
    postgres(BOARD).await.agrees(&by_columns).await;
    postgres(BOARD).await.agrees(&by_tickets).await;
    mariadb(BOARD).await.inverts(&before).await;
    mariadb(BOARD).await.agrees(&by_columns).await;
    mariadb(BOARD).await.agrees(&by_tickets).await;
}

const ALERTS: &str = "
    CREATE TABLE alert (id int PRIMARY KEY, owner int NOT NULL DEFAULT 0);
    INSERT INTO alert (id) VALUES (1), (2)";

#[tokio::test]
async fn swaps_of_two_alerts_and_an_advisory_lock_are_found() {
    const ONE: &str = "UPDATE alert SET owner = 1 WHERE id = 1";
    const TWO: &str = "UPDATE alert SET owner = 2 WHERE id = 2";
    let rows: [Story; 2] = [("execute", &[ONE, TWO]), ("roll_back", &[TWO, ONE])];
    let sorted: [Story; 2] = [("execute", &[ONE, TWO]), ("roll_back", &[ONE, TWO])];
    const LOCK: &str = "SELECT pg_advisory_xact_lock(7)";
    let lock: [Story; 2] = [("execute", &[LOCK, ONE]), ("roll_back", &[ONE, LOCK])];
    let lock_first: [Story; 2] = [("execute", &[LOCK, ONE]), ("roll_back", &[LOCK, TWO])];
    postgres(ALERTS).await.inverts(&rows).await;
    postgres(ALERTS).await.agrees(&sorted).await;
    let report = postgres(ALERTS).await.inverts(&lock).await;
    assert!(report.contains("holds rows of alert"), "{report}");
    assert!(report.contains("asks for advisory locks (EXCLUSIVE)"), "{report}");
    postgres(ALERTS).await.agrees(&lock_first).await;
    const NAMED: &str = "SELECT GET_LOCK('swap', 1)";
    let lock: [Story; 2] = [("execute", &[NAMED, ONE]), ("roll_back", &[ONE, NAMED])];
    let lock_first: [Story; 2] = [("execute", &[NAMED, ONE]), ("roll_back", &[NAMED, TWO])];
    mariadb(ALERTS).await.inverts(&rows).await;
    mariadb(ALERTS).await.agrees(&sorted).await;
    mariadb(ALERTS).await.inverts(&lock).await;
    mariadb(ALERTS).await.agrees(&lock_first).await;
}

const FAMILY: &str = "
    CREATE TABLE parent (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
    CREATE TABLE child (
        id int PRIMARY KEY, parent_id int NOT NULL, n int NOT NULL DEFAULT 0,
        FOREIGN KEY (parent_id) REFERENCES parent (id) ON DELETE CASCADE);
    INSERT INTO parent (id) VALUES (1), (2), (3), (4), (5), (6);
    INSERT INTO child (id, parent_id) VALUES (1, 1), (2, 2)";

#[tokio::test]
async fn a_cascade_against_child_then_parent_is_found() {
    const DELETE: &str = "DELETE FROM parent WHERE id = 1";
    let before: [Story; 2] = [
        ("delete", &[DELETE]),
        ("count", &["UPDATE child SET n = 1 WHERE id = 2", "UPDATE parent SET n = 1 WHERE id = 2"]),
    ];
    let after: [Story; 2] = [
        ("delete", &[DELETE]),
        (
            "count",
            &[
                "SELECT id FROM parent WHERE id = 2 FOR UPDATE",
                "UPDATE child SET n = 1 WHERE id = 2",
                "UPDATE parent SET n = 1 WHERE id = 2",
            ],
        ),
    ];
    let report = postgres(FAMILY).await.inverts(&before).await;
    assert!(report.contains("DELETE FROM parent"), "{report}");
    postgres(FAMILY).await.agrees(&after).await;
    mariadb(FAMILY).await.inverts(&before).await;
    mariadb(FAMILY).await.agrees(&after).await;
}

#[tokio::test]
async fn a_shared_parent_locked_more_strongly_is_found() {
    const CHILD: &str = "INSERT INTO child (id, parent_id) VALUES (9, 2)";
    const UNDO: &str = "DELETE FROM child WHERE id = 9";
    const COUNT: &str = "UPDATE parent SET n = n + 1 WHERE id = 2";
    const LOCK: &str = "SELECT id FROM parent WHERE id = 2 FOR UPDATE";
    let before: [Story; 1] = [("add", &[CHILD, UNDO, LOCK])];
    let after: [Story; 1] = [("add", &[LOCK, CHILD, UNDO, COUNT])];
    let report = postgres(FAMILY).await.inverts(&before).await;
    assert!(report.contains("lock the parent row in the stronger mode first"), "{report}");
    postgres(FAMILY).await.agrees(&after).await;
    // A counter on the parent: harmless on PostgreSQL, where KEY SHARE goes with NO KEY UPDATE.
    let counter: [Story; 1] = [("add", &[CHILD, UNDO, COUNT])];
    postgres(FAMILY).await.agrees(&counter).await;
    mariadb(FAMILY).await.inverts(&counter).await;
    mariadb(FAMILY).await.inverts(&before).await;
    mariadb(FAMILY).await.agrees(&after).await;
}

#[tokio::test]
async fn a_cycle_of_three_is_found() {
    const REGION: &str = "UPDATE region SET n = n + 1 WHERE id = 1";
    const BEAN: &str = "UPDATE bean SET n = n + 1 WHERE id = 1";
    const ROAST: &str = "UPDATE roast SET n = n + 1 WHERE id = 1";
    let before: [Story; 3] =
        [("one", &[REGION, BEAN]), ("two", &[BEAN, ROAST]), ("three", &[ROAST, REGION])];
    let after: [Story; 3] =
        [("one", &[REGION, BEAN]), ("two", &[BEAN, ROAST]), ("three", &[REGION, ROAST])];
    let report = postgres(TABLES).await.inverts(&before).await;
    assert!(report.contains("transactions three and one and two can deadlock"), "{report}");
    postgres(TABLES).await.agrees(&after).await;
    mariadb(TABLES).await.inverts(&before).await;
    mariadb(TABLES).await.agrees(&after).await;
}

#[tokio::test]
async fn by_primary_key_and_then_by_an_index_is_found_on_mariadb() {
    const BY_KEY: &str = "UPDATE child SET n = 1 WHERE id = 1";
    const BY_INDEX: &str = "SELECT id FROM child WHERE parent_id = 1 FOR UPDATE";
    let before: [Story; 2] = [("one", &[BY_KEY, BY_INDEX]), ("other", &[BY_INDEX])];
    let after: [Story; 2] = [("one", &[BY_INDEX, BY_KEY]), ("other", &[BY_INDEX])];
    let report = mariadb(FAMILY).await.inverts(&before).await;
    assert!(report.contains("asks for index entries of child"), "{report}");
    mariadb(FAMILY).await.agrees(&after).await;
    // PostgreSQL locks rows only, and the row is held already.
    postgres(FAMILY).await.agrees(&before).await;
}
