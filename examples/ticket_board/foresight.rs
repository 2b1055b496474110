//! What lockdep says of both orders of locks: of the old one from moves that nobody else disturbs.
//!
//! Never does: wait for a deadlock.

use crate::arena::Failure;
use cupping::txn::{Lockdep, Transactor, TxnOptions, work};
use sqlx::{PgPool, Postgres};

/// Watches the units of this program: from now on one whose order of locks contradicts an earlier
/// one's fails, though it did not deadlock.
pub fn watch() -> Lockdep {
    let lockdep = Lockdep::new().per_database();
    assert!(lockdep.install(), "nothing else installs one in this program");
    lockdep
}

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
