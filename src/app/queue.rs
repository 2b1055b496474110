//! The queue that the settings name, over the database or a broker.
//!
//! Decides: which transport. Never does: consume.

use super::{AppError, Database};
use crate::config::{Config, Mode};
use crate::transport::amqp::{AmqpSettings, AmqpTransport};
use crate::transport::queue::{QueueSettings, QueueTransport};
use crate::transport::{Transport, TransportError};
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often an emptying queue is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Opens the queue. A broker needs no database; a queue in a table needs the one it is in.
///
/// # Errors
/// [`AppError`] when the settings cannot work.
pub async fn open(
    config: &Config,
    database: Option<&Database>,
) -> Result<Arc<dyn Transport>, AppError> {
    if config.mode() == Mode::Broker {
        let settings = AmqpSettings {
            config: config.transport.amqp.clone(),
            url: config.transport.url.clone(),
            prefetch: config.prefetch(),
            ladder: config.ladder(),
        };
        return Ok(Arc::new(AmqpTransport::new(settings)?));
    }
    let opened;
    let database = match database {
        Some(database) => database,
        None => {
            opened = Database::open(config).await?;
            &opened
        }
    };
    let settings = QueueSettings {
        queue: config.transport.queue.clone(),
        prefetch: usize::from(config.prefetch()),
    };
    Ok(Arc::new(match database {
        Database::Sqlite(store) => {
            let (write, read) = (store.write_pool().clone(), store.read_pool().clone());
            QueueTransport::sqlite(write, read, settings)
        }
        Database::Postgres(store) => {
            QueueTransport::postgres(store.pool_handle().clone(), settings)
        }
    }))
}

/// Where the queue is, for people: no user, no password.
pub(super) fn address(config: &Config) -> String {
    match config.mode() {
        Mode::Embedded => "table cupping_queue_message".into(),
        Mode::OneDatabase => "table cupping.queue_message".into(),
        Mode::Broker => {
            let broker = url::Url::parse(config.transport.url.expose_secret()).ok();
            let at = broker.map(|url| {
                let port = if url.scheme() == "amqps" { 5671 } else { 5672 };
                let host = url.host_str().unwrap_or("localhost");
                format!("{host}:{}{}", url.port().unwrap_or(port), url.path())
            });
            format!("{} at {}", config.transport.amqp.queue, at.unwrap_or_default())
        }
    }
}

/// Waits until nothing is waiting, delayed or claimed, and tells `progress` how much is left.
/// Failed messages do not count: nobody works on them.
///
/// # Errors
/// [`TransportError`] when the queue does not answer.
pub async fn wait_until_empty(
    transport: &dyn Transport,
    stop: &CancellationToken,
    mut progress: impl FnMut(u64),
) -> Result<(), TransportError> {
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = look.tick() => {}
        }
        let depth = transport.depth().await?;
        let left = depth.live + depth.bulk + depth.retrying + depth.claimed.unwrap_or(0);
        progress(left);
        if left == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    #[test]
    fn a_broker_s_address_has_no_user_and_no_password() {
        let sets = ["database.url=postgres://u:pw@h/d", "transport.url=amqp://u:pw@mq.example/%2f"];
        let sets = sets.map(str::to_owned).to_vec();
        let loaded = Config::load(&Sources { sets, ..Sources::default() }).expect("valid");
        assert_eq!(address(&loaded.config), "similarity_calculation at mq.example:5672/%2f");
    }
}
