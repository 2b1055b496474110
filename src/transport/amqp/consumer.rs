//! The consuming connection: both lanes on one channel, rebuilt on any error.
//!
//! Decides: when to rebuild, when to pause (while publishing does not work, since then nothing
//! could be retried or moved), how many deliveries are out at once. Never does: hand out a
//! delivery of a connection known to be lost, or end for an outage.
//!
//! The broker sends each lane up to `prefetch` messages ahead; at most `prefetch` of them, both
//! lanes together, are handed out and unsettled.

use super::connection::Failed;
use super::fairness::Turns;
use super::line::{Held, Line};
use super::link::{Dialer, STEADY};
use super::message::{Received, crash_count};
use super::settle::{AmqpSettle, Desk};
use super::status::Seat;
use super::topology::short;
use crate::telemetry::events;
use crate::transport::codec::headers;
use crate::transport::{Delivery, Lane, Settlement, Source, TransportError};
use async_trait::async_trait;
use futures_util::Stream;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Both lanes, being consumed.
struct Consuming {
    line: Arc<Line>,
    live: Consumer,
    bulk: Consumer,
    since: Instant,
}

/// Kept across calls of `next`, so that one which is cancelled loses no progress.
enum Phase {
    Opening(Pin<Box<dyn Future<Output = Result<Consuming, TransportError>> + Send>>),
    Consuming(Box<Consuming>),
    Stopping(Pin<Box<dyn Future<Output = ()> + Send>>),
    Ended,
}

/// The stream of deliveries.
pub(super) struct AmqpSource {
    dialer: Arc<Dialer>,
    desk: Arc<Desk>,
    prefetch: u16,
    slots: Arc<Semaphore>,
    slot: Option<OwnedSemaphorePermit>,
    seat: Seat,
    stop: CancellationToken,
    phase: Phase,
    turns: Turns,
    flaps: u32,
}

impl AmqpSource {
    pub(super) fn new(
        dialer: Arc<Dialer>,
        desk: Arc<Desk>,
        prefetch: u16,
        seat: Seat,
        stop: CancellationToken,
    ) -> Self {
        let opening = Box::pin(open_patiently(dialer.clone(), prefetch, Past::default()));
        Self {
            dialer,
            desk,
            prefetch,
            slots: Arc::new(Semaphore::new(usize::from(prefetch))),
            slot: None,
            seat,
            stop,
            phase: Phase::Opening(opening),
            turns: Turns::default(),
            flaps: 0,
        }
    }

    /// A free slot and a delivery to put in it; an error says why the connection is lost.
    async fn take(&mut self) -> Result<Delivery, Interrupted> {
        let Phase::Consuming(consuming) = &mut self.phase else { return Err(Interrupted::Again) };
        if !self.desk.link.is_up() {
            self.desk.link.ready().await.map_err(Interrupted::Final)?;
        }
        if self.slot.is_none() {
            let slot = self.slots.clone().acquire_owned().await;
            self.slot = Some(slot.expect("the semaphore is never closed"));
        }
        let (lane, delivery) = consuming.pick(self.turns).await.map_err(Interrupted::Lost)?;
        if !delivery.acker.usable() {
            return Err(Interrupted::Lost("the channel closed".into()));
        }
        self.turns.served(lane);
        let slot = self.slot.take().expect("acquired above");
        let held = consuming.line.hold(slot);
        Ok(self.accept(lane, delivery, held))
    }

    fn accept(&self, lane: Lane, delivery: lapin::message::Delivery, held: Held) -> Delivery {
        let received = Received { properties: delivery.properties, body: delivery.data.into() };
        let envelope = received.envelope();
        let attempt = headers::attempt(&envelope.headers);
        let first_failed_at = (attempt > 1)
            .then(|| headers::read_time(&envelope.headers, headers::FIRST_FAILED_AT))
            .flatten();
        let tag = delivery.delivery_tag;
        let settle = AmqpSettle {
            desk: self.desk.clone(),
            received,
            lane,
            attempt,
            tag,
            acker: delivery.acker,
            held,
            runtime: Handle::current(),
        };
        Delivery {
            lane,
            attempt,
            crash_count: crash_count(&envelope.headers),
            first_failed_at,
            tag,
            envelope,
            settlement: Settlement::new(Box::new(settle)),
        }
    }

    /// The connection is lost: build another. What was delivered on the old one and not settled
    /// is delivered again; where it still works, it is closed behind its last settlement.
    fn rebuild(&mut self, why: &str) {
        let since = match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Consuming(consuming) => consuming.since,
            _ => Instant::now(),
        };
        self.flaps = if since.elapsed() < STEADY { self.flaps.saturating_add(1) } else { 0 };
        self.seat.vacate();
        let past = Past { worked: true, failures: self.flaps };
        let pause = if past.failures > 0 {
            self.dialer.endpoint.pause(past.failures)
        } else {
            Duration::ZERO
        };
        events::broker_lost(why, pause);
        let dialer = self.dialer.clone();
        let prefetch = self.prefetch;
        self.phase = Phase::Opening(Box::pin(async move {
            tokio::time::sleep(pause).await;
            open_patiently(dialer, prefetch, past).await
        }));
    }

    fn begin_to_stop(&mut self) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Consuming(consuming) => {
                let limit = self.dialer.endpoint.timeout;
                let open = consuming.line.keep();
                Phase::Stopping(Box::pin(async move {
                    if tokio::time::timeout(limit, consuming.stop()).await.is_err() {
                        tracing::debug!("no answer; the connection's end hands messages back");
                    }
                    drop(open);
                }))
            }
            Phase::Opening(_) | Phase::Ended => Phase::Ended,
            stopping @ Phase::Stopping(_) => stopping,
        };
        self.seat.vacate();
    }
}

