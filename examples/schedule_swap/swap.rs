//! Executing a swap, and rolling it back.
//!
//! Decides: that a key is executed once, that a swap is rolled back once, and only while nobody has
//! swapped the same shifts since.

use crate::schedule::{BRIEFLY, SHIFT, SHIFT_SEEN, SWAP, Schedule, Until};
use crate::wire::{Problem, SwapRequest, Swapped};
use cupping::txn::{BodyError, IdempotencyKey, LockPlan, Tx, work};
use sqlx::Postgres;
use std::collections::HashMap;
use std::sync::Arc;

/// A person without an address: the column does not take it.
const NOT_NULL: &str = "23502";

impl Schedule {
    /// Exchanges the people of two shifts of one week.
    pub async fn swap(&self, request: &SwapRequest) -> Result<Swapped, Problem> {
        let week = week_of(request.first.0);
        if week != week_of(request.second.0) {
            return Err(Problem::Conflict("both shifts have to be of one week".into()));
        }
        let until = Until::of(request.limit_ms);
        let held = self.hold(week, BRIEFLY, until).await?;
        let (fence, request) = (held.fence(), Arc::new(request.clone()));
        // The shifts and not the versions: a client that does not know whether its swap was done
        // may look again, and then sends what it sees now.
        let shifts = format!("{},{}", request.first.0, request.second.0);
        let key = IdempotencyKey::new("swap", &*request.key, shifts);
        let body = work!([fence, request] => |tx: Postgres| {
            fence.admit(tx).await?;
            exchange(tx, &request).await
        });
        let options = until.options();
        let done = held.guard.while_held(self.transactor.once("swap", &options, &key, body)).await;
        held.release().await;
        Ok(done??.into_inner())
    }

    /// Gives both shifts of a swap back.
    pub async fn roll_back(&self, swap: i64) -> Result<(), Problem> {
        let shifts = "SELECT first, second FROM swap WHERE id = $1";
        let shifts = sqlx::query_as(shifts).bind(swap).fetch_optional(self.transactor.pool());
        let unknown = || Problem::Conflict(format!("there is no swap {swap}"));
        let (first, second): (i64, i64) = shifts.await?.ok_or_else(unknown)?;
        let until = Until::of(None);
        let held = self.hold(week_of(first), BRIEFLY, until).await?;
        let fence = held.fence();
        let body = work!([fence] => |tx: Postgres| {
            fence.admit(tx).await?;
            undo(tx, swap, [first, second]).await
        });
        let options = until.options();
        let done = held.guard.while_held(self.transactor.run("roll back", &options, body)).await;
        held.release().await;
        Ok(done??)
    }
}

fn week_of(shift: i64) -> i64 {
    shift / 100
}

async fn exchange(tx: &mut Tx<Postgres>, request: &SwapRequest) -> Result<Swapped, BodyError> {
    let (first, second) = (request.first, request.second);
    tx.lock_rows(&LockPlan::new().rows(SHIFT, vec![first.0, second.0])).await?;
    let people = cross(tx, [first, second]).await?;
    let insert = "INSERT INTO swap (first, second, first_version, second_version)
                  VALUES ($1, $2, $3 + 1, $4 + 1) RETURNING id";
    let insert = sqlx::query(insert).bind(first.0).bind(second.0);
    let (swap,): (i64,) = tx.fetch_one_as(insert.bind(first.1).bind(second.1)).await?;
    journal(tx, "swapped", &request.key).await?;
    let mut told = 0;
    for person in people {
        told += u32::from(tell(tx, person, swap).await?);
    }
    Ok(Swapped { swap, told })
}

/// Puts each one's person into the other, if both shifts are as they were seen; they are locked.
async fn cross(tx: &mut Tx<Postgres>, shifts: [(i64, i64); 2]) -> Result<[i64; 2], BodyError> {
    let ids = shifts.map(|(shift, _)| shift);
    let read = "SELECT id, person FROM shift WHERE id = ANY($1)";
    let people: Vec<(i64, i64)> = tx.fetch_all_as(sqlx::query(read).bind(ids)).await?;
    let people: HashMap<i64, i64> = people.into_iter().collect();
    let person = |shift: i64| {
        people.get(&shift).copied().ok_or_else(|| Problem::Conflict(format!("no shift {shift}")))
    };
    let [first, second] = [person(ids[0])?, person(ids[1])?];
    for ((shift, seen), person) in shifts.into_iter().zip([second, first]) {
        let update = "UPDATE shift SET person = $3, version = version + 1
                      WHERE id = $1 AND version = $2";
        let update = sqlx::query(update).bind(shift).bind(seen).bind(person);
        tx.compare_and_set(&SHIFT_SEEN.row(shift, seen).given(), update).await?;
    }
    Ok([first, second])
}

/// Tells a person of a swap, behind a savepoint: that somebody cannot be told is no reason to give
/// up the swap. Anything else that goes wrong is.
async fn tell(tx: &mut Tx<Postgres>, person: i64, swap: i64) -> Result<bool, BodyError> {
    let told = tx
        .scope(work!(|tx: Postgres| {
            let insert = "INSERT INTO notice SELECT id, address, $2 FROM person WHERE id = $1";
            tx.execute(sqlx::query(insert).bind(person).bind(swap)).await.map(drop)
        }))
        .await;
    match told {
        Ok(()) => Ok(true),
        Err(error) if error.code().as_deref() == Some(NOT_NULL) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn undo(tx: &mut Tx<Postgres>, swap: i64, shifts: [i64; 2]) -> Result<(), BodyError> {
    // One plan for all, so that nobody can hold the shifts and want the swap.
    tx.lock_rows(&LockPlan::new().rows(SWAP, vec![swap]).rows(SHIFT, shifts.to_vec())).await?;
    let read = "SELECT first_version, second_version, rolled_back FROM swap WHERE id = $1";
    let (first_version, second_version, rolled_back): (i64, i64, bool) =
        tx.fetch_one_as(sqlx::query(read).bind(swap)).await?;
    if rolled_back {
        return Err(Problem::Conflict("rolled back before".into()).into());
    }
    cross(tx, [(shifts[0], first_version), (shifts[1], second_version)]).await?;
    let update = "UPDATE swap SET rolled_back = true WHERE id = $1";
    tx.execute(sqlx::query(update).bind(swap)).await?;
    journal(tx, "rolled back", &swap.to_string()).await
}

/// Notes an effect.
pub async fn journal(tx: &mut Tx<Postgres>, what: &str, about: &str) -> Result<(), BodyError> {
    let insert = "INSERT INTO journal VALUES ($1, $2)";
    tx.execute(sqlx::query(insert).bind(what).bind(about)).await.map(drop)
}
