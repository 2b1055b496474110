//! Planning a week: longer than any transaction should be, so a lock in Redis spans the batches.
//!
//! Decides: that the lock is extended after each batch, and that each batch is fenced.

use crate::schedule::{Schedule, Until};
use crate::wire::{Generate, Generated, Problem};
use cupping::txn::redis::LockSettings;
use cupping::txn::work;
use sqlx::Postgres;
use std::time::{Duration, Instant};

/// How long others wait for a process that died: short, because each batch extends it.
pub const TTL: Duration = Duration::from_secs(2);

/// Days of one batch.
pub const BATCH: i32 = 7;

/// What it takes to think a batch out.
const THINKING: Duration = Duration::from_millis(100);

impl Schedule {
    /// Plans the days of a week, batch by batch.
    pub async fn generate(&self, week: i64, request: &Generate) -> Result<Generated, Problem> {
        let settings = LockSettings { ttl: TTL, heartbeat: false, ..LockSettings::default() };
        let (until, started) = (Until::of(None), Instant::now());
        let held = self.hold(week, settings, until).await?;
        let (fence, mut extended) = (held.fence(), 0);
        for batch in 0..request.batches {
            tokio::time::sleep(THINKING).await;
            let body = work!([fence] => |tx: Postgres| {
                fence.admit(tx).await?;
                let plan = "INSERT INTO plan SELECT $1, day, 1 + day % 20
                            FROM generate_series($2, $3 - 1) AS days(day)
                            ON CONFLICT (week, day) DO UPDATE SET person = EXCLUDED.person";
                let plan = sqlx::query(plan).bind(week).bind(batch * BATCH);
                tx.execute(plan.bind((batch + 1) * BATCH)).await.map(drop)
            });
            self.transactor.run("generate", &until.options(), body).await?;
            if request.stalls && batch == 0 {
                // As a process does that is stopped or swapped out: it does not notice.
                self.resume.notified().await;
                continue;
            }
            held.guard.extend(TTL).await?;
            extended += 1;
        }
        held.release().await;
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Generated { days: request.batches * BATCH, extended, took_ms })
    }
}