/// Why no delivery was taken.
enum Interrupted {
    /// Nothing to take from; look at the phase again.
    Again,
    /// The connection is lost.
    Lost(String),
    /// The settings are refused.
    Final(TransportError),
}

#[async_trait]
impl Source for AmqpSource {
    async fn next(&mut self) -> Result<Option<Delivery>, TransportError> {
        let stop = self.stop.clone();
        loop {
            match &mut self.phase {
                Phase::Ended => return Ok(None),
                Phase::Stopping(stopping) => {
                    stopping.await;
                    self.phase = Phase::Ended;
                }
                _ if stop.is_cancelled() => self.begin_to_stop(),
                Phase::Opening(opening) => {
                    let Some(opened) = stop.run_until_cancelled(opening).await else { continue };
                    match opened {
                        Ok(consuming) => {
                            self.seat.take(consuming.line.clone());
                            self.phase = Phase::Consuming(Box::new(consuming));
                        }
                        Err(error) => {
                            self.phase = Phase::Ended;
                            return Err(error);
                        }
                    }
                }
                Phase::Consuming(_) => {
                    let Some(taken) = stop.run_until_cancelled(self.take()).await else { continue };
                    match taken {
                        Ok(delivery) => return Ok(Some(delivery)),
                        Err(Interrupted::Again) => {}
                        Err(Interrupted::Lost(why)) => self.rebuild(&why),
                        Err(Interrupted::Final(error)) => return Err(error),
                    }
                }
            }
        }
    }
}

impl Consuming {
    /// The next delivery of either lane; an error says why there is none any more.
    async fn pick(&mut self, turns: Turns) -> Result<(Lane, lapin::message::Delivery), String> {
        std::future::poll_fn(|context| {
            for lane in turns.order() {
                let consumer = match lane {
                    Lane::Live => &mut self.live,
                    Lane::Bulk => &mut self.bulk,
                };
                match Pin::new(consumer).poll_next(context) {
                    Poll::Ready(Some(Ok(delivery))) => return Poll::Ready(Ok((lane, delivery))),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error.to_string())),
                    Poll::Ready(None) => {
                        let lane = lane.name();
                        let why = format!("the broker ended the consumer of the {lane} lane");
                        return Poll::Ready(Err(why));
                    }
                    Poll::Pending => {}
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Cancels both consumers and hands back what was sent ahead. The channel stays open for the
    /// settlements still out, which hold the line.
    async fn stop(self: Box<Self>) {
        let Self { line, live, bulk, .. } = *self;
        for consumer in [live, bulk] {
            if let Err(error) = line.cancel(consumer).await {
                tracing::debug!(%error, "the broker takes messages back by itself");
                return;
            }
        }
    }
}

/// What came before an opening.
#[derive(Debug, Clone, Copy, Default)]
struct Past {
    worked: bool,
    failures: u32,
}

/// Opens, however long an outage lasts. A refusal is final only where nothing worked before: an
/// operator may be changing rights or queues under a running service.
async fn open_patiently(
    dialer: Arc<Dialer>,
    prefetch: u16,
    past: Past,
) -> Result<Consuming, TransportError> {
    let mut failures = past.failures;
    loop {
        match open(&dialer, prefetch).await {
            Ok(consuming) => {
                if past.worked || failures > 0 {
                    events::broker_reconnected(failures);
                }
                return Ok(consuming);
            }
            Err(error) if error.is_misfit() && !past.worked => return Err(error),
            Err(error) => {
                failures = failures.saturating_add(1);
                let pause = dialer.endpoint.pause(failures);
                events::broker_lost(&error.to_string(), pause);
                tokio::time::sleep(pause).await;
            }
        }
    }
}

async fn open(dialer: &Dialer, prefetch: u16) -> Result<Consuming, TransportError> {
    let Dialer { endpoint, plan } = dialer;
    let connection = endpoint.connect("consumer").await?;
    let channel = channel(dialer, &connection).await?;
    plan.ensure(endpoint, &channel).await?;
    let limited = channel.basic_qos(prefetch, BasicQosOptions::default());
    let explain = |failed| endpoint.explain("prefetch", failed);
    endpoint.in_time("limiting the prefetch", limited).await.map_err(explain)?;
    let [live, bulk] = plan.work_queues();
    Ok(Consuming {
        live: consume(dialer, &channel, live).await?,
        bulk: consume(dialer, &channel, bulk).await?,
        line: Arc::new(Line::new(connection, channel, [live, bulk], endpoint.timeout)),
        since: Instant::now(),
    })
}

async fn channel(dialer: &Dialer, connection: &Connection) -> Result<Channel, TransportError> {
    let opening = dialer.endpoint.in_time("opening a channel", connection.create_channel()).await;
    opening.map_err(|failed: Failed| dialer.endpoint.explain("channel", failed))
}

async fn consume(
    dialer: &Dialer,
    channel: &Channel,
    queue: &str,
) -> Result<Consumer, TransportError> {
    let options = BasicConsumeOptions::default();
    let starting = channel.basic_consume(short(queue), "".into(), options, FieldTable::default());
    let started = dialer.endpoint.in_time("starting to consume", starting).await;
    started.map_err(|failed| dialer.endpoint.explain(&format!("queue {queue:?}"), failed))
}
