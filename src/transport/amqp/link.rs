//! The publishing connection: kept up in the background, and every message confirmed.
//!
//! Decides: when the connection is rebuilt (on any error), and what counts as confirmed: an ack
//! without a returned message, nothing else. Never does: publish a message twice by itself; the
//! caller does, who knows whether that is safe.
//!
//! Apart from the consuming connection, because a broker short of memory or disk blocks
//! connections that publish, and acknowledgements must get through then.

use super::connection::Endpoint;
use super::message::Parcel;
use super::topology::Plan;
use crate::telemetry::events;
use crate::transport::TransportError;
use futures_util::{Stream, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Connection, Event};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Most messages published and not yet confirmed, in one call.
const MAX_UNCONFIRMED: usize = 1000;

/// A connection that lasts less than this counts as a failed attempt, so that one which dies at
/// once is not rebuilt in a tight loop.
pub(super) const STEADY: Duration = Duration::from_secs(5);

/// What both connections are built from.
pub(super) struct Dialer {
    pub(super) endpoint: Endpoint,
    pub(super) plan: Plan,
}

/// An open publishing channel.
pub(super) struct Live {
    pub(super) connection: Connection,
    channel: Channel,
    /// Told by whoever finds that it does not work.
    broken: Notify,
}

/// Where the connection stands.
#[derive(Clone)]
enum State {
    /// Being built; what went wrong last.
    Down(Option<String>),
    /// Ready.
    Up(Arc<Live>),
    /// Ready, but the broker is short of memory or disk and does not read what we publish.
    Blocked(String),
    /// The broker refuses our settings, and never accepted them; tried again now and then.
    Refused(TransportError),
}

/// The link: cheap to share, its task starts with the first use and ends with [`Link::close`] or
/// the drop of the last owner.
pub(super) struct Link {
    dialer: Arc<Dialer>,
    confirm_timeout: Duration,
    state: watch::Sender<State>,
    cancel: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Link {
    pub(super) fn new(dialer: Arc<Dialer>, confirm_timeout: Duration) -> Self {
        Self {
            dialer,
            confirm_timeout,
            state: watch::Sender::new(State::Down(None)),
            cancel: CancellationToken::new(),
            task: Mutex::new(None),
        }
    }

    /// Starts the background task, once.
    pub(super) fn start(&self) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.is_none() && !self.cancel.is_cancelled() {
            let keeper = Keeper {
                dialer: self.dialer.clone(),
                state: self.state.clone(),
                cancel: self.cancel.clone(),
            };
            *task = Some(tokio::spawn(keeper.run()));
        }
    }

    /// Whether publishing would work now.
    pub(super) fn is_up(&self) -> bool {
        match &*self.state.borrow() {
            State::Up(live) => live.usable(),
            _ => false,
        }
    }

    /// Waits until publishing works, however long an outage lasts.
    pub(super) async fn ready(&self) -> Result<Arc<Live>, TransportError> {
        self.start();
        let mut states = self.state.subscribe();
        let settled = async {
            let ready = |state: &State| matches!(state, State::Up(_) | State::Refused(_));
            states.wait_for(ready).await.ok().map(|state| state.clone())
        };
        match self.cancel.run_until_cancelled(settled).await.flatten() {
            Some(State::Up(live)) => Ok(live),
            Some(State::Refused(why)) => Err(why),
            _ => Err(self.dialer.endpoint.unreachable("the connection was closed".into())),
        }
    }

    /// The same, for as long as a connection may take.
    pub(super) async fn ready_in_time(&self) -> Result<Arc<Live>, TransportError> {
        let timeout = self.dialer.endpoint.timeout;
        match tokio::time::timeout(timeout, self.ready()).await {
            Ok(ready) => ready,
            Err(_) => Err(self.dialer.endpoint.unreachable(match &*self.state.borrow() {
                State::Down(Some(error)) => error.clone(),
                State::Blocked(reason) => {
                    format!("the broker takes no messages now ({reason}); free memory or disk")
                }
                _ => format!("no connection within {timeout:?}"),
            })),
        }
    }

    /// Publishes all, in order, and waits for every confirmation.
    pub(super) async fn send(&self, parcels: &[Parcel]) -> Result<(), TransportError> {
        for chunk in parcels.chunks(MAX_UNCONFIRMED) {
            let live = self.ready_in_time().await?;
            let sending = tokio::time::timeout(self.confirm_timeout, send_chunk(&live, chunk));
            match sending.await {
                Ok(Ok(())) => {}
                Ok(Err(Unsent::Refused(why))) => return Err(TransportError::Unconfirmed(why)),
                Ok(Err(Unsent::Lost(error))) => {
                    live.broken.notify_one();
                    return Err(TransportError::Unconfirmed(format!(
                        "the connection to {} was lost while publishing: {error}",
                        self.dialer.endpoint.address
                    )));
                }
                Err(_) => return Err(self.late(&live)),
            }
        }
        Ok(())
    }

    /// No confirmation in time. A blocked broker is waited out; else the connection is suspect.
    fn late(&self, live: &Live) -> TransportError {
        let blocked = live.connection.status().blocked();
        if !blocked {
            live.broken.notify_one();
        }
        TransportError::Unconfirmed(format!(
            "{} did not confirm within {:?}{}",
            self.dialer.endpoint.address,
            self.confirm_timeout,
            if blocked { "; it is short of memory or disk and takes no messages" } else { "" }
        ))
    }

