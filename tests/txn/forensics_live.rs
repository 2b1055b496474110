//! Deadlocks made on real servers, read from the error, the status and the log.
//!
//! Decides: the order of statements; both sides hold their first lock before either asks for its
//! second. Never does: wait for a fixed time.

use crate::forensics::closed;
use crate::support::databases::PostgresDatabase;
use crate::support::{eventually, mariadb_url, unique};
use cupping::txn::forensics::{DeadlockReport, Engine, Pattern, explain, names, pattern, read};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, PgConnection};
use std::time::Duration;

/// What PostgreSQL tells its victim, and the process ids of both.
struct Told {
    detail: String,
    context: Option<String>,
    victim: i32,
    other: i32,
}

/// Two sessions hold what `first` locks, then each runs its `second`.
async fn postgres(database: &PostgresDatabase, first: [&str; 2], second: [&str; 2]) -> Told {
    let mut sessions = Vec::new();
    for (at, sql) in first.iter().enumerate() {
        let options = database.options().application_name(&format!("side {at}"));
        let mut session = PgConnection::connect_with(&options).await.expect("a session");
        let (pid,): (i32,) =
            sqlx::query_as("SELECT pg_backend_pid()").fetch_one(&mut session).await.expect("an id");
        session.execute("BEGIN").await.expect("begins");
        session.execute(AssertSqlSafe(*sql)).await.expect("the first lock is free");
        sessions.push((session, pid));
    }
    let (mut b, b_pid) = sessions.pop().expect("two sessions");
    let (mut a, a_pid) = sessions.pop().expect("two sessions");
    let run_a = async {
        let done = a.execute(AssertSqlSafe(second[0])).await;
        a.execute("ROLLBACK").await.expect("rolls back");
        done
    };
    let run_b = async {
        let done = b.execute(AssertSqlSafe(second[1])).await;
        b.execute("ROLLBACK").await.expect("rolls back");
        done
    };
    let (a_done, b_done) = tokio::join!(run_a, run_b);
    let (error, victim, other) = match (a_done, b_done) {
        (Err(error), Ok(_)) => (error, a_pid, b_pid),
        (Ok(_), Err(error)) => (error, b_pid, a_pid),
        (a, b) => panic!("one victim was expected: {a:?} {b:?}"),
    };
    let error = error.into_database_error().expect("an error of the database");
    assert_eq!(error.code().as_deref(), Some("40P01"));
    let error = error.downcast_ref::<sqlx::postgres::PgDatabaseError>();
    let detail = error.detail().expect("a detail").to_owned();
    Told { detail, context: error.r#where().map(str::to_owned), victim, other }
}

/// The end of the server's log. The servers of the tests keep it beside their data.
async fn log_end(session: &mut PgConnection) -> String {
    let sql = "SELECT encode(pg_read_binary_file('log', greatest(size - 4000000, 0), 4000000), \
               'escape') FROM pg_stat_file('log')";
    let (text,): (String,) = sqlx::query_as(sql).fetch_one(session).await.expect("the log");
    text
}

#[tokio::test]
async fn postgresql_tells_its_victim_and_its_log_the_same_deadlock() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(1).await;
    let setup = "CREATE TABLE region (id int PRIMARY KEY, v int);
                 INSERT INTO region VALUES (1, 0), (2, 0)";
    pool.execute(setup).await.expect("a table");
    let update = |id| format!("UPDATE region SET v = 1 WHERE id = {id}");
    let (one, two) = (update(1), update(2));
    let told = postgres(&database, [&one, &two], [&two, &one]).await;

    let live = DeadlockReport::from_postgres(Some(&told.detail), told.context.as_deref());
    assert_eq!(live.relation, "region");
    assert!(closed(&live), "{live:?}");
    assert_eq!(live.victim().map(|node| node.id.clone()), Some(told.victim.to_string()));
    assert_eq!(live.edges[0].holder, told.other.to_string());

    let mut session = PgConnection::connect_with(&database.options()).await.expect("a session");
    let victim = told.victim.to_string();
    let mut found = None;
    eventually("the log tells of the deadlock", Duration::from_secs(20), async || {
        let log = log_end(&mut session).await;
        let reports = read(log.replace("\\\\", "\\").as_bytes()).reports;
        found = reports.into_iter().rev().find(|report| {
            report.edges.first().is_some_and(|edge| edge.waiter == victim)
                && report.edges[0].object == live.edges[0].object
                && report.context.is_some()
        });
        found.is_some()
    })
    .await;
    let logged = found.expect("found above");
    assert_eq!(logged.fingerprint, live.fingerprint);
    assert!(logged.nodes.iter().all(|node| {
        node.statement.as_deref().is_some_and(|text| text.starts_with("UPDATE region"))
    }));
    assert!(logged.timestamp.is_some());
}

