//! What the stages hand on to one another: each message is named for what the stage before made.
//!
//! Decides: that deliveries, with their settlements, travel inside the messages; a message that is
//! lost (its stage died) hands its deliveries back and frees its beans by being dropped.
//! Never does: anything.

use super::desk::RunGuard;
use crate::domain::bean::BeanId;
use crate::domain::message::BeanMessage;
use crate::domain::ranking::SimilarList;
use crate::store::LogMark;
use crate::transport::{Delivery, Failure, TransportError};
use actix::Message;
use std::time::{Duration, Instant};

/// A delivery that could be read.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) delivery: Delivery,
    pub(crate) message: BeanMessage,
    pub(crate) arrived: Instant,
}

/// Receiver → Dispatcher: deliveries were read.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Arrived(pub(crate) Vec<Held>);

/// A run of one bean: it settles its deliveries, and ends once.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) bean: BeanId,
    pub(crate) held: Vec<Held>,
    pub(crate) guard: RunGuard,
    pub(crate) started: Instant,
}

/// Dispatcher → Scorer: a batch of beans may run.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ScoringTask {
    pub(crate) runs: Vec<Run>,
}

/// A bean with its new list.
#[derive(Debug)]
pub(crate) struct ScoredBean {
    pub(crate) run: Run,
    /// Empty for a bean that the catalogue does not have.
    pub(crate) list: SimilarList,
}

/// Scorer → Writer: lists to be written together.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ScoredBatch {
    pub(crate) beans: Vec<ScoredBean>,
    pub(crate) computed_at: LogMark,
}

/// What is to become of a delivery.
#[derive(Debug)]
pub(crate) enum Fate {
    /// Acknowledge it.
    Ack,
    /// Its acknowledgement was committed together with the rows.
    Committed,
    /// Up the ladder.
    Retry { retry: u32, delay: Duration, reason: &'static str, failure: Failure },
    /// To the failed queue; `exhausted` when its attempts were used up.
    DeadLetter { exhausted: Option<&'static str>, failure: Failure },
    /// Back, unstarted.
    HandBack,
    /// Back, as new.
    Republish,
}

/// A delivery with its fate.
#[derive(Debug)]
pub(crate) struct Settling {
    pub(crate) delivery: Delivery,
    /// The bean, where the message could be read.
    pub(crate) bean: Option<BeanId>,
    pub(crate) arrived: Instant,
    pub(crate) fate: Fate,
}

impl Settling {
    /// Of a delivery that was read.
    pub(crate) fn of(held: Held, fate: Fate) -> Self {
        let Held { delivery, message, arrived } = held;
        Self { delivery, bean: Some(message.bean), arrived, fate }
    }
}

/// Any stage → Settler: deliveries to be settled; then the runs end.
#[derive(Debug, Default, Message)]
#[rtype(result = "()")]
pub(crate) struct Decided {
    pub(crate) settlings: Vec<Settling>,
    /// Runs that end once the above is done.
    pub(crate) guards: Vec<RunGuard>,
}

/// The source's pump → Receiver: nothing more comes.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum IntakeEnded {
    /// As asked.
    Stopped,
    /// It never will: a misconfiguration.
    Refused(TransportError),
    /// The pump panicked.
    Broken,
}
