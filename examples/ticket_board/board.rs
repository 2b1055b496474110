//! The board as it is: both columns are locked first, by a plan, and those who watch are told after
//! the commit.
//!
//! Decides: the order of the locks. Never does: tell of a move that was rolled back.

use cupping::txn::{BodyError, LockPlan, TableRank, Transactor, Tx, TxnError, TxnOptions, work};
use sqlx::{PgPool, Postgres};
use std::collections::HashMap;
use tokio::sync::broadcast;

/// Where columns stand in the order in which everybody locks.
const COLUMN: TableRank = TableRank::new(1, "board_column", "id");

/// How many moves a client may be behind before it has to read the board again.
const NEWS: usize = 64;

/// A move, as it is told to those who watch.
#[derive(Debug, Clone, Copy)]
pub struct Moved {
    /// The ticket.
    pub ticket: i64,
    /// The column that it left, and this column's version with the move.
    pub from: (i64, i64),
    /// The column that it entered, and this column's version with the move.
    pub to: (i64, i64),
    /// Its position there.
    pub position: i32,
}

/// Tickets in columns.
#[derive(Clone)]
pub struct Board {
    transactor: Transactor<Postgres>,
    news: broadcast::Sender<Moved>,
}

impl Board {
    /// The board in a database.
    pub fn new(pool: PgPool) -> Self {
        let transactor = Transactor::new(pool).named("ticket board");
        Self { transactor, news: broadcast::Sender::new(NEWS) }
    }

    /// What moves from now on. Whoever is too slow is told how much was missed.
    pub fn news(&self) -> broadcast::Receiver<Moved> {
        self.news.subscribe()
    }

    /// Moves a ticket to a position of a column, or to its end when it has no such position.
    pub async fn move_to_position(
        &self,
        ticket: i64,
        column: i64,
        position: i32,
    ) -> Result<(), TxnError> {
        let news = self.news.clone();
        let body = work!([news] => |tx: Postgres| {
            let (from, ..) = place(tx, ticket, column).await?;
            // Whoever has both columns has every position in them: the updates that follow wait for
            // nobody, whatever their order.
            tx.lock_rows(&LockPlan::new().rows(COLUMN, vec![from, column])).await?;
            // Read again: until the columns were locked, it could have been moved.
            let (still, was, last) = place(tx, ticket, column).await?;
            if still != from {
                return Err(BodyError::conflict("the ticket was moved meanwhile"));
            }
            let position = position.clamp(0, last);
            shift(tx, ticket, (from, was), (column, position)).await?;
            let versions = new_versions(tx, [from, column]).await?;
            let version = |column| (column, versions[&column]);
            let moved = Moved { ticket, from: version(from), to: version(column), position };
            tx.after_commit(move || async move {
                // An error says that nobody watches.
                let _watched: Result<usize, _> = news.send(moved);
            });
            Ok(())
        });
        self.transactor.run("move_to_position", &TxnOptions::default(), body).await
    }
}

/// Where a ticket is (column and position), and the last position that it can have in `column`.
async fn place(
    tx: &mut Tx<Postgres>,
    ticket: i64,
    column: i64,
) -> Result<(i64, i32, i32), BodyError> {
    let place = "SELECT column_id, position, (SELECT count(*)::integer FROM ticket
                                              WHERE column_id = $2 AND id <> $1)
                 FROM ticket WHERE id = $1";
    tx.fetch_one_as(sqlx::query(place).bind(ticket).bind(column)).await
}

/// One update a column, however many positions lie between; then the ticket itself. In between two
/// tickets share a position, so the constraint looks at the commit.
async fn shift(
    tx: &mut Tx<Postgres>,
    ticket: i64,
    (from, was): (i64, i32),
    (column, position): (i64, i32),
) -> Result<(), BodyError> {
    let close = "UPDATE ticket SET position = position - 1
                 WHERE column_id = $1 AND position > $2 AND id <> $3";
    tx.execute(sqlx::query(close).bind(from).bind(was).bind(ticket)).await?;
    let open = "UPDATE ticket SET position = position + 1
                WHERE column_id = $1 AND position >= $2 AND id <> $3";
    tx.execute(sqlx::query(open).bind(column).bind(position).bind(ticket)).await?;
    let put = "UPDATE ticket SET column_id = $1, position = $2 WHERE id = $3 AND column_id = $4";
    let put = sqlx::query(put).bind(column).bind(position).bind(ticket).bind(from);
    tx.execute(put).await.map(drop)
}

async fn new_versions(
    tx: &mut Tx<Postgres>,
    columns: [i64; 2],
) -> Result<HashMap<i64, i64>, BodyError> {
    let count = "UPDATE board_column SET version = version + 1 WHERE id = ANY($1)
                 RETURNING id, version";
    let versions: Vec<(i64, i64)> = tx.fetch_all_as(sqlx::query(count).bind(columns)).await?;
    Ok(versions.into_iter().collect())
}
