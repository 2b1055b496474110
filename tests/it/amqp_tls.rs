//! RabbitMQ over TLS, on a broker of the test's own with certificates made on the spot.

use crate::support::amqp::{PATIENCE, ladder, next, outgoing};
use cupping::config::AmqpConfig;
use cupping::transport::amqp::{AmqpSettings, AmqpTransport};
use cupping::transport::{Lane, Transport, TransportError};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use secrecy::SecretString;
use std::path::{Path, PathBuf};
use std::process::Command;
use tokio_util::sync::CancellationToken;

/// A private broker; stopped when dropped.
struct TlsBroker {
    dir: tempfile::TempDir,
    url: String,
}

/// Runs the script; its words, or, where it failed, the same as an error.
fn servers(verb: &str, dir: &Path) -> Result<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/servers");
    let mut command = Command::new(script);
    command.arg(verb).arg(dir);
    if verb != "env" {
        command.arg("rabbitmq");
    }
    // The broker outlives the command: with its output in a pipe we would wait for the broker.
    let log = std::fs::File::create(dir.join("servers.log")).expect("the directory is ours");
    let errors = log.try_clone().expect("a file can be shared");
    let status = command.stdout(log).stderr(errors).status().expect("the script can be run");
    let said = std::fs::read_to_string(dir.join("servers.log")).unwrap_or_default();
    if status.success() { Ok(said) } else { Err(format!("servers {verb}: {said}")) }
}

impl TlsBroker {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let tls = dir.path().join("tls");
        std::fs::create_dir(&tls).expect("the directory is ours");
        let mut params = CertificateParams::new(Vec::new()).expect("no names is fine");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        let authority = CertifiedIssuer::self_signed(params, key).expect("a CA can sign itself");
        let key = KeyPair::generate().expect("a key can be made");
        let server = CertificateParams::new(vec!["localhost".to_owned()])
            .expect("localhost is a name")
            .signed_by(&key, &authority)
            .expect("the CA can sign");
        for (name, text) in [
            ("ca.pem", authority.pem()),
            ("server.pem", server.pem()),
            ("server.key", key.serialize_pem()),
        ] {
            std::fs::write(tls.join(name), text).expect("the directory is ours");
        }
        servers("start", dir.path()).expect("the broker starts");
        let said = servers("env", dir.path()).expect("the script knows the directory");
        let line = said.lines().find_map(|line| line.strip_prefix("export CUPPING_TEST_AMQPS="));
        let url = line.expect("the script tells the address").to_owned();
        Self { dir, url }
    }

    fn ca_file(&self) -> PathBuf {
        self.dir.path().join("tls/ca.pem")
    }

    fn transport(&self, ca_file: Option<PathBuf>) -> AmqpTransport {
        let config = AmqpConfig { ca_file, ..AmqpConfig::default() };
        let url = SecretString::from(self.url.clone());
        AmqpTransport::new(AmqpSettings { config, url, prefetch: 10, ladder: ladder(1, 500) })
            .expect("the settings are possible")
    }
}

impl Drop for TlsBroker {
    fn drop(&mut self) {
        if let Err(error) = servers("stop", self.dir.path()) {
            eprintln!("a private broker may be left running: {error}");
        }
    }
}

#[tokio::test]
async fn tls_works_with_the_brokers_own_authority_and_is_refused_without() {
    let broker = TlsBroker::start();
    let transport = broker.transport(Some(broker.ca_file()));
    transport.publisher().publish(&[outgoing("b", Lane::Live)]).await.unwrap();
    let stop = CancellationToken::new();
    let mut source = transport.source(stop.clone()).await.unwrap();
    next(&mut source).await.settlement.ack().await.unwrap();
    stop.cancel();
    assert!(source.next().await.unwrap().is_none());
    transport.close(PATIENCE).await;

    let stranger = broker.transport(None);
    let error = stranger.prepare().await.unwrap_err();
    assert!(matches!(error, TransportError::Misconfigured(_)), "{error:?}");
    assert!(error.to_string().contains("transport.amqp.ca_file"), "{error}");
}