#[tokio::test]
async fn relations_are_named_by_a_connection_to_their_database_alone() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(1).await;
    pool.execute("CREATE TABLE one (id int); CREATE TABLE two (id int)").await.expect("tables");
    let lock = |table: &str, mode: &str| format!("LOCK TABLE {table} IN {mode} MODE");
    let first = [lock("one", "SHARE"), lock("two", "SHARE")];
    let second = [lock("two", "ACCESS EXCLUSIVE"), lock("one", "ACCESS EXCLUSIVE")];
    let told = postgres(&database, [&first[0], &first[1]], [&second[0], &second[1]]).await;
    let mut explanation = explain(read(told.detail.as_bytes()));
    assert_eq!(explanation.deadlocks[0].pattern, Pattern::TableLock);

    let elsewhere = PostgresDatabase::create().await;
    let named = names::name_relations(&elsewhere.pool(1).await, &mut explanation).await;
    assert_eq!(named.expect("answers"), 0);
    let named = names::name_relations_at(&database.url(), &mut explanation).await;
    assert_eq!(named.expect("answers"), 2);
    let text = explanation.text();
    assert!(text.contains("relation \"one\"") && text.contains("relation \"two\""), "{text}");
}

/// The connection ids of a report.
fn threads(report: &DeadlockReport) -> Vec<String> {
    let mut threads: Vec<String> =
        report.nodes.iter().filter_map(|node| node.thread.clone()).collect();
    threads.sort();
    threads
}

/// Makes a deadlock between rows 1 and 2 of `t`; the status that followed, and both threads.
async fn mariadb(name: &str) -> (String, Vec<String>) {
    let mut sides = Vec::new();
    for id in [1, 2] {
        let mut session = MySqlConnection::connect(&mariadb_url()).await.expect("a session");
        session.execute(AssertSqlSafe(format!("USE {name}"))).await.expect("the database");
        let (thread,): (u64,) =
            sqlx::query_as("SELECT CONNECTION_ID()").fetch_one(&mut session).await.expect("an id");
        session.execute("BEGIN").await.expect("begins");
        let sql = format!("UPDATE t SET v = 1 WHERE id = {id}");
        session.execute(AssertSqlSafe(sql)).await.expect("the row is free");
        sides.push((session, thread.to_string()));
    }
    let (mut b, b_thread) = sides.pop().expect("two sides");
    let (mut a, a_thread) = sides.pop().expect("two sides");
    let run_a = async {
        let done = a.execute("UPDATE t SET v = 1 WHERE id = 2").await;
        a.execute("ROLLBACK").await.expect("rolls back");
        done
    };
    let run_b = async {
        let done = b.execute("UPDATE t SET v = 1 WHERE id = 1").await;
        b.execute("ROLLBACK").await.expect("rolls back");
        done
    };
    let (a_done, b_done) = tokio::join!(run_a, run_b);
    assert!(a_done.is_err() != b_done.is_err(), "one victim was expected: {a_done:?} {b_done:?}");
    let (_, _, status): (String, String, String) =
        sqlx::query_as("SHOW ENGINE INNODB STATUS").fetch_one(&mut a).await.expect("the status");
    let mut threads = vec![a_thread, b_thread];
    threads.sort();
    (status, threads)
}

#[tokio::test]
async fn the_status_of_mariadb_tells_the_deadlock_that_was_made() {
    let name = unique("f");
    let mut admin = MySqlConnection::connect(&mariadb_url()).await.expect("MariaDB answers");
    let setup = format!(
        "CREATE DATABASE {name}; CREATE TABLE {name}.t (id int PRIMARY KEY, v int) ENGINE=InnoDB; \
         INSERT INTO {name}.t VALUES (1, 0), (2, 0)"
    );
    for sql in setup.split("; ") {
        admin.execute(AssertSqlSafe(sql)).await.expect("a table");
    }
    let mut found = None;
    // The status is the server's: a deadlock of another test may take our place in it.
    eventually("the status keeps our deadlock", Duration::from_secs(60), async || {
        let (status, ours) = mariadb(&name).await;
        let report = DeadlockReport::from_innodb_status(&status).expect("the latest deadlock");
        found = (threads(&report) == ours).then_some(report);
        found.is_some()
    })
    .await;
    let report = found.expect("found above");
    admin.execute(AssertSqlSafe(format!("DROP DATABASE {name}"))).await.expect("dropped");
    assert_eq!(report.engine, Engine::InnoDb);
    assert!(closed(&report), "{report:?}");
    assert_eq!(report.relation, "t");
    assert_eq!(report.edges[0].object.database.as_deref(), Some(name.as_str()));
    assert_eq!(report.nodes.iter().filter(|node| node.victim).count(), 1);
    assert_eq!(pattern(&report), Pattern::RowOrder);
    let thread = report.nodes[0].thread.as_deref().and_then(|thread| thread.parse().ok());
    assert!(thread.is_some_and(|thread| report.involves_connection(thread)));
    assert!(report.nodes.iter().all(|node| {
        node.statement.as_deref().is_some_and(|text| text.starts_with("UPDATE t SET v = 1"))
    }));
}
