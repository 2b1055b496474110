//! What the requests of the devices touch: their gateway, site, customer and the like.
//!
//! Decides: which rows, in which order, from a seed. Never does: touch one.

use sqlx::{Executor, MySqlPool};

/// Rows that a request touches.
const TOUCHED: usize = 4;

/// The requests of every device.
pub struct Requests {
    rows: i64,
    seed: u64,
}

impl Requests {
    /// On rows 1 to `rows`.
    pub fn generate(rows: i64, seed: u64) -> Self {
        Self { rows, seed }
    }

    /// The rows that a device's request marks as seen, in the order in which its code meets them.
    pub fn of(&self, device: usize, number: usize) -> Vec<i64> {
        let mut random = fastrand::Rng::with_seed(self.seed ^ (device * 1_000_003 + number) as u64);
        let mut rows: Vec<i64> = (1..=self.rows).collect();
        random.shuffle(&mut rows);
        rows.truncate(TOUCHED);
        rows
    }
}

/// Rows that nobody has seen yet.
pub async fn reset(pool: &MySqlPool, rows: i64) -> Result<(), sqlx::Error> {
    pool.execute("DELETE FROM thing").await?;
    for row in 1..=rows {
        sqlx::query("INSERT INTO thing (id) VALUES (?)").bind(row).execute(pool).await?;
    }
    Ok(())
}
