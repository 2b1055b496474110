//! Looking at everything a deployment needs, without changing any of it.
//!
//! Decides: what is looked at, and what the findings come to. Never does: declare, migrate, write.

use super::{AppError, Database, open_transport};
use crate::config::{Config, Mode, Topology};
use crate::store::{Finding, Severity};
use crate::transport::TransportError;

/// What the findings come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No problem.
    Fit,
    /// A service is out of reach.
    Unavailable,
    /// The configuration does not fit a service.
    Misconfigured,
    /// Another problem.
    Unfit,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Report {
    /// The findings, in the order looked at.
    pub findings: Vec<Finding>,
    unavailable: bool,
    failed: bool,
}

impl Report {
    /// What the findings come to; a service out of reach hides what would be found in it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let problem = self.findings.iter().any(|f| f.severity == Severity::Problem);
        match () {
            () if !problem => Verdict::Fit,
            () if self.unavailable => Verdict::Unavailable,
            () if self.failed => Verdict::Unfit,
            () => Verdict::Misconfigured,
        }
    }

    fn say(&mut self, subject: &str, severity: Severity, message: impl Into<String>) {
        let message = message.into();
        self.findings.push(Finding { subject: subject.to_owned(), severity, message });
    }

    fn fail(&mut self, subject: &str, error: &AppError) {
        match error {
            AppError::Store(e) if e.is_misfit() => {}
            AppError::Transport(e) if e.is_misfit() => {}
            AppError::Store(e) if e.retryability().is_outage() => self.unavailable = true,
            AppError::Transport(e) if e.retryability().is_outage() => self.unavailable = true,
            _ => self.failed = true,
        }
        self.say(subject, Severity::Problem, error.to_string());
    }
}

/// What a finding about migrations is about.
const MIGRATIONS: &str = "database.migrations";

/// Looks at the configuration, the database, the queue and the admin address.
pub async fn all(config: &Config) -> Report {
    let mut report = Report::default();
    let mode = match config.mode() {
        Mode::Embedded => "embedded: queue and lists in one SQLite file",
        Mode::OneDatabase => "one database: queue and lists in PostgreSQL",
        Mode::Broker => "broker: queue in RabbitMQ, lists in PostgreSQL",
    };
    report.say("configuration", Severity::Ok, mode);
    let database = match Database::look(config).await {
        Ok(Some(database)) => Some(database),
        Ok(None) => {
            let message = "not created yet; `cupping demo`, `import` or `migrate` creates it";
            report.say("database", Severity::Warning, message);
            None
        }
        Err(error) => {
            report.fail("database", &error);
            None
        }
    };
    if let Some(database) = &database {
        match database.findings().await {
            Ok(findings) => report.findings.extend(findings),
            Err(error) => report.fail("database", &error),
        }
    }
    // Without its tables a queue in the database can only say again what was found already.
    let unmigrated = |f: &Finding| f.subject == MIGRATIONS && f.severity == Severity::Problem;
    if config.mode() == Mode::Broker
        || database.is_some() && !report.findings.iter().any(unmigrated)
    {
        queue(config, database.as_ref(), &mut report).await;
    }
    admin(config, &mut report).await;
    report
}

async fn queue(config: &Config, database: Option<&Database>, report: &mut Report) {
    let mut looking = config.clone();
    let declares =
        config.mode() == Mode::Broker && config.transport.amqp.topology == Topology::Declare;
    if declares {
        looking.transport.amqp.topology = Topology::Passive; // look, declare nothing
    }
    let depth = async {
        let transport = open_transport(&looking, database).await?;
        transport.prepare().await?;
        let depth = transport.depth().await?;
        transport.close(config.shutdown.grace).await;
        Ok::<_, AppError>(depth)
    };
    match depth.await {
        Ok(depth) => {
            let waiting = depth.live + depth.bulk + depth.retrying;
            report.say("queue", Severity::Ok, format!("answers; {waiting} messages wait"));
            if depth.failed > 0 {
                let message = format!("{} messages failed and wait for a decision", depth.failed);
                report.say("queue.failed", Severity::Warning, message);
            }
        }
        Err(AppError::Transport(TransportError::Missing(what))) if declares => {
            let message = format!("{what}; `cupping run` declares what is missing");
            report.say("queue", Severity::Warning, message);
        }
        Err(error) => report.fail("queue", &error),
    }
}

async fn admin(config: &Config, report: &mut Report) {
    if !config.admin.enabled {
        return report.say("admin.listen", Severity::Ok, "the admin server is off");
    }
    let address = config.admin.listen;
    match tokio::net::TcpListener::bind(address).await {
        Ok(_) => report.say("admin.listen", Severity::Ok, format!("{address} is free")),
        Err(error) => {
            let message = format!(
                "{address} cannot be used: {error}; fine if a worker runs here, else choose \
                 another address or set admin.enabled = false"
            );
            report.say("admin.listen", Severity::Warning, message);
        }
    }
}
