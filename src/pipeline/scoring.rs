//! Scores a batch on a snapshot, on the scoring threads; a panic costs only the bean it is about.
//!
//! Decides: how a batch is spread over threads and split around a panic. Never does: refresh the
//! index, or settle.

use crate::domain::bean::BeanId;
use crate::domain::ranking::SimilarList;
use crate::index::IndexSnapshot;
use rayon::prelude::*;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A bean's list, `None` when the catalogue lacks it; or what its scoring said when it panicked.
pub(crate) type Scored = Result<Option<SimilarList>, String>;

/// The threads that score.
pub(crate) struct Scorers(rayon::ThreadPool);

impl Scorers {
    /// `threads` threads; 0 for as many as the machine has.
    pub(crate) fn new(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|n| format!("scorer-{n}"))
            .build()?;
        Ok(Self(pool))
    }

    /// One result a bean, in order. Awaits off the async threads.
    pub(crate) async fn score(
        &self,
        snapshot: Arc<dyn IndexSnapshot>,
        beans: Vec<BeanId>,
    ) -> Vec<Scored> {
        let count = beans.len();
        let share = count.div_ceil(self.0.current_num_threads().max(1)).max(1);
        let (done, result) = tokio::sync::oneshot::channel();
        self.0.spawn(move || {
            let scored = beans.par_chunks(share).flat_map_iter(|part| split(&*snapshot, part));
            if done.send(scored.collect()).is_err() {
                tracing::debug!("scores came too late; nobody waits for them");
            }
        });
        let gone = || vec![Err("the scoring thread ended".to_owned()); count];
        result.await.unwrap_or_else(|_| gone())
    }
}

/// Scores together; where that panics, by halves, until the bean that panics stands alone.
fn split(snapshot: &dyn IndexSnapshot, beans: &[BeanId]) -> Vec<Scored> {
    let attempt = catch_unwind(AssertUnwindSafe(|| snapshot.top_k(beans)));
    match attempt {
        Ok(lists) if lists.len() == beans.len() => lists.into_iter().map(Ok).collect(),
        Ok(lists) => {
            let text = format!("{} lists for {} beans", lists.len(), beans.len());
            vec![Err(text); beans.len()]
        }
        Err(panic) if beans.len() == 1 => vec![Err(panic_text(&*panic))],
        Err(_) => {
            let (left, right) = beans.split_at(beans.len() / 2);
            let mut scored = split(snapshot, left);
            scored.extend(split(snapshot, right));
            scored
        }
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}
