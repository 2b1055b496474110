//! The names of our queues, and which step queue a retry goes through.
//!
//! Decides: how unset names derive from the work queue's; that each lane has step queues of its
//! own, so that a bulk message returns to the bulk queue. Never does: talk to the broker.

use crate::config::AmqpConfig;
use crate::resilience::backoff::Ladder;
use crate::transport::{Lane, TransportError};
use std::collections::BTreeSet;
use std::time::Duration;

/// Longest name the protocol carries, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// The names, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) exchange: String,
    pub(super) live: String,
    pub(super) bulk: String,
    pub(super) failed: String,
    live_retry_prefix: String,
    bulk_retry_prefix: String,
    steps: Vec<Duration>,
}

impl Names {
    pub(super) fn resolve(config: &AmqpConfig, ladder: &Ladder) -> Result<Self, TransportError> {
        let stem = &config.queue;
        let or = |given: &str, suffix: &str| {
            if given.is_empty() { format!("{stem}{suffix}") } else { given.to_owned() }
        };
        let bulk = or(&config.bulk_queue, ".bulk");
        let prefix = &config.retry_queue_prefix;
        let bulk_retry_prefix =
            if prefix.is_empty() { format!("{bulk}.retry.") } else { format!("{prefix}bulk.") };
        let names = Self {
            exchange: config.exchange.clone(),
            live: stem.clone(),
            failed: or(&config.failed_queue, ".failed"),
            live_retry_prefix: or(prefix, ".retry."),
            bulk_retry_prefix,
            bulk,
            steps: ladder.steps(),
        };
        names.check()?;
        Ok(names)
    }

    /// The queue of a lane.
    pub(super) fn queue(&self, lane: Lane) -> &str {
        match lane {
            Lane::Live => &self.live,
            Lane::Bulk => &self.bulk,
        }
    }

    /// The step queue of a lane for one delay.
    pub(super) fn step_queue(&self, lane: Lane, step: Duration) -> String {
        let prefix = match lane {
            Lane::Live => &self.live_retry_prefix,
            Lane::Bulk => &self.bulk_retry_prefix,
        };
        format!("{prefix}{}", step.as_millis())
    }

    /// The delays that have a queue, each once, shortest first.
    pub(super) fn distinct_steps(&self) -> impl Iterator<Item = Duration> {
        self.steps.iter().copied().collect::<BTreeSet<_>>().into_iter()
    }

    /// The step of retry number `retry`, from 1; the last one beyond the ladder's end, none where
    /// the ladder has no steps.
    pub(super) fn step(&self, retry: u32) -> Option<Duration> {
        let index = usize::try_from(retry.saturating_sub(1)).unwrap_or(usize::MAX);
        self.steps.get(index).or(self.steps.last()).copied()
    }

    fn check(&self) -> Result<(), TransportError> {
        let steps = self.distinct_steps();
        let steps = steps.flat_map(|step| {
            [self.step_queue(Lane::Live, step), self.step_queue(Lane::Bulk, step)]
        });
        let mut queues = vec![self.live.clone(), self.bulk.clone(), self.failed.clone()];
        queues.extend(steps);
        if let Some(long) =
            queues.iter().chain([&self.exchange]).find(|name| name.len() > MAX_NAME_BYTES)
        {
            return Err(TransportError::Misconfigured(format!(
                "the name {long:?} in transport.amqp has {} bytes; at most {MAX_NAME_BYTES} are \
                 allowed: choose a shorter one",
                long.len()
            )));
        }
        let distinct: BTreeSet<&String> = queues.iter().collect();
        if distinct.len() < queues.len() || queues.contains(&String::new()) {
            return Err(TransportError::Misconfigured(format!(
                "the queues in transport.amqp must have names, each its own; they are {queues:?}"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ladder(max_delay_ms: u64) -> Ladder {
        Ladder {
            max_retries: 5,
            delay: Duration::from_millis(500),
            multiplier: 2.0,
            max_delay: Duration::from_millis(max_delay_ms),
            jitter: 0.1,
        }
    }

    #[test]
    fn unset_names_derive_from_the_work_queue() {
        let names = Names::resolve(&AmqpConfig::default(), &ladder(10_000)).unwrap();
        assert_eq!(names.queue(Lane::Live), "similarity_calculation");
        assert_eq!(names.queue(Lane::Bulk), "similarity_calculation.bulk");
        assert_eq!(names.failed, "similarity_calculation.failed");
        let step = Duration::from_millis(500);
        assert_eq!(names.step_queue(Lane::Live, step), "similarity_calculation.retry.500");
        assert_eq!(names.step_queue(Lane::Bulk, step), "similarity_calculation.bulk.retry.500");
    }

    #[test]
    fn steps_that_repeat_share_a_queue_and_retries_beyond_the_end_take_the_last() {
        let names = Names::resolve(&AmqpConfig::default(), &ladder(1000)).unwrap();
        assert_eq!(names.distinct_steps().count(), 2);
        assert_eq!(names.step(1), Some(Duration::from_millis(500)));
        assert_eq!(names.step(3), Some(Duration::from_millis(1000)));
        assert_eq!(names.step(99), Some(Duration::from_millis(1000)));
        let none = Ladder { max_retries: 0, ..ladder(1000) };
        assert_eq!(Names::resolve(&AmqpConfig::default(), &none).unwrap().step(1), None);
    }

    #[test]
    fn impossible_names_are_refused() {
        let refused =
            |config: &AmqpConfig| Names::resolve(config, &ladder(1000)).unwrap_err().to_string();
        let long = AmqpConfig { queue: "q".repeat(256), ..AmqpConfig::default() };
        assert!(refused(&long).contains("256 bytes"));
        let same =
            AmqpConfig { bulk_queue: "similarity_calculation".into(), ..AmqpConfig::default() };
        assert!(refused(&same).contains("each its own"));
    }
}
