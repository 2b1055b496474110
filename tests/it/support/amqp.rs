//! RabbitMQ for tests: queues of one's own, messages as strangers would send them, a look into
//! any queue.
//!
//! Decides: names nobody else uses, gone when the test ends. Never does: touch another's queue.

use super::proxy::Proxy;
use super::{amqp_url, unique};
use cupping::config::AmqpConfig;
use cupping::domain::bean::BeanId;
use cupping::domain::message::MessageKind;
use cupping::resilience::backoff::Ladder;
use cupping::transport::amqp::{AmqpSettings, AmqpTransport};
use cupping::transport::{Delivery, Lane, Outgoing, Source};
use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ExchangeDeleteOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use secrecy::SecretString;
use std::cell::RefCell;
use std::time::Duration;

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Host and port of an AMQP address.
fn target(url: &str) -> String {
    let url = url::Url::parse(url).expect("the address of the test broker is one");
    format!("{}:{}", url.host_str().unwrap_or("127.0.0.1"), url.port().unwrap_or(5672))
}

/// A transport that reaches the broker only through a proxy.
pub async fn proxied(prefetch: u16) -> (Broker, Proxy, AmqpTransport) {
    let ladder = ladder(2, 200);
    let mut broker = Broker::new(&ladder);
    let proxy = Proxy::start(&target(&broker.url)).await;
    broker.url = broker.url.replace(&target(&broker.url), &proxy.address.to_string());
    broker.config.confirm_timeout = Duration::from_millis(1500);
    let transport = broker.transport(ladder, prefetch);
    (broker, proxy, transport)
}

/// A transport over queues of its own, deleted when the test's thread ends.
pub async fn amqp_transport(ladder: Ladder, prefetch: u16) -> AmqpTransport {
    thread_local! {
        static BROKERS: RefCell<Vec<Broker>> = const { RefCell::new(Vec::new()) };
    }
    let broker = Broker::new(&ladder);
    let transport = broker.transport(ladder, prefetch);
    BROKERS.with_borrow_mut(|brokers| brokers.push(broker));
    transport
}

/// A ladder of the given steps' shape: `retries` steps from `delay_ms`, doubling.
pub fn ladder(retries: u32, delay_ms: u64) -> Ladder {
    Ladder {
        max_retries: retries,
        delay: Duration::from_millis(delay_ms),
        multiplier: 2.0,
        max_delay: Duration::from_secs(10),
        jitter: 0.1,
    }
}

/// A message about a bean.
pub fn outgoing(bean: &str, lane: Lane) -> Outgoing {
    let bean = BeanId::parse(bean).expect("tests use possible ids");
    Outgoing { bean, kind: MessageKind::BeanUpdated, lane, ripple: false }
}

/// The next delivery, within [`PATIENCE`].
pub async fn next(source: &mut Box<dyn Source>) -> Delivery {
    let next = tokio::time::timeout(PATIENCE, source.next()).await;
    next.expect("a delivery in time").expect("the source works").expect("the source goes on")
}

/// Names on the shared broker that belong to one test.
pub struct Broker {
    /// Settings with those names.
    pub config: AmqpConfig,
    /// Where the broker is.
    pub url: String,
    queues: Vec<String>,
}

impl Broker {
    /// Fresh names; `ladder` only says which step queues to delete in the end.
    pub fn new(ladder: &Ladder) -> Self {
        let queue = unique("it");
        let config = AmqpConfig {
            exchange: format!("{queue}.exchange"),
            connect_timeout: Duration::from_secs(10),
            confirm_timeout: Duration::from_secs(5),
            reconnect_max_delay: Duration::from_millis(500),
            queue,
            ..AmqpConfig::default()
        };
        let mut broker = Self { url: amqp_url(), queues: Vec::new(), config };
        for name in ["", ".bulk", ".failed"] {
            broker.queues.push(format!("{}{name}", broker.config.queue));
        }
        broker.will_use(ladder);
        broker
    }

    /// Notes the step queues of another ladder, to be deleted too.
    pub fn will_use(&mut self, ladder: &Ladder) {
        for step in ladder.steps() {
            for lane in ["", ".bulk"] {
                self.queues.push(format!("{}{lane}.retry.{}", self.config.queue, step.as_millis()));
            }
        }
    }

    /// The work queue, or another by its suffix (`.bulk`, `.failed`, `.retry.500`).
    pub fn queue(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.config.queue)
    }

    /// Settings of a transport over these names.
    pub fn settings(&self, ladder: Ladder, prefetch: u16) -> AmqpSettings {
        AmqpSettings {
            config: self.config.clone(),
            url: SecretString::from(self.url.clone()),
            prefetch,
            ladder,
        }
    }

    /// A transport over these names.
    pub fn transport(&self, ladder: Ladder, prefetch: u16) -> AmqpTransport {
        AmqpTransport::new(self.settings(ladder, prefetch)).expect("the settings are possible")
    }

    /// A channel past the transport, straight to the broker.
    pub async fn channel(&self) -> Channel {
        channel(&amqp_url()).await
    }

    /// Publishes to a queue as a stranger would.
    pub async fn publish(&self, queue: &str, body: &[u8], properties: BasicProperties) {
        let channel = self.channel().await;
        channel.confirm_select(Default::default()).await.expect("confirms can be had");
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let confirm = channel
            .basic_publish("".into(), queue.into(), options, body, properties)
            .await
            .expect("the broker takes it");
        let confirmation = confirm.await.expect("the broker answers");
        assert_eq!(confirmation, lapin::Confirmation::Ack(None), "{queue}");
    }

    /// Takes one message off a queue, waiting for it.
    pub async fn get(&self, queue: &str) -> BasicGetMessage {
        let channel = self.channel().await;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        loop {
            let options = BasicGetOptions { no_ack: true };
            let got = channel.basic_get(queue.into(), options).await.expect("the queue exists");
            if let Some(message) = got {
                return message;
            }
            assert!(tokio::time::Instant::now() < deadline, "no message in {queue} in time");
            ticks.tick().await;
        }
    }

    /// How many messages are ready in a queue; `None` where it does not exist.
    pub async fn ready(&self, queue: &str) -> Option<u32> {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let channel = self.channel().await;
        let found = channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        found.ok().map(|queue| queue.message_count())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let (queues, exchange) = (self.queues.clone(), self.config.exchange.clone());
        let sweep = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be built").block_on(async {
                let channel = channel(&amqp_url()).await;
                for queue in queues {
                    let gone = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
                    gone.await.expect("deleting is allowed, also of what is not there");
                }
                let gone =
                    channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default());
                gone.await.expect("deleting is allowed, also of what is not there");
            });
        };
        // A runtime of its own: the test's may be ending right now.
        if std::thread::spawn(sweep).join().is_err() {
            eprintln!("queues of {} were left behind", self.config.queue);
        }
    }
}

async fn channel(url: &str) -> Channel {
    let properties = ConnectionProperties::default().with_connection_name("cupping test".into());
    let connection = Connection::connect(url, properties).await.expect("the broker answers");
    connection.create_channel().await.expect("a channel can be had")
}

/// The headers of a message taken with [`Broker::get`], as text.
pub fn header(message: &BasicGetMessage, name: &str) -> Option<String> {
    let headers = message.properties.headers().as_ref()?;
    Some(match headers.inner().get(name)? {
        AMQPValue::LongString(text) => text.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        AMQPValue::Boolean(yes) => yes.to_string(),
        other => format!("{other:?}"),
    })
}
