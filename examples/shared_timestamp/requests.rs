//! What the requests of the devices touch: their gateway, site, customer and the like.
//!
//! Decides: which rows, in which order, from a seed. Never does: touch one.

use sqlx::{Executor, MySqlPool};
use std::collections::BTreeSet;

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

/// Of the rows that these requests touch, those that are not marked as seen.
pub async fn unseen(
    pool: &MySqlPool,
    requests: &Requests,
    (devices, each): (usize, usize),
) -> Result<usize, sqlx::Error> {
    let all = (0..devices).flat_map(|device| (0..each).map(move |number| (device, number)));
    let touched: BTreeSet<i64> =
        all.flat_map(|(device, number)| requests.of(device, number)).collect();
    let sql = "SELECT id FROM thing WHERE last_seen IS NULL";
    let unseen: Vec<i64> = sqlx::query_scalar(sql).fetch_all(pool).await?;
    Ok(unseen.iter().filter(|row| touched.contains(row)).count())
}

/// Rows that nobody has seen yet.
pub async fn reset(pool: &MySqlPool, rows: i64) -> Result<(), sqlx::Error> {
    pool.execute("DELETE FROM thing").await?;
    for row in 1..=rows {
        sqlx::query("INSERT INTO thing (id) VALUES (?)").bind(row).execute(pool).await?;
    }
    Ok(())
}
