//! What the old handler does to the regions, on the toolkit: for lockdep to look at.
//!
//! Decides: nothing; one bean after the other, so that no deadlock happens. Never does: run in
//! production.

use super::handler::REGIONS;
use cupping::txn::{BodyError, Transactor, Tx, TxnError, TxnOptions, work};
use sqlx::Postgres;
use uuid::Uuid;

/// Marks a bean's regions in the bean's own order.
pub async fn mark_regions(transactor: &Transactor<Postgres>, bean: Uuid) -> Result<(), TxnError> {
    let body = work!([bean] => |tx: Postgres| { mark(tx, bean).await });
    transactor.run("old_handler", &TxnOptions::default(), body).await
}

async fn mark(tx: &mut Tx<Postgres>, bean: Uuid) -> Result<(), BodyError> {
    let regions: Vec<(Uuid,)> = tx.fetch_all_as(sqlx::query(REGIONS).bind(bean)).await?;
    for (region,) in regions {
        let update = sqlx::query("UPDATE region SET similarities_at = now() WHERE id = $1");
        tx.execute(update.bind(region)).await?;
    }
    Ok(())
}
