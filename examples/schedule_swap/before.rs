//! The schedule as it was: bare transactions, each of which looks first and writes then.
//!
//! Decides: nothing; it is here to deadlock, to do things twice and to break a limit.

use crate::wire::{By, Problem, SwapRequest, Swapped};
use sqlx::{PgConnection, PgPool};

/// Exchanges the people of two shifts, unless this was done under the same key.
#[expect(clippy::disallowed_methods, reason = "the naive form, for comparison")]
pub async fn swap(pool: &PgPool, request: &SwapRequest) -> Result<Swapped, Problem> {
    let mut tx = pool.begin().await?;
    // Two with the same key look at the same moment, and neither sees the other.
    let known = "SELECT count(*) FROM journal WHERE what = 'swapped' AND about = $1";
    let known: i64 = sqlx::query_scalar(known).bind(&request.key).fetch_one(&mut *tx).await?;
    if known > 0 {
        return Err(Problem::Conflict("done before".into()));
    }
    let (first, second) = (request.first.0, request.second.0);
    let (a, b) = (person_of(&mut tx, first).await?, person_of(&mut tx, second).await?);
    // In the order of the request: its mirror image locks in the other order.
    put(&mut tx, first, b).await?;
    let insert = "INSERT INTO swap (first, second, first_version, second_version)
                  VALUES ($1, $2, 0, 0) RETURNING id";
    let swap: i64 = sqlx::query_scalar(insert).bind(first).bind(second).fetch_one(&mut *tx).await?;
    journal(&mut tx, "swapped", &request.key).await?;
    put(&mut tx, second, a).await?;
    tx.commit().await?;
    Ok(Swapped { swap, told: 0 })
}

/// Gives both shifts back.
#[expect(clippy::disallowed_methods, reason = "the naive form, for comparison")]
pub async fn roll_back(pool: &PgPool, swap: i64) -> Result<(), Problem> {
    let mut tx = pool.begin().await?;
    let read = "SELECT first, second, rolled_back FROM swap WHERE id = $1";
    let (first, second, rolled_back): (i64, i64, bool) =
        sqlx::query_as(read).bind(swap).fetch_one(&mut *tx).await?;
    if rolled_back {
        return Err(Problem::Conflict("rolled back before".into()));
    }
    let (a, b) = (person_of(&mut tx, first).await?, person_of(&mut tx, second).await?);
    put(&mut tx, first, b).await?;
    put(&mut tx, second, a).await?;
    let update = "UPDATE swap SET rolled_back = true WHERE id = $1";
    sqlx::query(update).bind(swap).execute(&mut *tx).await?;
    journal(&mut tx, "rolled back", &swap.to_string()).await?;
    Ok(tx.commit().await?)
}

/// Marks an alert as resolved by somebody.
#[expect(clippy::disallowed_methods, reason = "the naive form, for comparison")]
pub async fn resolve(pool: &PgPool, alert: i64, by: &By) -> Result<(), Problem> {
    let mut tx = pool.begin().await?;
    let read = "SELECT resolved_by FROM alert WHERE id = $1";
    let resolved: Option<i64> = sqlx::query_scalar(read).bind(alert).fetch_one(&mut *tx).await?;
    if resolved.is_some() {
        return Err(Problem::Conflict("resolved before".into()));
    }
    let update = "UPDATE alert SET resolved_by = $2 WHERE id = $1";
    sqlx::query(update).bind(alert).bind(by.person).execute(&mut *tx).await?;
    journal(&mut tx, "resolved", &alert.to_string()).await?;
    Ok(tx.commit().await?)
}

/// Takes somebody off a rota, on which one has to stay.
#[expect(clippy::disallowed_methods, reason = "the naive form, for comparison")]
pub async fn leave(pool: &PgPool, rota: i64, by: &By) -> Result<(), Problem> {
    let mut tx = pool.begin().await?;
    // Both count two, and each changes a row of its own: no lock stands between them.
    let count = "SELECT count(*) FROM duty WHERE rota = $1 AND on_call";
    let on_call: i64 = sqlx::query_scalar(count).bind(rota).fetch_one(&mut *tx).await?;
    if on_call < 2 {
        return Err(Problem::Conflict("the last one stays".into()));
    }
    let update = "UPDATE duty SET on_call = false WHERE rota = $1 AND person = $2";
    sqlx::query(update).bind(rota).bind(by.person).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}

async fn person_of(connection: &mut PgConnection, shift: i64) -> Result<i64, sqlx::Error> {
    let read = "SELECT person FROM shift WHERE id = $1";
    sqlx::query_scalar(read).bind(shift).fetch_one(connection).await
}

async fn put(connection: &mut PgConnection, shift: i64, person: i64) -> Result<(), sqlx::Error> {
    let update = "UPDATE shift SET person = $2, version = version + 1 WHERE id = $1";
    sqlx::query(update).bind(shift).bind(person).execute(connection).await.map(drop)
}

async fn journal(
    connection: &mut PgConnection,
    what: &str,
    about: &str,
) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO journal VALUES ($1, $2)";
    sqlx::query(insert).bind(what).bind(about).execute(connection).await.map(drop)
}
