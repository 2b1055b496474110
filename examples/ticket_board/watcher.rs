//! A client that watches the board: it reads it once, then follows the moves as they are told.
//!
//! Decides: when to read again (something was missed). Never does: trust the order of the news:
//! two commits may be told in the other order.

use crate::board::Moved;
use sqlx::PgPool;
use std::collections::BTreeMap;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// A column as a client shows it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Column {
    version: i64,
    tickets: Vec<i64>,
}

/// The board as a client shows it.
#[derive(Debug, Default)]
pub struct View {
    /// By id.
    pub columns: BTreeMap<i64, Column>,
    /// How many moves were followed.
    pub followed: usize,
    /// How often the board was read because something was missed.
    pub read_again: usize,
}

impl View {
    /// Reads the board, in one statement and so as of one moment.
    pub async fn read(&mut self, pool: &PgPool) -> Result<(), sqlx::Error> {
        let board = "SELECT c.id, c.version, t.id
                     FROM board_column c LEFT JOIN ticket t ON t.column_id = c.id
                     ORDER BY c.id, t.position";
        let rows: Vec<(i64, i64, Option<i64>)> = sqlx::query_as(board).fetch_all(pool).await?;
        self.columns.clear();
        for (id, version, ticket) in rows {
            let column = self.columns.entry(id).or_default();
            column.version = version;
            column.tickets.extend(ticket);
        }
        Ok(())
    }

    /// Follows a move; `false` when another one must have come between.
    fn follow(&mut self, moved: &Moved) -> bool {
        let known = |(column, version): (i64, i64)| {
            self.columns.get(&column).map(|shown| version - shown.version)
        };
        match (known(moved.from), known(moved.to)) {
            (Some(..=0), Some(..=0)) => return true,
            (Some(1), Some(1)) => {}
            _ => return false,
        }
        for (id, version) in [moved.from, moved.to] {
            let column = self.columns.entry(id).or_default();
            column.version = version;
            column.tickets.retain(|ticket| *ticket != moved.ticket);
        }
        let entered = &mut self.columns.entry(moved.to.0).or_default().tickets;
        let position = usize::try_from(moved.position).unwrap_or(0).min(entered.len());
        entered.insert(position, moved.ticket);
        self.followed += 1;
        true
    }
}

/// Watches until nobody can move anything any more, and gives the view back.
///
/// Subscribe first and read then: what happens in between is told twice, not missed.
pub async fn watch(pool: PgPool, mut news: Receiver<Moved>) -> Result<View, sqlx::Error> {
    let mut view = View::default();
    view.read(&pool).await?;
    loop {
        let missed = match news.recv().await {
            Ok(moved) => !view.follow(&moved),
            Err(RecvError::Lagged(_)) => true,
            Err(RecvError::Closed) => return Ok(view),
        };
        if missed {
            view.read(&pool).await?;
            view.read_again += 1;
        }
    }
}
