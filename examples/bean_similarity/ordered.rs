//! The smallest change to the old handler that ends its deadlocks: its regions locked in order.
//!
//! Decides: the order. Never does: end the waiting; beans that share a region still queue for it.

use super::handler::{MOST_SIMILAR, REGIONS};
use cupping::txn::{BodyError, LockPlan, TableRank, Transactor, Tx, TxnError, TxnOptions, work};
use sqlx::Postgres;
use uuid::Uuid;

/// Declared once, for every transaction that locks rows of it.
const REGION: TableRank = TableRank::new(1, "region", "id");

/// As [`super::handler::handle`].
pub async fn handle(transactor: &Transactor<Postgres>, bean: Uuid) -> Result<(), TxnError> {
    let options = TxnOptions::default();
    transactor
        .run("ordered_handler", &options, work!([bean] => |tx| { write(tx, bean).await }))
        .await
}

async fn write(tx: &mut Tx<Postgres>, bean: Uuid) -> Result<(), BodyError> {
    let similar: Vec<(Uuid, f64)> = tx.fetch_all_as(sqlx::query(MOST_SIMILAR).bind(bean)).await?;
    let regions: Vec<(Uuid,)> = tx.fetch_all_as(sqlx::query(REGIONS).bind(bean)).await?;
    // What matters: every lock on a shared row, in one order, before any write.
    let ids: Vec<[u8; 16]> = regions.iter().map(|(region,)| region.into_bytes()).collect();
    tx.lock_rows(&LockPlan::new().rows(REGION, ids)).await?;
    let delete = sqlx::query("DELETE FROM coffee_bean_similarity WHERE source_bean_id = $1");
    tx.execute(delete.bind(bean)).await?;
    for (other, score) in similar {
        let insert = sqlx::query("INSERT INTO coffee_bean_similarity VALUES ($1, $2, $3)");
        tx.execute(insert.bind(bean).bind(other).bind(score)).await?;
    }
    // In the bean's own order, as ever: they are locked already.
    for (region,) in regions {
        let update = sqlx::query("UPDATE region SET similarities_at = now() WHERE id = $1");
        tx.execute(update.bind(region)).await?;
    }
    Ok(())
}
