//! The smallest change to the old handler that ends its deadlocks: its regions locked in order.
//!
//! Decides: the order. Never does: end the waiting; beans that share a region still queue for it.

use super::handler::MOST_SIMILAR;
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
    let query = sqlx::query(MOST_SIMILAR).bind(bean);
    let similar: Vec<(Uuid, f64)> = tx.fetch_all_as(query).await?;
    let query = sqlx::query("SELECT region_id FROM coffee_bean_region WHERE coffee_bean_id = $1");
    let regions: Vec<(Uuid,)> = tx.fetch_all_as(query.bind(bean)).await?;
    let regions: Vec<Uuid> = regions.into_iter().map(|(region,)| region).collect();
    // The one line that matters: every lock of this transaction, in one order, before any write.
    let ids: Vec<[u8; 16]> = regions.iter().map(|region| region.into_bytes()).collect();
    tx.lock_rows(&LockPlan::new().rows(REGION, ids)).await?;
    let query = sqlx::query("DELETE FROM coffee_bean_similarity WHERE source_bean_id = $1");
    tx.execute(query.bind(bean)).await?;
    let (others, scores): (Vec<Uuid>, Vec<f64>) = similar.into_iter().unzip();
    let insert = "INSERT INTO coffee_bean_similarity SELECT $1, * FROM UNNEST($2, $3)";
    tx.execute(sqlx::query(insert).bind(bean).bind(others).bind(scores)).await?;
    let query = sqlx::query("UPDATE region SET similarities_at = now() WHERE id = ANY($1)");
    tx.execute(query.bind(regions)).await?;
    Ok(())
}
