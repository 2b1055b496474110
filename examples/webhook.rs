//! A webhook that is delivered several times at once has its effect once.
//!
//! ```text
//! cargo run --example webhook --features redis -- --redis redis://127.0.0.1:6379/0
//! ```
//!
//! Decides: nothing; it shows `RedisIdempotency`. Never does: need a database.

use cupping::txn::redis::{Once, OnceOptions, RedisIdempotency, RedisLink, RedisSettings};
use futures_util::future::join_all;
use std::convert::Infallible;
use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};

const DELIVERIES: u32 = 8;

/// What the sender sends each time: an id of the delivery, and a body.
struct Webhook {
    id: String,
    body: &'static str,
}

/// The effect: here a counter, elsewhere a payment or a mail.
static PAYMENTS: AtomicU32 = AtomicU32::new(0);

async fn pay(_body: &str) -> Result<String, Infallible> {
    let number = PAYMENTS.fetch_add(1, Ordering::SeqCst) + 1;
    // Long enough for every twin to arrive while it is under way.
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    Ok(format!("receipt {number}"))
}

/// The handler, as each process of the receiver runs it.
async fn handle(url: &str, webhook: &Webhook) -> Result<Once<String>, Box<dyn Error>> {
    let records = RedisIdempotency::new(RedisLink::new(url, RedisSettings::default())?);
    let pay = || pay(webhook.body);
    let options = OnceOptions::default();
    // The body is short, so it is its own fingerprint; take a digest of a long one.
    Ok(records.once("payment", &webhook.id, webhook.body, &options, pay).await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [flag, url] = arguments.as_slice() else {
        return Err("usage: webhook --redis URL".into());
    };
    if flag != "--redis" {
        return Err(format!("unknown option {flag}; usage: webhook --redis URL").into());
    }
    let webhook = Webhook {
        id: uuid::Uuid::now_v7().to_string(),
        body: r#"{"order": 4711, "amount": "12.50"}"#,
    };

    let answers = join_all((0..DELIVERIES).map(|_| handle(url, &webhook))).await;
    for (delivery, answer) in (1..).zip(answers) {
        match answer? {
            Once::Fresh(receipt) => println!("delivery {delivery}: paid, {receipt}"),
            Once::Replayed(receipt) => println!("delivery {delivery}: paid before, {receipt}"),
        }
    }
    let other = Webhook { body: r#"{"order": 4711, "amount": "99.99"}"#, ..webhook };
    match handle(url, &other).await {
        Ok(answer) => return Err(format!("another body was accepted: {answer:?}").into()),
        Err(error) => println!("another body: refused, {error}"),
    }
    let payments = PAYMENTS.load(Ordering::SeqCst);
    println!("{DELIVERIES} deliveries, {payments} payment");
    if payments == 1 { Ok(()) } else { Err("the effect happened more than once".into()) }
}
