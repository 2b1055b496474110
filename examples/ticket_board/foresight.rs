//! What lockdep says of the old order of locks, from moves that nobody else disturbs.
//!
//! Never does: wait for a deadlock.

use crate::arena::Failure;
use cupping::txn::{Lockdep, Transactor, TxnOptions, work};
use sqlx::{PgPool, Postgres};

/// How many inversions it finds in the old order: one move each way, one after the other.
pub async fn of_the_old_order(pool: &PgPool) -> Result<usize, Failure> {
    let lockdep = Lockdep::new().reporting();
    let transactor = Transactor::new(pool.clone()).with_lockdep(&lockdep);
    for (from, to) in [(1_i64, 2_i64), (2, 1)] {
        let body = work!(|tx: Postgres| {
            let close =
                "UPDATE ticket SET position = position - 1 WHERE column_id = $1 AND position > 0";
            tx.execute(sqlx::query(close).bind(from)).await?;
            let open = "UPDATE ticket SET position = position + 1 WHERE column_id = $1";
            tx.execute(sqlx::query(open).bind(to)).await?;
            Ok(())
        });
        transactor.run("old order", &TxnOptions::default(), body).await?;
    }
    Ok(lockdep.inversions().len())
}
