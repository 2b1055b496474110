//! One connection to the broker: where, with which TLS, within which time, and what a refusal
//! means.
//!
//! Decides: which failures waiting does not mend (rights, virtual host, certificates, queue
//! arguments). Never does: reconnect by itself; its users do, each in its own loop.

use crate::config::AmqpConfig;
use crate::resilience::backoff::EqualJitter;
use crate::transport::TransportError;
use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::types::ReplyCode;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties, ErrorKind};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

/// First pause before connecting again.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The broker does not know the queue, exchange or virtual host.
pub(super) const NOT_FOUND: ReplyCode = 404;
const ACCESS_REFUSED: ReplyCode = 403;
const PRECONDITION_FAILED: ReplyCode = 406;
const NOT_ALLOWED: ReplyCode = 530;

/// How to reach the broker.
pub(super) struct Endpoint {
    uri: AMQPUri,
    tls: OwnedTLSConfig,
    /// Host and port, without credentials.
    pub(super) address: String,
    /// Longest wait for a connection, a channel or a declaration.
    pub(super) timeout: Duration,
    pauses: EqualJitter,
}

impl Endpoint {
    pub(super) fn new(config: &AmqpConfig, url: &SecretString) -> Result<Self, TransportError> {
        let mut uri: AMQPUri = url.expose_secret().parse().map_err(|reason| {
            TransportError::Misconfigured(format!(
                "transport.url is no AMQP address ({reason}); amqp://user:password@host:5672/%2f \
                 and amqps://… are allowed"
            ))
        })?;
        let seconds = u16::try_from(config.heartbeat.as_secs()).unwrap_or(u16::MAX).max(1);
        uri.query.heartbeat.get_or_insert(seconds);
        let address = format!("{}:{}", uri.authority.host, uri.authority.port);
        let pauses =
            EqualJitter { base: FIRST_PAUSE, multiplier: 2.0, cap: config.reconnect_max_delay };
        let tls = tls(config)?;
        Ok(Self { uri, tls, address, timeout: config.connect_timeout, pauses })
    }

    /// The pause after `failures` attempts in a row have failed.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        self.pauses.delay(failures.max(1), fastrand::f64())
    }

    /// Connects, as `role` (a name shown in the broker's list of connections).
    pub(super) async fn connect(&self, role: &str) -> Result<Connection, TransportError> {
        let name = format!("cupping {role}");
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let runtime = lapin::runtime::default_runtime().map_err(|error| self.lost(&error))?;
        let connecting = Connection::connect_uri_with_config(
            self.uri.clone(),
            properties,
            self.tls.clone(),
            runtime,
        );
        match self.in_time("connecting", connecting).await {
            Ok(connection) => Ok(connection),
            Err(Failed::Late(error)) => Err(error),
            Err(Failed::Broker(error)) => Err(self.explain_connect(&error)),
        }
    }

    /// Runs a step of opening within the connect timeout.
    pub(super) async fn in_time<T>(
        &self,
        step: &str,
        work: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, Failed> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(done) => done.map_err(Failed::Broker),
            Err(_) => Err(Failed::Late(
                self.unreachable(format!("no answer within {:?} while {step}", self.timeout)),
            )),
        }
    }

    /// The broker went away, or said something that is not about our settings.
    pub(super) fn lost(&self, error: &lapin::Error) -> TransportError {
        self.unreachable(error.to_string())
    }

    /// The broker cannot be reached, in our own words.
    pub(super) fn unreachable(&self, message: String) -> TransportError {
        TransportError::Unreachable { address: self.address.clone(), message }
    }

    /// What a failure about a queue or exchange means; `what` names it.
    pub(super) fn explain(&self, what: &str, failed: Failed) -> TransportError {
        let error = match failed {
            Failed::Late(error) => return error,
            Failed::Broker(error) => error,
        };
        let Some((code, text)) = refusal(&error) else { return self.lost(&error) };
        let advice = match code {
            PRECONDITION_FAILED => {
                "it exists with other arguments. Delete it once it is empty, or set \
                 transport.amqp.topology = \"passive\" to use it as it is"
            }
            NOT_FOUND => {
                "it does not exist. Create it, or set transport.amqp.topology = \"declare\""
            }
            ACCESS_REFUSED => {
                "the user of transport.url has no right to it. Grant configure, write and read, \
                 or let somebody else declare it and set transport.amqp.topology = \"passive\""
            }
            _ => return self.lost(&error),
        };
        let message = format!("{what}: {advice} (the broker says: {text})");
        if code == NOT_FOUND {
            return TransportError::Missing(message);
        }
        TransportError::Misconfigured(message)
    }

    fn explain_connect(&self, error: &lapin::Error) -> TransportError {
        let address = &self.address;
        match (refusal(error), error.kind()) {
            (Some((ACCESS_REFUSED, text)), _) => TransportError::Misconfigured(format!(
                "{address} refuses the user or password of transport.url ({text})"
            )),
            (Some((NOT_ALLOWED, text)), _) => TransportError::Misconfigured(format!(
                "{address} does not let us into the virtual host {:?} of transport.url ({text})",
                self.uri.vhost
            )),
            (None, ErrorKind::IOError(io))
                if self.uri.scheme == AMQPScheme::AMQPS
                    && io.kind() == std::io::ErrorKind::InvalidData =>
            {
                TransportError::Misconfigured(format!(
                    "TLS with {address} failed: {io}. For a certificate authority of your own set \
                     transport.amqp.ca_file"
                ))
            }
            _ => self.lost(error),
        }
    }
}

