//! What keeps stages apart and alive: the slot a message is sent through, the bell that wakes, and
//! the notice of a death.
//!
//! Decides: that a sender knows a slot, not an actor, so that a restarted stage takes over.
//! Never does: restart (see `supervisor`).

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Context, Handler, Message, Recipient};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// Wakes whoever listens; rings are merged while nobody looks.
#[derive(Debug, Clone)]
pub(crate) struct Bell(watch::Sender<u64>);

impl Default for Bell {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Bell {
    /// Wakes every listener.
    pub(crate) fn ring(&self) {
        self.0.send_modify(|rings| *rings = rings.wrapping_add(1));
    }

    /// A listener; it hears every ring from now on.
    pub(crate) fn listen(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// Where a message of one type goes: the actor that is the stage at the moment.
#[derive(Debug)]
pub(crate) struct Slot<M>(watch::Sender<Option<Recipient<M>>>)
where
    M: Message + Send + 'static,
    M::Result: Send;

impl<M> Slot<M>
where
    M: Message<Result = ()> + Send + 'static,
{
    /// A slot without an actor yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(None)))
    }

    /// Sends, waiting for room in the mailbox and until the message is taken up. A message whose
    /// stage dies meanwhile is dropped: its deliveries go back to the queue.
    pub(crate) async fn send(&self, message: M) {
        let mut seat = self.0.subscribe();
        let recipient = loop {
            let taken = seat.borrow_and_update().clone().filter(Recipient::connected);
            match taken {
                Some(recipient) => break recipient,
                None => seat.changed().await.expect("self holds the sender"),
            }
        };
        if recipient.send(message).await.is_err() {
            tracing::debug!("message lost with its stage; its deliveries go back to the queue");
        }
    }

    fn seat(&self, recipient: Recipient<M>) {
        self.0.send_replace(Some(recipient));
    }
}

/// Held by a stage's actor: tells its supervisor when the actor is gone.
#[derive(Debug)]
pub(crate) struct Obituary {
    dead: Arc<AtomicBool>,
    bell: Bell,
}

impl Drop for Obituary {
    fn drop(&mut self) {
        self.dead.store(true, Ordering::Release);
        self.bell.ring();
    }
}

/// A stage as its supervisor sees it.
pub(crate) trait Post {
    /// Its name in logs and metrics.
    fn name(&self) -> &'static str;
    /// Whether its actor lives.
    fn alive(&self) -> bool;
    /// Starts a fresh actor, whose death rings the bell.
    fn start(&mut self, bell: &Bell);
}

/// A stage: how its actor is made, and the slot it sits in.
pub(crate) struct Stage<A, M>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message<Result = ()> + Send + 'static,
    Context<A>: ToEnvelope<A, M>,
{
    name: &'static str,
    make: Box<dyn Fn(Obituary) -> A>,
    slot: Arc<Slot<M>>,
    present: Option<(Addr<A>, Arc<AtomicBool>)>,
}

impl<A, M> Stage<A, M>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message<Result = ()> + Send + 'static,
    Context<A>: ToEnvelope<A, M>,
{
    /// A stage that is not started yet.
    pub(crate) fn new(name: &'static str, make: impl Fn(Obituary) -> A + 'static) -> Self {
        Self { name, make: Box::new(make), slot: Slot::new(), present: None }
    }

    /// Where its messages go.
    pub(crate) fn slot(&self) -> Arc<Slot<M>> {
        Arc::clone(&self.slot)
    }
}

impl<A, M> Post for Stage<A, M>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message<Result = ()> + Send + 'static,
    Context<A>: ToEnvelope<A, M>,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn alive(&self) -> bool {
        self.present
            .as_ref()
            .is_some_and(|(addr, dead)| addr.connected() && !dead.load(Ordering::Acquire))
    }

    fn start(&mut self, bell: &Bell) {
        let dead = Arc::new(AtomicBool::new(false));
        let obituary = Obituary { dead: Arc::clone(&dead), bell: bell.clone() };
        let addr = (self.make)(obituary).start();
        self.slot.seat(addr.clone().recipient());
        self.present = Some((addr, dead));
    }
}
