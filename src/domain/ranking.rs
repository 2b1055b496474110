//! The order of similar beans, and the list that is stored.
//!
//! Decides: score descending, then id ascending by bytes. Never does: compute a score.

use super::bean::BeanId;
use std::cmp::Ordering;

/// One million: the score of a bean with itself, in parts per million.
pub const PPM: u32 = 1_000_000;

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Similar {
    /// The similar bean.
    pub bean: BeanId,
    /// Score, parts per million, 0 to [`PPM`].
    pub ppm: u32,
}

impl Ord for Similar {
    fn cmp(&self, other: &Self) -> Ordering {
        other.ppm.cmp(&self.ppm).then_with(|| self.bean.cmp(&other.bean))
    }
}

impl PartialOrd for Similar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A list of similar beans: best first, no duplicates, at most K entries.
pub type SimilarList = Vec<Similar>;

/// The value stored in a double (or `numeric(7,6)`) column.
#[must_use]
pub fn stored_score(ppm: u32) -> f64 {
    f64::from(ppm) / f64::from(PPM)
}

/// The score read back from storage, by rounding; clamped to 0 ..= [`PPM`].
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=PPM")]
pub fn read_score(stored: f64) -> u32 {
    (stored * f64::from(PPM)).round().clamp(0.0, f64::from(PPM)) as u32
}

/// Keeps the `k` best of `candidates` that reach `minimum_ppm`, in order.
#[must_use]
pub fn top_k(mut candidates: Vec<Similar>, k: usize, minimum_ppm: u32) -> SimilarList {
    candidates.retain(|c| c.ppm >= minimum_ppm);
    candidates.sort_unstable();
    candidates.truncate(k);
    candidates
}
