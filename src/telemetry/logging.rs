//! The log: lines on standard error that never hold the work up.
//!
//! Decides: form, filter, and that a full buffer drops lines (counted) instead of blocking.
//! Never does: log bodies or credentials; that is for every caller to keep.

use super::metrics::DroppedLines;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// Lines that wait for the writer, at most.
const BUFFERED_LINES: usize = 16_384;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Pretty on a terminal, else JSON.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// What to log, and how.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// A level, or a filter such as `info,cupping::txn=debug`.
    pub filter: String,
    /// How lines look.
    pub form: Form,
    /// Whether colours are welcome (on a terminal).
    pub colour: bool,
}

/// Why logging cannot start, or a filter cannot be set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The filter cannot be read.
    #[error("log filter {filter:?} cannot be read: {source}; give a level or module=level,…")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Another logger is installed in this process.
    #[error("logging cannot start: {0}")]
    Install(#[from] TryInitError),
    /// The subscriber is gone.
    #[error("the log filter cannot be changed: {0}")]
    Reload(#[from] reload::Error),
}

/// Logging, under way. Dropped, it writes out what waits.
pub struct LogHandle {
    filter: reload::Handle<EnvFilter, Registry>,
    dropped: ErrorCounter,
}

/// The writer of the process's logger: one a process, as the logger is.
static WRITER: Mutex<Option<WorkerGuard>> = Mutex::new(None);

/// Writes out what waits; nothing is written after. For an end that runs no destructors.
pub fn finish() {
    drop(WRITER.lock().unwrap_or_else(PoisonError::into_inner).take());
}

impl Drop for LogHandle {
    fn drop(&mut self) {
        finish();
    }
}

impl std::fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogHandle({} dropped)", self.dropped.dropped_lines())
    }
}

impl LogHandle {
    /// Changes what is logged from now on (SIGHUP).
    ///
    /// # Errors
    /// [`LogError::Filter`] when it cannot be read; the old filter stays.
    pub fn set_filter(&self, filter: &str) -> Result<(), LogError> {
        Ok(self.filter.reload(parse(filter)?)?)
    }

    /// Counts lines dropped so far; to be given to the metrics.
    #[must_use]
    pub fn dropped_lines(&self) -> DroppedLines {
        let counter = self.dropped.clone();
        Arc::new(move || u64::try_from(counter.dropped_lines()).unwrap_or(u64::MAX))
    }
}

/// Starts logging to standard error, for the whole process.
///
/// # Errors
/// [`LogError`] when the filter cannot be read or a logger is installed already.
pub fn init(settings: &LogSettings) -> Result<LogHandle, LogError> {
    let terminal = std::io::stderr().is_terminal();
    let pretty = match settings.form {
        Form::Auto => terminal,
        Form::Pretty => true,
        Form::Json => false,
    };
    let (writer, guard) = writer(std::io::stderr(), BUFFERED_LINES);
    let dropped = writer.error_counter();
    let (filter, handle) = reload::Layer::new(parse(&settings.filter)?);
    let lines = lines(pretty, settings.colour && terminal, writer);
    Registry::default().with(filter).with(lines).try_init()?;
    *WRITER.lock().unwrap_or_else(PoisonError::into_inner) = Some(guard);
    Ok(LogHandle { filter: handle, dropped })
}

type Lines<S> = Box<dyn Layer<S> + Send + Sync>;

fn lines<S>(pretty: bool, colour: bool, writer: NonBlocking) -> Lines<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let layer = fmt::layer().with_writer(writer).with_ansi(colour);
    if pretty { layer.boxed() } else { layer.json().flatten_event(true).boxed() }
}

fn writer<W>(out: W, buffered_lines: usize) -> (NonBlocking, WorkerGuard)
where
    W: std::io::Write + Send + 'static,
{
    NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(buffered_lines)
        .thread_name("cupping-log")
        .finish(out)
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(filter)
        .map_err(|source| LogError::Filter { filter: filter.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(form: bool, say: impl FnOnce(&reload::Handle<EnvFilter, Registry>)) -> String {
        let memory = Memory::default();
        let (writer, guard) = writer(memory.clone(), BUFFERED_LINES);
        let (filter, handle) = reload::Layer::new(parse("info").expect("a level"));
        let subscriber = Registry::default().with(filter).with(lines(form, false, writer));
        tracing::subscriber::with_default(subscriber, || say(&handle));
        drop(guard);
        String::from_utf8(memory.0.lock().expect("not poisoned").clone()).expect("text")
    }

    #[test]
    fn json_lines_carry_message_and_fields_side_by_side() {
        let text = logged(false, |_| tracing::info!(bean.id = "b1", "similarity completed"));
        let line: serde_json::Value = serde_json::from_str(&text).expect("one JSON object");
        assert_eq!(line["message"], "similarity completed");
        assert_eq!(line["bean.id"], "b1");
        assert_eq!(line["level"], "INFO");
    }

    /// Takes nothing until the gate opens: a reader of standard error that stalls.
    struct Stalled(std::sync::mpsc::Receiver<()>);

    impl std::io::Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _opened = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_reader_costs_lines_which_are_counted_and_never_blocks() {
        use std::io::Write;
        let (open, gate) = std::sync::mpsc::sync_channel::<()>(0);
        let (mut writer, guard) = writer(Stalled(gate), 10);
        for _ in 0..100 {
            writer.write_all(b"a line\n").expect("never blocks, never fails");
        }
        let dropped = writer.error_counter().dropped_lines();
        assert!((80..=90).contains(&dropped), "{dropped} of 100 with room for 10");
        drop(open);
        drop(guard);
    }

    #[test]
    fn the_filter_can_be_changed_while_running() {
        let text = logged(true, |handle| {
            tracing::debug!("unheard");
            handle.reload(parse("debug").expect("a level")).expect("installed");
            tracing::debug!("heard");
        });
        assert!(text.contains("heard") && !text.contains("unheard"), "{text}");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        assert!(parse("cupping=loud").is_err());
    }
}
