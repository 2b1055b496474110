//! The old handler, rebuilt: read, delete, insert, and mark the regions, all in one transaction.
//!
//! Decides: nothing worth copying: this is the "before". Never does: lock in an order.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// Computes and stores the beans most similar to one, and marks its regions.
#[expect(clippy::disallowed_methods, reason = "the old handler, as it was: bare sqlx")]
pub async fn handle(pool: &PgPool, bean: Uuid) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    let similar = most_similar(&mut tx, bean).await?;
    sqlx::query("DELETE FROM coffee_bean_similarity WHERE source_bean_id = $1")
        .bind(bean)
        .execute(&mut *tx)
        .await?;
    for (other, score) in similar {
        sqlx::query("INSERT INTO coffee_bean_similarity VALUES ($1, $2, $3)")
            .bind(bean)
            .bind(other)
            .bind(score)
            .execute(&mut *tx)
            .await?;
    }
    // One row a statement, in the order in which this bean lists its regions. Two beans that share
    // two regions may list them the other way round; each then waits for the other.
    for region in regions(&mut tx, bean).await? {
        sqlx::query("UPDATE region SET similarities_at = now() WHERE id = $1")
            .bind(region)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await
}

/// The twenty beans that share the largest part of their regions with one.
pub const MOST_SIMILAR: &str = "
    SELECT other.coffee_bean_id, count(*)::float8 / (
        SELECT count(DISTINCT region_id) FROM coffee_bean_region
        WHERE coffee_bean_id IN ($1, other.coffee_bean_id))
    FROM coffee_bean_region own JOIN coffee_bean_region other USING (region_id)
    WHERE own.coffee_bean_id = $1 AND other.coffee_bean_id <> $1
    GROUP BY other.coffee_bean_id ORDER BY 2 DESC, 1 LIMIT 20";

async fn most_similar(
    connection: &mut PgConnection,
    bean: Uuid,
) -> Result<Vec<(Uuid, f64)>, sqlx::Error> {
    sqlx::query_as(MOST_SIMILAR).bind(bean).fetch_all(connection).await
}

/// A bean's regions, in an order of its own.
pub const REGIONS: &str = "
    SELECT region_id FROM coffee_bean_region WHERE coffee_bean_id = $1
    ORDER BY md5(coffee_bean_id::text || region_id::text)";

async fn regions(connection: &mut PgConnection, bean: Uuid) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(REGIONS).bind(bean).fetch_all(connection).await
}
