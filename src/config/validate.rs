//! Which values are allowed together.
//!
//! Decides: ranges and relations. Never does: read a source, or look at a server.

use super::{Config, Mode};
use secrecy::ExposeSecret;
use std::time::Duration;

mod catalogue;
mod log_filter;

/// One thing that is not allowed.
#[derive(Debug)]
pub(super) struct Finding {
    /// The setting as it is shown.
    pub(super) key: String,
    /// The settings involved; the first one that was set says the origin.
    pub(super) keys: Vec<&'static str>,
    /// The value, what is allowed, what to do.
    pub(super) message: String,
}

impl Finding {
    /// Whether the setting is one of those involved.
    pub(super) fn about(&self, key: &str) -> bool {
        self.keys.iter().any(|own| *own == key || key.starts_with(&format!("{own}[")))
    }
}

/// Collects findings.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn expect(&mut self, holds: bool, keys: &[&'static str], message: impl Into<String>) {
        if !holds {
            let key = keys.first().copied().unwrap_or_default().to_owned();
            self.0.push(Finding { key, keys: keys.to_vec(), message: message.into() });
        }
    }

    fn expect_at(&mut self, holds: bool, key: String, of: &'static str, message: String) {
        if !holds {
            self.0.push(Finding { key, keys: vec![of], message });
        }
    }
}

/// Everything that is not allowed.
pub(super) fn all(config: &Config) -> Vec<Finding> {
    let mut findings = Findings::default();
    database(config, &mut findings);
    transport(config, &mut findings);
    amqp(config, &mut findings);
    retry(config, &mut findings);
    pipeline(config, &mut findings);
    transaction(config, &mut findings);
    score(config, &mut findings);
    catalogue::check(&config.catalogue, &mut findings);
    if let Err(message) = log_filter::check(&config.log.level) {
        findings.expect(false, &["log.level"], message);
    }
    findings.0
}

