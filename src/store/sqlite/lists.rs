//! Reading the stored lists.
//!
//! Decides: the order in which they are handed out: best first, by the domain's own rule.
//! Never does: hide a row; readers who want deleted beans hidden use `similar_beans`.

use super::read::joined;
use super::{SqliteStore, failed};
use crate::domain::bean::BeanId;
use crate::domain::ranking::{Similar, SimilarList, read_score};
use crate::store::StoreError;
use futures_util::TryStreamExt;
use tokio::sync::mpsc;

/// One stored row: source, similar bean, score.
pub(super) type StoredRow = (String, String, f64);

/// Lists under way between the connection and the caller, at most.
const STREAMING: usize = 256;

const DOING: &str = "reading the stored lists";

/// Reads one row's similar bean.
pub(super) fn read_similar(similar: &str, score: f64) -> Result<Similar, StoreError> {
    Ok(Similar { bean: read_id(similar)?, ppm: read_score(score) })
}

fn read_id(text: &str) -> Result<BeanId, StoreError> {
    BeanId::parse(text).map_err(|error| StoreError::Data {
        what: format!("the id {text:?} in the similarity table"),
        message: format!("{error}; delete the row"),
    })
}

impl SqliteStore {
    pub(super) async fn list_of(&self, source: &BeanId) -> Result<SimilarList, StoreError> {
        let bound = self.bound(std::slice::from_ref(source))?;
        let rows: Vec<StoredRow> = sqlx::query_as(self.statements.stored.text())
            .bind(bound)
            .fetch_all(&self.read_pool)
            .await
            .map_err(failed(DOING))?;
        let mut list: SimilarList = rows
            .iter()
            .map(|(_, similar, score)| read_similar(similar, *score))
            .collect::<Result<_, _>>()?;
        list.sort_unstable();
        Ok(list)
    }

    pub(super) async fn all_lists(
        &self,
        sink: &mut (dyn FnMut(BeanId, SimilarList) + Send),
    ) -> Result<(), StoreError> {
        let (sender, mut receiver) = mpsc::channel(STREAMING);
        let store = self.clone();
        let reading = tokio::spawn(async move { store.stream(sender).await });
        while let Some((source, list)) = receiver.recv().await {
            sink(source, list);
        }
        joined(DOING, reading).await
    }

    /// One statement, so one snapshot.
    async fn stream(&self, sender: mpsc::Sender<(BeanId, SimilarList)>) -> Result<(), StoreError> {
        let mut rows =
            sqlx::query_as::<_, StoredRow>(self.statements.lists.text()).fetch(&self.read_pool);
        let mut open: Option<(BeanId, SimilarList)> = None;
        while let Some((source, similar, score)) = rows.try_next().await.map_err(failed(DOING))? {
            let entry = read_similar(&similar, score)?;
            match &mut open {
                Some((id, list)) if id.as_str() == source => list.push(entry),
                _ => {
                    let begun = (read_id(&source)?, vec![entry]);
                    if let Some(done) = open.replace(begun)
                        && !hand_out(&sender, done).await
                    {
                        return Ok(());
                    }
                }
            }
        }
        if let Some(done) = open {
            hand_out(&sender, done).await;
        }
        Ok(())
    }
}

/// Answers whether anybody is still listening.
async fn hand_out(
    sender: &mpsc::Sender<(BeanId, SimilarList)>,
    (source, mut list): (BeanId, SimilarList),
) -> bool {
    list.sort_unstable();
    sender.send((source, list)).await.is_ok()
}
