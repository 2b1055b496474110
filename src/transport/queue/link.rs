//! Whether the database answers, as seen by everything that asks it.
//!
//! Decides: when an outage begins and ends, and says each once. Never does: ask by itself.

use crate::telemetry::events;
use crate::transport::TransportError;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The state of the connection.
#[derive(Debug, Default)]
pub(super) struct Link {
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Nobody has asked yet.
    #[default]
    Unknown,
    Up,
    DownSince(Instant),
}

impl Link {
    /// Learns from an answer. An error that is no outage says nothing about the connection; it is
    /// told each time.
    pub(super) fn observe<T>(&self, answer: &Result<T, TransportError>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (answer, *state) {
            (Ok(_), State::DownSince(since)) => {
                *state = State::Up;
                events::resumed("queue", since.elapsed());
            }
            (Ok(_), State::Unknown) => *state = State::Up,
            (Err(error), State::Unknown | State::Up) if error.retryability().is_outage() => {
                *state = State::DownSince(Instant::now());
                events::paused("queue", &error.to_string());
            }
            (Err(error), _) if !error.retryability().is_outage() => {
                tracing::warn!(%error, "queue statement failed; it is tried again");
            }
            _ => {}
        }
    }

    /// Whether the last answer came.
    pub(super) fn is_up(&self) -> bool {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) == State::Up
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resilience::retryability::{Reason, Retryability};

    #[test]
    fn only_outages_take_the_link_down_and_an_answer_brings_it_up() {
        let link = Link::default();
        assert!(!link.is_up());
        link.observe(&Ok(()));
        assert!(link.is_up());
        let error = |retryability| -> Result<(), TransportError> {
            Err(TransportError::Database { retryability, message: "m".into() })
        };
        link.observe(&error(Retryability::Permanent));
        assert!(link.is_up());
        link.observe(&error(Retryability::Transient(Reason::Connection)));
        assert!(!link.is_up());
        link.observe(&Ok(()));
        assert!(link.is_up());
    }
}
