//! The load: requests of many clients, spread over the processes.
//!
//! Decides: what a client does when things were not as it had seen them: it looks again.
//! Never does: count that as an error.

use crate::client::post;
use crate::contention::{Measured, contend};
use crate::processes::COUNT;
use crate::wire::{SwapRequest, Swapped};
use sqlx::PgPool;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How often a client looks again before it gives up.
const LOOKS: usize = 50;

/// Two clients share two shifts, and each asks for the swap from its own side; every fourth request
/// rolls the last swap back.
pub async fn run(
    form: &'static str,
    ports: [u16; COUNT],
    pool: PgPool,
    clients: usize,
    each: usize,
) -> Measured {
    let stale = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&stale);
    let measured = contend(form, clients, each, move |client, number| {
        let (pool, stale) = (pool.clone(), Arc::clone(&stale));
        async move {
            let port = ports[(client + number) % COUNT];
            let (pair, side) = (client / 2, client % 2);
            let week = 1 + i64::try_from(pair % 2).unwrap_or(0);
            let shift = |n: usize| week * 100 + 1 + i64::try_from(2 * (pair / 2) + n).unwrap_or(0);
            let shifts = [shift(side), shift(1 - side)];
            let done = if number % 4 == 3 {
                roll_back(&pool, port, shifts).await
            } else {
                swap(&pool, port, shifts, &format!("load {client} {number}"), &stale).await
            };
            done.map_err(|error| error.to_string())
        }
    })
    .await;
    measured.note("times that a client had to look again", counted.load(Ordering::Relaxed))
}

/// Looks, and asks for a swap of what it has seen, until it is done.
async fn swap(
    pool: &PgPool,
    port: u16,
    [first, second]: [i64; 2],
    key: &str,
    stale: &AtomicUsize,
) -> Result<(), crate::arena::Failure> {
    for _ in 0..LOOKS {
        let seen = "SELECT (SELECT version FROM shift WHERE id = $1),
                           (SELECT version FROM shift WHERE id = $2)";
        let seen = sqlx::query_as(seen).bind(first).bind(second).fetch_one(pool);
        let seen: (i64, i64) = seen.await?;
        let request = SwapRequest {
            key: key.to_owned(),
            first: (first, seen.0),
            second: (second, seen.1),
            limit_ms: None,
        };
        let answer = post(port, "/swaps", &request).await?;
        if answer.status != 409 {
            return answer.read::<Swapped>().map(drop);
        }
        stale.fetch_add(1, Ordering::Relaxed);
    }
    Err(format!("not swapped after {LOOKS} looks").into())
}

/// Rolls the newest swap of two shifts back. That it cannot be any more is an answer, not an error.
async fn roll_back(
    pool: &PgPool,
    port: u16,
    shifts: [i64; 2],
) -> Result<(), crate::arena::Failure> {
    let newest = "SELECT max(id) FROM swap WHERE first = ANY($1)";
    let newest: Option<i64> = sqlx::query_scalar(newest).bind(shifts).fetch_one(pool).await?;
    let Some(newest) = newest else { return Ok(()) };
    let answer = post(port, &format!("/swaps/{newest}/rollback"), &()).await?;
    if answer.status == 409 { Ok(()) } else { answer.read() }
}