fn show(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn scheme(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}

/// Refuses a URL of a server that no client could read; never shows it.
fn readable(key: &'static str, url: &str, findings: &mut Findings) {
    let server = matches!(scheme(url), "postgres" | "postgresql" | "amqp" | "amqps");
    if let (true, Err(error)) = (server, url::Url::parse(url)) {
        let message = format!(
            "is not a URL ({error}): give SCHEME://USER:PASSWORD@HOST:PORT/NAME, with special \
             characters in the password written as %XX"
        );
        findings.expect(false, &[key], message);
    }
}

fn database(config: &Config, findings: &mut Findings) {
    let database = &config.database;
    let url = database.url.expose_secret();
    findings.expect(
        url.is_empty() || matches!(scheme(url), "postgres" | "postgresql" | "sqlite"),
        &["database.url"],
        "is not a database we know: give postgres://USER:PASSWORD@HOST/DATABASE, sqlite:PATH, or \
         nothing for a SQLite file in the data directory",
    );
    readable("database.url", url, findings);
    findings.expect(
        database.acquire_timeout > Duration::ZERO,
        &["database.acquire_timeout"],
        "0 would fail every time: give a duration above 0, such as \"10s\"",
    );
    findings.expect(
        database.log_retention >= Duration::from_secs(60),
        &["database.log_retention"],
        format!(
            "{} is too short: workers that lag behind it read the whole catalogue again; give at \
             least 1m",
            show(database.log_retention)
        ),
    );
    let (connections, workers) = (database.max_connections.get(), config.pipeline.workers.get());
    findings.expect(
        config.mode() == Mode::Embedded || connections as usize > workers,
        &["database.max_connections", "pipeline.workers"],
        format!(
            "{connections} is too few for pipeline.workers = {workers}: each takes a connection \
             and reading takes one more; give at least {}",
            workers + 1
        ),
    );
}

fn transport(config: &Config, findings: &mut Findings) {
    let transport = &config.transport;
    let url = transport.url.expose_secret();
    findings.expect(
        url.is_empty() || matches!(scheme(url), "amqp" | "amqps"),
        &["transport.url"],
        "is not a broker we know: give amqp://… or amqps://…, or nothing for a queue in the \
         database",
    );
    readable("transport.url", url, findings);
    let database = config.database.url.expose_secret();
    let embedded = database.is_empty() || scheme(database) == "sqlite";
    findings.expect(
        url.is_empty() || !embedded,
        &["transport.url", "database.url"],
        "a broker needs a database that its workers share, and a SQLite file belongs to one \
         machine: set database.url to postgres://…, or leave transport.url empty",
    );
    let queue = &transport.queue;
    findings.expect(
        queue.poll_interval > Duration::ZERO,
        &["transport.queue.poll_interval"],
        "0 would never rest: give a duration above 0, such as \"500ms\"",
    );
    findings.expect(
        queue.visibility_timeout >= Duration::from_secs(1)
            && queue.visibility_timeout > queue.poll_interval,
        &["transport.queue.visibility_timeout", "transport.queue.poll_interval"],
        format!(
            "{} is too short: give at least 1s, and more than transport.queue.poll_interval ({})",
            show(queue.visibility_timeout),
            show(queue.poll_interval)
        ),
    );
    for name in &transport.accepted_types {
        findings.expect(
            !name.trim().is_empty(),
            &["transport.accepted_types"],
            "an empty name would match messages without a type: leave it out",
        );
    }
}

fn amqp(config: &Config, findings: &mut Findings) {
    let amqp = &config.transport.amqp;
    findings.expect(
        !amqp.queue.is_empty(),
        &["transport.amqp.queue"],
        "is empty: give the name of the work queue",
    );
    findings.expect(
        amqp.topology != super::Topology::Declare || !amqp.exchange.is_empty(),
        &["transport.amqp.exchange", "transport.amqp.topology"],
        "the default exchange cannot be declared: give a name, or set transport.amqp.topology to \
         \"passive\" or \"off\"",
    );
    let names: [(&'static str, &str); 5] = [
        ("transport.amqp.exchange", &amqp.exchange),
        ("transport.amqp.queue", &amqp.queue),
        ("transport.amqp.bulk_queue", &amqp.bulk_queue),
        ("transport.amqp.failed_queue", &amqp.failed_queue),
        ("transport.amqp.retry_queue_prefix", &amqp.retry_queue_prefix),
    ];
    for (key, name) in names {
        findings.expect(
            name.len() <= 200 && !name.starts_with("amq."),
            &[key],
            format!("{name:?} is not allowed: at most 200 bytes, not beginning with `amq.`"),
        );
    }
    for (i, (key, name)) in names.iter().enumerate().skip(1) {
        let twin = names[1..i].iter().find(|(_, other)| other == name && !name.is_empty());
        if let Some((other, _)) = twin {
            findings.expect(
                false,
                &[*key, *other],
                format!("{name:?} is the name in {other} too: queues need names of their own"),
            );
        }
    }
    let second = Duration::from_secs(1);
    for (key, value) in [
        ("transport.amqp.heartbeat", amqp.heartbeat),
        ("transport.amqp.connect_timeout", amqp.connect_timeout),
        ("transport.amqp.confirm_timeout", amqp.confirm_timeout),
        ("transport.amqp.reconnect_max_delay", amqp.reconnect_max_delay),
    ] {
        findings.expect(
            (second..=Duration::from_secs(3600)).contains(&value),
            &[key],
            format!("{} is not allowed: give 1s to 1h", show(value)),
        );
    }
}

fn retry(config: &Config, findings: &mut Findings) {
    let retry = &config.retry;
    findings.expect(
        retry.max_retries <= 30,
        &["retry.max_retries"],
        format!("{} is not allowed: give 0 to 30", retry.max_retries),
    );
    findings.expect(
        retry.delay >= Duration::from_millis(1) && retry.delay <= retry.max_delay,
        &["retry.delay", "retry.max_delay"],
        format!(
            "{} is not allowed: give 1ms up to retry.max_delay ({})",
            show(retry.delay),
            show(retry.max_delay)
        ),
    );
    findings.expect(
        retry.max_delay <= Duration::from_secs(24 * 60 * 60),
        &["retry.max_delay"],
        format!("{} is not allowed: give at most 1d", show(retry.max_delay)),
    );
    multiplier("retry.multiplier", retry.multiplier, findings);
    findings.expect(
        (0.0..=1.0).contains(&retry.jitter),
        &["retry.jitter"],
        format!("{} is not allowed: give 0 to 1", retry.jitter),
    );
}

fn multiplier(key: &'static str, value: f64, findings: &mut Findings) {
    findings.expect(
        (1.0..=100.0).contains(&value),
        &[key],
        format!("{value} is not allowed: give 1 (all delays equal) to 100"),
    );
}

fn pipeline(config: &Config, findings: &mut Findings) {
    let pipeline = &config.pipeline;
    let (batch, concurrency) = (pipeline.batch.get(), pipeline.concurrency.get());
    findings.expect(
        batch <= concurrency,
        &["pipeline.batch", "pipeline.concurrency"],
        format!("{batch} is more than pipeline.concurrency ({concurrency}) lets start: give less"),
    );
    findings.expect(
        concurrency <= 32_000,
        &["pipeline.concurrency"],
        format!("{concurrency} is not allowed: give 1 to 32000 (a prefetch has 16 bits)"),
    );
    let prefetch = usize::from(config.transport.prefetch);
    findings.expect(
        prefetch == 0 || prefetch >= batch,
        &["transport.prefetch", "pipeline.batch"],
        format!("{prefetch} cannot fill a batch of {batch}: give at least that, or 0"),
    );
    for (key, value) in [
        ("pipeline.workers", pipeline.workers.get()),
        ("pipeline.scoring_threads", pipeline.scoring_threads),
    ] {
        let message = format!("{value} is not allowed: give at most 1024");
        findings.expect(value <= 1024, &[key], message);
    }
}

fn transaction(config: &Config, findings: &mut Findings) {
    let transaction = &config.transaction;
    multiplier("transaction.multiplier", transaction.multiplier, findings);
    findings.expect(
        transaction.lock_timeout >= Duration::from_millis(1)
            && transaction.lock_timeout <= transaction.statement_timeout,
        &["transaction.lock_timeout", "transaction.statement_timeout"],
        format!(
            "{} is not allowed: give 1ms up to transaction.statement_timeout ({})",
            show(transaction.lock_timeout),
            show(transaction.statement_timeout)
        ),
    );
    findings.expect(
        transaction.statement_timeout < transaction.deadline,
        &["transaction.statement_timeout", "transaction.deadline"],
        format!(
            "{} is not below transaction.deadline ({}): the client would give up before the \
             server does",
            show(transaction.statement_timeout),
            show(transaction.deadline)
        ),
    );
    let (rows, list) = (transaction.max_rows.get(), config.score.list_length.get());
    findings.expect(
        rows >= list,
        &["transaction.max_rows", "score.list_length"],
        format!("{rows} cannot hold one list of score.list_length ({list}) rows: give more"),
    );
}

fn score(config: &Config, findings: &mut Findings) {
    let list = config.score.list_length.get();
    findings.expect(
        list <= 10_000,
        &["score.list_length"],
        format!("{list} is not allowed: give 1 to 10000"),
    );
    findings.expect(
        config.score.minimum_ppm <= 1_000_000,
        &["score.minimum_ppm"],
        format!("{} is not allowed: give 0 to 1000000", config.score.minimum_ppm),
    );
    for (phrase, path) in &config.score.aliases {
        findings.expect_at(
            !phrase.trim().is_empty() && !path.trim().is_empty(),
            format!("score.aliases.{phrase:?}"),
            "score.aliases",
            format!("{path:?} is not allowed: write \"phrase\" = \"path.of.node\""),
        );
    }
}