/// Why a step of opening failed.
pub(super) enum Failed {
    /// It took too long.
    Late(TransportError),
    /// The broker, or the connection to it, said no.
    Broker(lapin::Error),
}

/// The reply code and text, where the broker itself refused.
pub(super) fn refusal(error: &lapin::Error) -> Option<(ReplyCode, String)> {
    match error.kind() {
        ErrorKind::ProtocolError(refused) => {
            Some((refused.get_id(), refused.get_message().to_string()))
        }
        _ => None,
    }
}

fn tls(config: &AmqpConfig) -> Result<OwnedTLSConfig, TransportError> {
    let unreadable = |setting: &str, path: &std::path::Path, error: std::io::Error| {
        TransportError::Misconfigured(format!(
            "{setting} = {:?} cannot be read: {error}",
            path.display()
        ))
    };
    let cert_chain = match &config.ca_file {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .map_err(|error| unreadable("transport.amqp.ca_file", path, error))?,
        ),
        None => None,
    };
    let identity = match &config.client_identity_file {
        Some(path) => Some(OwnedIdentity::PKCS12 {
            der: std::fs::read(path)
                .map_err(|error| unreadable("transport.amqp.client_identity_file", path, error))?,
            password: config
                .client_identity_password
                .as_ref()
                .map(|password| password.expose_secret().to_owned())
                .unwrap_or_default(),
        }),
        None => None,
    };
    Ok(OwnedTLSConfig { identity, cert_chain })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str, config: &AmqpConfig) -> Result<Endpoint, TransportError> {
        Endpoint::new(config, &SecretString::from(url.to_owned()))
    }

    #[test]
    fn the_address_shows_no_credentials() {
        let endpoint =
            endpoint("amqp://user:secret@broker:5673/%2f", &AmqpConfig::default()).ok().unwrap();
        assert_eq!(endpoint.address, "broker:5673");
    }

    #[test]
    fn a_url_of_another_kind_and_a_missing_file_are_refused_by_name() {
        let error = endpoint("http://x", &AmqpConfig::default()).err().unwrap().to_string();
        assert!(error.contains("transport.url"), "{error}");
        let config = AmqpConfig { ca_file: Some("/no/such.pem".into()), ..AmqpConfig::default() };
        let error = endpoint("amqps://x", &config).err().unwrap().to_string();
        assert!(error.contains("transport.amqp.ca_file"), "{error}");
    }

    #[test]
    fn pauses_grow_to_the_longest_allowed() {
        let endpoint = endpoint("amqp://x", &AmqpConfig::default()).ok().unwrap();
        assert!(endpoint.pause(1) <= FIRST_PAUSE);
        let longest = AmqpConfig::default().reconnect_max_delay;
        assert!(endpoint.pause(30) <= longest && endpoint.pause(30) >= longest / 2);
    }
}
