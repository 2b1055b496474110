//! The connection is cut exactly between COMMIT sent and its answer: both outcomes, and the time in
//! between.

use crate::support::databases::PostgresDatabase;
use crate::support::metering;
use crate::support::proxy::{Fate, Proxy};
use cupping::resilience::retryability::Retryability;
use cupping::txn::{Isolation, Transactor, TxnError, TxnOptions, work};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor, PgPool, Postgres};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A database, a pool on it through a proxy, and one past it.
struct Cut {
    _database: PostgresDatabase,
    proxy: Proxy,
    through: PgPool,
    past: PgPool,
}

impl Cut {
    async fn create() -> Self {
        let database = PostgresDatabase::create().await;
        let server = database.options();
        let proxy = Proxy::start(&format!("{}:{}", server.get_host(), server.get_port())).await;
        let (host, port) = (proxy.address.ip().to_string(), proxy.address.port());
        let through = PgPoolOptions::new().max_connections(2);
        let through = through.connect_with(server.host(&host).port(port)).await;
        let past = database.pool(2).await;
        past.execute("CREATE TABLE t (id int)").await.expect("a table");
        Self { _database: database, proxy, through: through.expect("it answers"), past }
    }

    async fn rows(&self) -> i64 {
        let count = sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&self.past);
        count.await.expect("a count")
    }

    /// Runs a unit that inserts a row; how it ended, how often its body ran, and its effects.
    async fn insert(&self, options: &TxnOptions) -> (Result<(), TxnError>, u32, u32) {
        let (runs, effects) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let body = work!([runs, effects] => |tx: Postgres| {
            runs.fetch_add(1, Ordering::SeqCst);
            tx.execute("INSERT INTO t VALUES (1)").await?;
            tx.after_commit(move || async move {
                effects.fetch_add(1, Ordering::SeqCst);
            });
            Ok(())
        });
        let result = Transactor::new(self.through.clone()).run("insert", options, body).await;
        (result, runs.load(Ordering::SeqCst), effects.load(Ordering::SeqCst))
    }
}

fn quick() -> TxnOptions {
    TxnOptions { base_delay: Duration::from_millis(1), ..TxnOptions::default() }
}

#[tokio::test]
async fn a_commit_that_arrived_is_found_committed_and_not_run_again() {
    let recorder = metering::recorder();
    let _metrics = metrics::set_default_local_recorder(recorder);
    let cut = Cut::create().await;
    cut.proxy.cut_at(b"COMMIT", Fate::Delivered);
    let (result, runs, effects) = cut.insert(&quick()).await;
    result.expect("it is committed");
    assert_eq!((cut.proxy.sprung(), runs, effects, cut.rows().await), (1, 1, 1, 1));
    let labels = ["outcome=\"committed\""];
    assert_eq!(metering::value(recorder, "cupping_commits_resolved_total", &labels), 1.0);
}

#[tokio::test]
async fn a_commit_that_never_arrived_is_found_rolled_back_and_runs_again() {
    let cut = Cut::create().await;
    cut.proxy.cut_at(b"COMMIT", Fate::Lost);
    let (result, runs, effects) = cut.insert(&quick()).await;
    result.expect("the second attempt commits");
    assert_eq!((cut.proxy.sprung(), runs, effects, cut.rows().await), (1, 2, 1, 1));
}

#[tokio::test]
async fn the_stricter_levels_are_found_out_too() {
    for isolation in [Isolation::RepeatableRead, Isolation::Serializable] {
        let cut = Cut::create().await;
        cut.proxy.cut_at(b"COMMIT", Fate::Delivered);
        let (result, runs, effects) = cut.insert(&TxnOptions { isolation, ..quick() }).await;
        result.expect("it is committed");
        assert_eq!((runs, effects, cut.rows().await), (1, 1, 1));
    }
}

#[tokio::test]
async fn a_commit_still_under_way_is_asked_after_until_it_has_ended() {
    for (fate, runs_expected) in [(Fate::Delivered, 1), (Fate::Lost, 2)] {
        let cut = Cut::create().await;
        cut.proxy.cut_at(b"COMMIT", Fate::Held);
        let options = quick();
        let insert = cut.insert(&options);
        tokio::pin!(insert);
        // The transaction stays open while its COMMIT is on the way; then the question is put.
        let asked = async {
            let asking = "SELECT count(*) > 0 FROM pg_stat_activity
                 WHERE datname = current_database() AND query LIKE '%pg_xact_status%'
                 AND pid <> pg_backend_pid()";
            while !sqlx::query_scalar::<_, bool>(asking).fetch_one(&cut.past).await.expect("it") {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = &mut insert => panic!("nobody can know the outcome yet"),
            () = asked => {}
        }
        assert_eq!(cut.rows().await, 0);
        cut.proxy.settle(fate);
        let (result, runs, effects) = insert.await;
        result.expect("it is committed in the end");
        assert_eq!((runs, effects, cut.rows().await), (runs_expected, 1, 1));
    }
}

#[tokio::test]
async fn without_a_number_the_outcome_is_unknown_and_effects_do_not_run() {
    let cut = Cut::create().await;
    cut.proxy.cut_at(b"COMMIT", Fate::Delivered);
    let options = TxnOptions { resolve_commit: false, ..quick() };
    let (result, runs, effects) = cut.insert(&options).await;
    let error = result.expect_err("nobody was asked");
    assert_eq!(error.retryability(), Retryability::OutcomeUnknown, "{error}");
    assert_eq!((runs, effects), (1, 0));
}