    /// Ends the task and closes the connection.
    pub(super) async fn close(&self, grace: Duration) {
        self.cancel.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut task) = task
            && tokio::time::timeout(grace, &mut task).await.is_err()
        {
            task.abort();
        }
    }
}

impl Live {
    fn usable(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }
}

/// Why a chunk was not sent.
enum Unsent {
    /// The broker refused or returned one; the channel still works.
    Refused(String),
    /// The channel is gone; whether the messages arrived is unknown.
    Lost(lapin::Error),
}

async fn send_chunk(live: &Live, chunk: &[Parcel]) -> Result<(), Unsent> {
    let mut confirms = Vec::with_capacity(chunk.len());
    for parcel in chunk {
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let published = live.channel.basic_publish(
            parcel.exchange.clone(),
            parcel.routing_key.clone(),
            options,
            &parcel.body,
            parcel.properties.clone(),
        );
        confirms.push(published.await.map_err(Unsent::Lost)?);
    }
    let mut refused = None;
    for (confirm, parcel) in confirms.into_iter().zip(chunk) {
        let confirmation = confirm.await.map_err(Unsent::Lost)?;
        if let Some(why) = problem(&confirmation, parcel) {
            refused.get_or_insert(why);
        }
    }
    refused.map_or(Ok(()), |why| Err(Unsent::Refused(why)))
}

/// Why a confirmation is none; only an ack that returns nothing is.
fn problem(confirmation: &Confirmation, parcel: &Parcel) -> Option<String> {
    let key = parcel.routing_key.as_str();
    let exchange = parcel.exchange.as_str();
    match confirmation {
        Confirmation::Ack(None) => None,
        Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Some(format!(
            "the routing key {key:?} has no queue at exchange {exchange:?}; declare the queue and \
             its binding, or set transport.amqp.topology = \"declare\""
        )),
        Confirmation::Nack(None) => Some(format!(
            "the broker refused it for queue {key:?}: the queue is full or has lost its majority"
        )),
        Confirmation::NotRequested => Some("confirmations are off on this channel".into()),
    }
}

/// The background task.
struct Keeper {
    dialer: Arc<Dialer>,
    state: watch::Sender<State>,
    cancel: CancellationToken,
}

type Events = Pin<Box<dyn Stream<Item = Event> + Send>>;

impl Keeper {
    async fn run(self) {
        let cancel = self.cancel.clone();
        if cancel.run_until_cancelled(self.keep()).await.is_none() {
            self.close().await;
        }
    }

    async fn close(&self) {
        let last = self.state.send_replace(State::Down(Some("the connection was closed".into())));
        // A blocked connection sends nothing, not even its farewell: it is just dropped.
        if let State::Up(live) = last
            && let Err(error) = live.connection.close(200, "done".into()).await
        {
            tracing::debug!(%error, "publishing connection was closed already");
        }
    }

    async fn keep(&self) {
        let mut failures = 0_u32;
        let mut worked = false;
        loop {
            let error = match self.open().await {
                Ok((live, broker)) => {
                    if worked || failures > 0 {
                        events::broker_reconnected(failures);
                    }
                    worked = true;
                    let since = Instant::now();
                    let error = self.watch(Arc::new(live), broker).await;
                    failures = if since.elapsed() < STEADY { failures + 1 } else { 1 };
                    self.state.send_replace(State::Down(Some(error.clone())));
                    error
                }
                Err(why) if why.is_misfit() && !worked => {
                    failures = u32::MAX;
                    let text = why.to_string();
                    self.state.send_replace(State::Refused(why));
                    text
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    self.state.send_replace(State::Down(Some(error.to_string())));
                    error.to_string()
                }
            };
            let pause = self.dialer.endpoint.pause(failures);
            events::broker_lost(&error, pause);
            tokio::time::sleep(pause).await;
        }
    }

    async fn open(&self) -> Result<(Live, Events), TransportError> {
        let Dialer { endpoint, plan } = &*self.dialer;
        let connection = endpoint.connect("publisher").await?;
        let broker = Box::pin(connection.events_listener());
        let explain = |failed| endpoint.explain("publishing channel", failed);
        let opening = connection.create_channel();
        let channel = endpoint.in_time("opening a channel", opening).await.map_err(explain)?;
        plan.ensure(endpoint, &channel).await?;
        let selecting = channel.confirm_select(ConfirmSelectOptions::default());
        endpoint.in_time("asking for confirmations", selecting).await.map_err(explain)?;
        Ok((Live { connection, channel, broken: Notify::new() }, broker))
    }

    /// Follows the connection until it breaks; says why.
    async fn watch(&self, live: Arc<Live>, mut broker: Events) -> String {
        self.state.send_replace(State::Up(live.clone()));
        loop {
            let event = tokio::select! {
                () = live.broken.notified() => return "publishing failed".to_owned(),
                event = broker.next() => event,
            };
            match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    events::paused("broker", &reason);
                    self.state.send_replace(State::Blocked(reason));
                }
                Some(Event::ConnectionUnblocked) => {
                    self.state.send_replace(State::Up(live.clone()));
                }
                Some(Event::Error(error)) => return error.to_string(),
                Some(_) => {}
                None => return "the connection ended".to_owned(),
            }
        }
    }
}
