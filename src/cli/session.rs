//! What every verb begins with: settings loaded, logging begun, a runtime to work in.
//!
//! Decides: which flags mean which settings, and how much a verb logs. Never does: connect.

use super::{Global, LogFormatArg, Output};
use crate::app::runtime;
use crate::config::{Config, Loaded, LogFormat, Origin, Sources};
use crate::pipeline::{PipelineHandle, PipelineLimits};
use crate::telemetry::logging::{self, Form, LogHandle, LogSettings};
use crate::telemetry::metrics::MetricsHandle;
use anyhow::Context;
use std::future::Future;
use std::sync::Arc;

/// Libraries that say again what our own events tell (a lost broker), or what is no news (threads
/// of the admin server). A level that was asked for is taken as it is.
const HUSHED: &str = "actix_server=warn,lapin=off";

/// How much is logged when nobody says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chatter {
    /// A service: its life cycle.
    Service,
    /// A command: what went wrong.
    Command,
}

/// A verb at work.
pub(super) struct Session {
    /// The settings in force.
    pub(super) config: Config,
    /// `--output`.
    pub(super) output: Option<Output>,
    /// Whether progress is unwelcome.
    pub(super) quiet: bool,
    /// The numbers of this process.
    pub(super) numbers: MetricsHandle,
    /// Logging; writes out what waits when dropped.
    log: Arc<LogHandle>,
    /// Where settings come from, to read them again.
    sources: Sources,
    /// Whether somebody chose the admin server's address.
    pub(super) listen_chosen: bool,
}

impl Session {
    /// For a verb that does one thing and ends: it logs warnings.
    pub(super) fn open(global: &Global) -> anyhow::Result<Self> {
        Self::begin(sources(global), global, Chatter::Command)
    }

    /// For a verb that stays: it logs its life cycle.
    pub(super) fn service(global: &Global) -> anyhow::Result<Self> {
        Self::begin(sources(global), global, Chatter::Service)
    }

    /// Like [`Session::open`], with settings that go before all others.
    pub(super) fn with(global: &Global, settings: &[&str]) -> anyhow::Result<Self> {
        let mut sources = sources(global);
        sources.sets.extend(settings.iter().map(|setting| (*setting).to_owned()));
        Self::begin(sources, global, Chatter::Command)
    }

    fn begin(sources: Sources, global: &Global, chatter: Chatter) -> anyhow::Result<Self> {
        let (config, listen_chosen) = read(&sources, chatter)?;
        let log = logging::init(&LogSettings {
            filter: config.log.level.clone(),
            form: match config.log.format {
                LogFormat::Auto => Form::Auto,
                LogFormat::Pretty => Form::Pretty,
                LogFormat::Json => Form::Json,
            },
            colour: !sources.no_color(),
        })
        .context("cannot begin logging")?;
        let numbers =
            MetricsHandle::install(Some(log.dropped_lines())).context("cannot begin counting")?;
        Ok(Self {
            config,
            output: global.output,
            quiet: global.quiet > 0,
            numbers,
            log: Arc::new(log),
            sources,
            listen_chosen,
        })
    }

    /// Reads the settings again, as at the start of a service, and applies those that may change
    /// while it runs: the log level and the limits of the pipeline. If they cannot be read, or do
    /// not make sense, all stays as it was.
    pub(super) fn reread(&self, pipeline: PipelineHandle) -> impl FnMut() + Send + 'static {
        let sources = self.sources.clone();
        let log = Arc::clone(&self.log);
        let mut level = self.config.log.level.clone();
        let mut limits = PipelineLimits::from(&self.config.pipeline);
        move || {
            let config = match read(&sources, Chatter::Service) {
                Ok((config, _)) => config,
                Err(error) => {
                    tracing::warn!(%error, "settings not read again; the old ones stay");
                    return;
                }
            };
            if let Err(error) = log.set_filter(&config.log.level) {
                tracing::warn!(%error, "settings not read again; the old ones stay");
                return;
            }
            tracing::info!("settings read again");
            let was = std::mem::replace(&mut level, config.log.level);
            if was != level {
                tracing::info!(log.level = level, was, "log level changed");
            }
            let was = std::mem::replace(&mut limits, PipelineLimits::from(&config.pipeline));
            if was != limits {
                pipeline.set_limits(limits);
                tell(was, limits);
            }
        }
    }

    /// Runs a verb's work to its end.
    pub(super) fn block_on<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        runtime::block_on(work)?
    }
}

/// Logs each limit that changed.
fn tell(was: PipelineLimits, now: PipelineLimits) {
    for (setting, was, now) in [
        ("pipeline.concurrency", was.concurrency, now.concurrency),
        ("pipeline.batch", was.batch, now.batch),
        ("pipeline.workers", was.workers, now.workers),
    ] {
        if was != now {
            tracing::info!(setting, was, now, "limit changed");
        }
    }
}

/// Loads the settings without beginning anything.
pub(super) fn load(global: &Global) -> anyhow::Result<Loaded> {
    Ok(Config::load(&sources(global))?)
}

/// The settings, and whether somebody chose the admin server's address.
fn read(sources: &Sources, chatter: Chatter) -> anyhow::Result<(Config, bool)> {
    let loaded = Config::load(sources)?;
    let listen_chosen = loaded.origin("admin.listen") != Origin::Default;
    let unsaid = loaded.origin("log.level") == Origin::Default;
    let mut config = loaded.config;
    if unsaid {
        config.log.level = match chatter {
            Chatter::Command => format!("warn,{HUSHED}"),
            Chatter::Service => format!("{},{HUSHED}", config.log.level),
        };
    }
    Ok((config, listen_chosen))
}

fn sources(global: &Global) -> Sources {
    let level = match (global.verbose, global.quiet) {
        (0, 0) => None,
        (0, 1) => Some("warn"),
        (0, _) => Some("error"),
        (1, _) => Some("info,cupping=debug"),
        _ => Some("debug"),
    };
    Sources {
        file: global.config.clone(),
        sets: global.set.clone(),
        data_dir: global.data_dir.clone(),
        log_format: global.log_format.map(|format| match format {
            LogFormatArg::Auto => LogFormat::Auto,
            LogFormatArg::Pretty => LogFormat::Pretty,
            LogFormatArg::Json => LogFormat::Json,
        }),
        log_level: level.map(str::to_owned),
        ..Sources::from_environment()
    }
}
