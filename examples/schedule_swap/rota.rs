//! Leaving a rota, on which at least one has to stay: a limit over several rows.
//!
//! Decides: that the limit is the database's to hold (SERIALIZABLE). Never does: lock what it has
//! only counted.

use crate::schedule::{Schedule, Until};
use crate::wire::{By, Problem};
use cupping::txn::{Isolation, TxnOptions, work};
use sqlx::Postgres;

impl Schedule {
    /// Takes somebody off a rota, unless nobody would be left.
    pub async fn leave(&self, rota: i64, by: &By) -> Result<(), Problem> {
        let person = by.person;
        // Of two that count at the same moment the server fails one, which then counts again.
        let isolation = Isolation::Serializable;
        let options = TxnOptions { isolation, ..Until::of(None).options() };
        let body = work!(|tx: Postgres| {
            let count = "SELECT count(*) FROM duty WHERE rota = $1 AND on_call";
            let (on_call,): (i64,) = tx.fetch_one_as(sqlx::query(count).bind(rota)).await?;
            if on_call < 2 {
                return Err(Problem::Conflict("the last one stays".into()).into());
            }
            let update = "UPDATE duty SET on_call = false WHERE rota = $1 AND person = $2";
            tx.execute(sqlx::query(update).bind(rota).bind(person)).await.map(drop)
        });
        Ok(self.transactor.run("leave", &options, body).await?)
    }
}
