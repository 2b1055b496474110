//! Reading the stored lists.
//!
//! Decides: the order in which they are handed out: best first, by the domain's own rule, never by
//! a collation. Never does: hide a row; readers who want deleted beans hidden use `similar_beans`.

use super::PostgresStore;
use super::snapshot::failed;
use crate::domain::bean::BeanId;
use crate::domain::ranking::SimilarList;
use crate::store::StoreError;
use crate::store::rows::{StoredRow, lists};
use crate::store::streaming::{send_lists, stream};

const DOING: &str = "reading the stored lists";

impl PostgresStore {
    pub(super) async fn list_of(&self, source: &BeanId) -> Result<SimilarList, StoreError> {
        self.accepted(source)?;
        let rows: Vec<StoredRow> = sqlx::query_as(self.statements.stored.text())
            .bind(vec![source.as_str().to_owned()])
            .fetch_all(&self.pool)
            .await
            .map_err(failed(DOING))?;
        Ok(lists(rows)?.into_values().next().unwrap_or_default())
    }

    /// One statement, so one snapshot.
    pub(super) async fn all_lists(
        &self,
        sink: &mut (dyn FnMut(BeanId, SimilarList) + Send),
    ) -> Result<(), StoreError> {
        let (store, broken) = (self.clone(), failed(DOING));
        let read = |sender| async move {
            let statement = store.statements.lists.text();
            let rows = sqlx::query_as::<_, StoredRow>(statement).fetch(&store.pool);
            send_lists(rows, sender, broken).await
        };
        stream(read, &mut |(source, list)| sink(source, list), broken).await
    }
}
