//! Large reads: in a task of their own, handed to the caller piece by piece.
//!
//! Decides: that a read runs to its end even when its caller goes away (a cancelled one would
//! leave an open transaction in the pool), and how many pieces are under way at most.
//! Never does: query.

use super::StoreError;
use super::rows::{StoredRow, read_id, read_similar};
use crate::domain::bean::BeanId;
use crate::domain::ranking::SimilarList;
use futures_util::{Stream, TryStreamExt};
use std::future::Future;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Pieces under way between the connection and the caller, at most.
const UNDER_WAY: usize = 1024;

/// Where a read sends its pieces; closed when nobody waits for the rest.
pub(super) type Pieces<I> = mpsc::Sender<I>;

/// Runs a read, and passes the pieces it sends on to `sink`.
pub(super) async fn stream<I, T, Read>(
    read: impl FnOnce(Pieces<I>) -> Read,
    sink: &mut (dyn FnMut(I) + Send),
    broken: impl Fn(sqlx::Error) -> StoreError,
) -> Result<T, StoreError>
where
    Read: Future<Output = Result<T, StoreError>> + Send + 'static,
    T: Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(UNDER_WAY);
    let reading = tokio::spawn(read(sender));
    while let Some(piece) = receiver.recv().await {
        sink(piece);
    }
    joined(reading, broken).await
}

/// Waits for a read that was spawned; a panic in it goes on here.
pub(super) async fn joined<T>(
    task: JoinHandle<Result<T, StoreError>>,
    broken: impl Fn(sqlx::Error) -> StoreError,
) -> Result<T, StoreError> {
    match task.await {
        Ok(answer) => answer,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(broken(sqlx::Error::WorkerCrashed)),
        },
    }
}

/// Sends whole lists, in order, from rows that come source by source.
pub(super) async fn send_lists(
    mut rows: impl Stream<Item = Result<StoredRow, sqlx::Error>> + Unpin,
    sender: Pieces<(BeanId, SimilarList)>,
    broken: impl Fn(sqlx::Error) -> StoreError,
) -> Result<(), StoreError> {
    let mut open: Option<(BeanId, SimilarList)> = None;
    while let Some((source, similar, score)) = rows.try_next().await.map_err(&broken)? {
        let entry = read_similar(&similar, score)?;
        match &mut open {
            Some((id, list)) if id.as_str() == source => list.push(entry),
            _ => {
                let begun = (read_id(&source)?, vec![entry]);
                if let Some(done) = open.replace(begun)
                    && !send_list(&sender, done).await
                {
                    return Ok(());
                }
            }
        }
    }
    if let Some(done) = open {
        send_list(&sender, done).await;
    }
    Ok(())
}

/// Answers whether anybody is still listening.
async fn send_list(
    sender: &Pieces<(BeanId, SimilarList)>,
    (source, mut list): (BeanId, SimilarList),
) -> bool {
    list.sort_unstable();
    sender.send((source, list)).await.is_ok()
}
