//! Counters that many transactions add to: what is gained by fewer writes?
//!
//! Each worker has notes about a few beans, most of which change nothing, and writes a counter for
//! each region that they touch.

use super::server::Server;
use super::{AsyncUnit, Failure, ROUNDS, Score, work_for};
use cupping::txn::{LockPlan, TableRank, Transactor, TxnOptions, work};
use sqlx::{Executor, Postgres};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

const REGIONS: i64 = 20;
const REGION: TableRank = TableRank::new(1, "region", "id");
/// Notes in a batch.
const NOTES: usize = 16;
/// Of this many notes one changes something.
const ONE_IN: usize = 8;

const SCHEMA: &str = "CREATE TABLE region (id bigint PRIMARY KEY, beans bigint NOT NULL);
    INSERT INTO region SELECT n, 0 FROM generate_series(0, 19) AS n";

/// How a batch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    EachNote,
    ChangesOnly,
    Coalesced,
    Both,
}

impl Form {
    const ALL: [(Self, &str); 4] = [
        (Self::EachNote, "an UPDATE a note"),
        (Self::ChangesOnly, "an UPDATE a note that changes something"),
        (Self::Coalesced, "one UPDATE, notes summed by region"),
        (Self::Both, "both"),
    ];
}

impl AsyncUnit for Form {
    async fn run(&self, transactor: &Transactor<Postgres>, _: u64) -> Result<(), Failure> {
        let form = *self;
        let note = |_| (fastrand::i64(0..REGIONS), i64::from(fastrand::usize(0..ONE_IN) == 0));
        let mut notes: Vec<(i64, i64)> = (0..NOTES).map(note).collect();
        if matches!(form, Form::ChangesOnly | Form::Both) {
            notes.retain(|(_, change)| *change != 0);
        }
        if notes.is_empty() {
            return Ok(());
        }
        if matches!(form, Form::EachNote | Form::ChangesOnly) {
            let body = work!([notes] => |tx: Postgres| {
                for (region, change) in notes {
                    let add = "UPDATE region SET beans = beans + $2 WHERE id = $1";
                    tx.execute(sqlx::query(add).bind(region).bind(change)).await?;
                }
                Ok(())
            });
            return Ok(transactor.run("note", &TxnOptions::default(), body).await?);
        }
        let mut sums = BTreeMap::new();
        for (region, change) in notes {
            *sums.entry(region).or_insert(0_i64) += change;
        }
        let (regions, changes): (Vec<i64>, Vec<i64>) = sums.into_iter().unzip();
        let body = work!([regions, changes] => |tx: Postgres| {
            tx.lock_rows(&LockPlan::new().rows(REGION, regions.clone())).await?;
            let add = "UPDATE region AS r SET beans = r.beans + sums.change
                       FROM UNNEST($1::bigint[], $2::bigint[]) AS sums (id, change)
                       WHERE r.id = sums.id";
            tx.execute(sqlx::query(add).bind(regions).bind(changes)).await?;
            Ok(())
        });
        Ok(transactor.run("note", &TxnOptions::default(), body).await?)
    }
}

/// Every form in turn.
pub(crate) async fn compare(server: &Server) -> Result<(), Failure> {
    let pool = server.pool().await?;
    pool.execute(SCHEMA).await?;
    pool.close().await;
    println!(
        "\neach batch: {NOTES} notes about {REGIONS} regions, of which one in {ONE_IN} changes \
         something\n"
    );
    let totals: [(Score, AtomicI64); Form::ALL.len()] = Default::default();
    for _ in 0..ROUNDS {
        for ((form, _), (score, deadlocks)) in Form::ALL.iter().zip(&totals) {
            let before = server.deadlocks().await?;
            let pool = server.pool().await?;
            score.add(&*work_for(&Transactor::new(pool.clone()), *form).await?);
            pool.close().await;
            deadlocks.fetch_add(server.deadlocks().await? - before, Ordering::Relaxed);
        }
    }
    println!("| how a batch is written | deadlocks | failed | batches/s |");
    println!("|---|--:|--:|--:|");
    for ((_, name), (score, deadlocks)) in Form::ALL.iter().zip(&totals) {
        let (deadlocks, failed) = (deadlocks.load(Ordering::Relaxed), score.failures());
        println!("| {name} | {deadlocks} | {failed} | {:.0} |", score.per_second());
    }
    Ok(())
}
