//! Before: each request marks its rows one by one, in one transaction, on bare sqlx.
//!
//! Decides: nothing worth copying. Never does: lock in an order, or retry.

use sqlx::MySqlPool;

/// Marks rows as seen.
#[expect(clippy::disallowed_methods, reason = "the old code, as it was: bare sqlx")]
pub async fn touch(pool: &MySqlPool, rows: &[i64]) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    for row in rows {
        let update = sqlx::query("UPDATE thing SET last_seen = NOW(6) WHERE id = ?");
        update.bind(row).execute(&mut *tx).await?;
    }
    tx.commit().await
}
