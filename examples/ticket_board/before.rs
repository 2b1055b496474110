//! The board as it was: a transaction, and updates in the order in which the mover thinks of them.
//!
//! Decides: nothing; it is here to deadlock.

use sqlx::PgPool;

/// Moves a ticket to a position of a column.
#[expect(clippy::disallowed_methods, reason = "the naive form, for comparison")]
pub async fn move_to_position(
    pool: &PgPool,
    ticket: i64,
    column: i64,
    position: i32,
) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    let place = "SELECT column_id, position FROM ticket WHERE id = $1";
    let (from, was): (i64, i32) = sqlx::query_as(place).bind(ticket).fetch_one(&mut *tx).await?;
    // First the column that it leaves, then the one that it enters: somebody who moves the other
    // way takes the rows in the other order.
    let close = "UPDATE ticket SET position = position - 1 WHERE column_id = $1 AND position > $2";
    sqlx::query(close).bind(from).bind(was).execute(&mut *tx).await?;
    let open = "UPDATE ticket SET position = position + 1 WHERE column_id = $1 AND position >= $2";
    sqlx::query(open).bind(column).bind(position).execute(&mut *tx).await?;
    let place = "UPDATE ticket SET column_id = $2, position = $3 WHERE id = $1";
    sqlx::query(place).bind(ticket).bind(column).bind(position).execute(&mut *tx).await?;
    tx.commit().await
}
