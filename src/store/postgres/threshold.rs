//! Thresholds: what a bean must beat to enter a source's list.
//!
//! Decides: that a threshold is recorded, and logged, only where it changed. Written under the
//! source's key, so that state and log agree. Never does: read them (the ripple does).

use crate::domain::ranking::{Similar, SimilarList};
use crate::txn::{BodyError, Tx};
use sqlx::Postgres;

const RECORD: &str = "\
    WITH list AS ( \
        SELECT * FROM unnest($1::text[], $2::int4[], $3::int4[], $4::text[]) \
            AS list (source_id, count, kth_ppm, kth_id) \
    ), changed AS ( \
        INSERT INTO cupping.source_state AS state (source_id, count, kth_ppm, kth_id) \
        SELECT source_id, count, kth_ppm, kth_id FROM list \
        WHERE NOT EXISTS ( \
            SELECT FROM cupping.source_state old \
            WHERE old.source_id = list.source_id AND old.count = list.count \
              AND old.kth_ppm IS NOT DISTINCT FROM list.kth_ppm \
              AND old.kth_id IS NOT DISTINCT FROM list.kth_id) \
        ORDER BY source_id \
        ON CONFLICT (source_id) DO UPDATE \
        SET count = EXCLUDED.count, kth_ppm = EXCLUDED.kth_ppm, kth_id = EXCLUDED.kth_id \
        RETURNING state.source_id, state.count, state.kth_ppm, state.kth_id \
    ) \
    INSERT INTO cupping.change_log (kind, bean_id, count, kth_ppm, kth_id) \
    SELECT 'threshold', source_id, count, kth_ppm, kth_id FROM changed";

const FORGET: &str = "\
    WITH gone AS ( \
        DELETE FROM cupping.source_state WHERE source_id = ANY ($1::text[]) RETURNING source_id \
    ) \
    INSERT INTO cupping.change_log (kind, bean_id) SELECT 'threshold', source_id FROM gone";

/// How long a source's list is, and its last entry.
#[derive(Debug)]
pub(super) struct Threshold<'a> {
    source: &'a str,
    count: usize,
    last: Option<&'a Similar>,
}

impl<'a> Threshold<'a> {
    /// The threshold of a list that is in order.
    pub(super) fn of(source: &'a str, list: &'a SimilarList) -> Self {
        Self { source, count: list.len(), last: list.last() }
    }
}

/// Records the thresholds, and logs those that changed.
pub(super) async fn record(
    tx: &mut Tx<Postgres>,
    thresholds: &[Threshold<'_>],
) -> Result<(), BodyError> {
    if thresholds.is_empty() {
        return Ok(());
    }
    let mut sources = Vec::with_capacity(thresholds.len());
    let mut counts = Vec::with_capacity(thresholds.len());
    let mut scores = Vec::with_capacity(thresholds.len());
    let mut ids = Vec::with_capacity(thresholds.len());
    for threshold in thresholds {
        sources.push(threshold.source.to_owned());
        counts.push(i32::try_from(threshold.count).unwrap_or(i32::MAX));
        scores.push(threshold.last.map(|last| last.ppm.cast_signed()));
        ids.push(threshold.last.map(|last| last.bean.as_str().to_owned()));
    }
    tx.execute(sqlx::query(RECORD).bind(sources).bind(counts).bind(scores).bind(ids)).await?;
    Ok(())
}

/// Removes the thresholds of beans that are gone; logged without a count.
pub(super) async fn forget(tx: &mut Tx<Postgres>, sources: Vec<String>) -> Result<(), BodyError> {
    if sources.is_empty() {
        return Ok(());
    }
    tx.execute(sqlx::query(FORGET).bind(sources)).await?;
    Ok(())
}
