//! Importing beans, and knowing which of them need a message.
//!
//! Decides: which beans are new, and which changed in what is compared. Never does: publish.

use super::{AppError, Database};
use crate::domain::bean::{Bean, BeanId};
use crate::domain::seed::builtin_taxonomy;
use crate::store::Store;
use crate::store::import::{CatalogueWriter, ImportRecord, ImportReport, json_lines};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The sample catalogue that comes with the program, as JSON lines.
pub const SAMPLE: &str = include_str!("../../assets/sample/catalogue.jsonl");

/// What an import did, bean by bean.
#[derive(Debug, Default)]
pub struct Imported {
    /// The counts, and the values added.
    pub report: ImportReport,
    /// Beans that were new.
    pub created: BTreeSet<BeanId>,
    /// Beans that were there and are compared by other values, or under another name, now.
    pub changed: BTreeSet<BeanId>,
}

/// An import under way.
pub struct Importer {
    store: Arc<dyn Store>,
    writer: Arc<dyn CatalogueWriter>,
    done: Imported,
}

impl Importer {
    /// Begins: sees to it that the catalogue has the built-in taxonomies.
    ///
    /// # Errors
    /// [`AppError`] when the catalogue cannot be written.
    pub async fn begin(database: &Database) -> Result<Self, AppError> {
        let writer = database.writer();
        writer.seed(&builtin_taxonomy()).await?;
        Ok(Self { store: database.store(), writer, done: Imported::default() })
    }

    /// Imports some records, in one transaction.
    ///
    /// # Errors
    /// [`AppError`] when the catalogue cannot be written; then none of these was.
    pub async fn take(&mut self, records: &[ImportRecord]) -> Result<(), AppError> {
        let ids: Vec<BeanId> = records.iter().map(|record| record.id.clone()).collect();
        let before = self.beans(&ids).await?;
        self.done.report.merge(self.writer.import(records).await?);
        for (id, bean) in self.beans(&ids).await? {
            match before.get(&id) {
                None => {
                    self.done.created.insert(id);
                }
                Some(old) if *old != bean && !self.done.created.contains(&id) => {
                    self.done.changed.insert(id);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// What was done.
    #[must_use]
    pub fn end(self) -> Imported {
        self.done
    }

    async fn beans(&self, ids: &[BeanId]) -> Result<BTreeMap<BeanId, Bean>, AppError> {
        let beans = self.store.beans(ids).await?;
        Ok(beans.into_iter().map(|bean| (bean.id.clone(), bean)).collect())
    }
}

/// Imports the sample; answers what was done, and the ids of all its beans.
///
/// # Errors
/// [`AppError`] when the catalogue cannot be written.
pub async fn sample(database: &Database) -> Result<(Imported, Vec<BeanId>), AppError> {
    let records: Vec<ImportRecord> = json_lines(SAMPLE.as_bytes())
        .map(|line| line.expect("the sample is compiled in, and a test reads it"))
        .collect();
    let mut importer = Importer::begin(database).await?;
    importer.take(&records).await?;
    Ok((importer.end(), records.into_iter().map(|record| record.id).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_sample_is_a_record() {
        let records: Vec<_> = json_lines(SAMPLE.as_bytes()).collect();
        assert!(records.len() >= 200, "{}", records.len());
        for record in records {
            record.expect("a good line");
        }
    }
}
