//! What only the new form has: the limit, a lock that is extended, the fence, pools without leaks.
//!
//! Decides: what must hold.

use crate::arena::Failure;
use crate::client::{get, post};
use crate::contention::Measured;
use crate::generation::{BATCH, TTL};
use crate::processes::Processes;
use crate::promises::Promises;
use crate::wire::{Generate, Generated, Health, SwapRequest, Swapped};
use sqlx::{Connection, PgPool};
use std::time::{Duration, Instant};

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request for two shifts that nobody has touched.
fn request(week: i64, limit_ms: Option<u64>) -> SwapRequest {
    let (first, second) = ((week * 100 + 1, 0), (week * 100 + 2, 0));
    SwapRequest { key: format!("trial {week}"), first, second, limit_ms }
}

/// A swap that cannot be done within its limit is given up, and has written nothing; sent again
/// with the same key it is done.
pub async fn limit(
    processes: &Processes,
    pool: &PgPool,
    promises: &mut Promises,
) -> Result<(), Failure> {
    let request = request(90, Some(300));
    let mut somebody = pool.acquire().await?;
    let mut holding = somebody.begin().await?;
    let hold = "SELECT FROM shift WHERE id = $1 FOR UPDATE";
    sqlx::query(hold).bind(request.first.0).execute(&mut *holding).await?;
    let started = Instant::now();
    let refused = post(processes.port(0), "/swaps", &request).await?;
    let waited = started.elapsed();
    holding.rollback().await?;
    let told = format!("given up at its limit (answered {} after {waited:?})", refused.status);
    promises.hold(refused.status == 503 && waited < Duration::from_secs(5), told);
    let again = SwapRequest { limit_ms: None, ..request };
    let done = post(processes.port(1), "/swaps", &again).await?;
    promises.hold(done.status == 200, format!("done when sent again: {}", done.problem()));
    Ok(())
}

/// A key that names another swap than before is a mistake of the client's, and is told so.
pub async fn reused_key(processes: &Processes, promises: &mut Promises) -> Result<(), Failure> {
    let request = request(93, None);
    post(processes.port(0), "/swaps", &request).await?.read::<Swapped>()?;
    let other = SwapRequest { second: (request.second.0 + 1, 0), ..request };
    let refused = post(processes.port(1), "/swaps", &other).await?;
    let told = format!("a reused key is refused, not answered {}", refused.status);
    promises.hold(refused.status == 409 && refused.problem().contains("fingerprint"), told);
    Ok(())
}

/// A generation that takes longer than the life of its lock extends it batch by batch, and a swap
/// of the same week waits for it.
pub async fn generation(
    processes: &Processes,
    pool: &PgPool,
    promises: &mut Promises,
) -> Result<String, Failure> {
    const WEEK: i64 = 91;
    let week = Generate { batches: 24, stalls: false };
    let path = format!("/weeks/{WEEK}/plan");
    let swap = async {
        planned(pool, WEEK).await?;
        let swapped = post(processes.port(1), "/swaps", &request(WEEK, None)).await?;
        swapped.read::<Swapped>()?;
        Ok::<_, Failure>(days_of(pool, WEEK).await?)
    };
    let (generated, days) = tokio::join!(post(processes.port(0), &path, &week), swap);
    let (generated, days) = (generated?.read::<Generated>()?, days?);
    let took = Duration::from_millis(generated.took_ms);
    promises.hold(took > TTL, format!("longer than the lock's life: {took:?}"));
    promises.hold(days == generated.days, "the swap waited for the whole week");
    Ok(format!(
        "{} days in {} ms under a lock of {} ms, extended {} times",
        generated.days,
        generated.took_ms,
        TTL.as_millis(),
        generated.extended
    ))
}

/// A process that stalls longer than its lock lives is refused by the fence when it goes on.
pub async fn fence(
    processes: &Processes,
    pool: &PgPool,
    promises: &mut Promises,
) -> Result<String, Failure> {
    const WEEK: i64 = 92;
    let week = Generate { batches: 2, stalls: true };
    let path = format!("/weeks/{WEEK}/plan");
    let other = async {
        planned(pool, WEEK).await?;
        // Waits until the lock of the stalled process has expired.
        let done = post(processes.port(1), "/swaps", &request(WEEK, None)).await?;
        done.read::<Swapped>()?;
        post(processes.port(0), "/resume", &()).await
    };
    let (stalled, other) = tokio::join!(post(processes.port(0), &path, &week), other);
    let (stalled, _) = (stalled?, other?);
    let refused = stalled.problem().contains("is older than");
    promises.hold(refused, "the stalled process is refused by the fence");
    let days = days_of(pool, WEEK).await?;
    promises.hold(days == BATCH, format!("it wrote nothing more: {days} days"));
    Ok(stalled.problem().to_owned())
}

/// Every connection is back in its pool, and none came back inside a transaction.
pub async fn pools(
    processes: &Processes,
    measured: Measured,
    promises: &mut Promises,
) -> Result<Measured, Failure> {
    let (mut told, mut retries) = (Vec::new(), 0);
    for port in processes.ports() {
        let started = Instant::now();
        // A connection goes back a moment after its transaction has ended.
        let health = loop {
            let health = get(port, "/health").await?.read::<Health>()?;
            if health.idle == health.connections as usize || started.elapsed() > PATIENCE {
                break health;
            }
            tokio::task::yield_now().await;
        };
        let Health { connections, idle, leaked, committed, .. } = health;
        promises.hold(idle == connections as usize, "every connection is back in its pool");
        promises.hold(leaked == 0, format!("no transaction leaked, not {leaked}"));
        promises.hold(committed > 0, "every process has committed something");
        retries += health.retries;
        told.push(format!("{idle} of {connections} idle, {leaked} leaked"));
    }
    Ok(measured.note("pools", told.join("; ")).note("retries of the toolkit", retries))
}

async fn days_of(pool: &PgPool, week: i64) -> Result<i32, sqlx::Error> {
    let days = "SELECT count(*)::integer FROM plan WHERE week = $1";
    sqlx::query_scalar(days).bind(week).fetch_one(pool).await
}

/// Waits until the first batch of a week is there.
async fn planned(pool: &PgPool, week: i64) -> Result<(), Failure> {
    let started = Instant::now();
    let any = "SELECT count(*) > 0 FROM plan WHERE week = $1";
    while !sqlx::query_scalar::<_, bool>(any).bind(week).fetch_one(pool).await? {
        if started.elapsed() > PATIENCE {
            return Err("the generation does not begin".into());
        }
    }
    Ok(())
}
