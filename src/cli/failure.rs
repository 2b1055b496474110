//! What becomes of an error: a message on stderr, and an exit code.
//!
//! Decides: which error means which code. Never does: print to stdout.

use crate::app::AppError;
use crate::app::lookup::LookupError;
use crate::config::ConfigErrors;
use crate::store::StoreError;
use crate::transport::TransportError;
use std::error::Error;
use std::io;
use std::process::ExitCode;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// Done.
    Success = 0,
    /// It did not work.
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A service (database, broker) is out of reach.
    Unavailable = 69,
    /// The configuration is wrong, or does not fit the database or the broker.
    Configuration = 78,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}

/// A failure that a verb finds itself: what happened and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Told {
    what: String,
    advice: String,
    status: ExitStatus,
}

impl Told {
    /// A failure with its advice.
    pub(crate) fn new(
        status: ExitStatus,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { what: what.into(), advice: advice.into(), status }
    }
}

/// Says what happened and what to do; returns the code to end with. A reader that closed our
/// stdout is no failure.
pub(crate) fn report(error: &anyhow::Error) -> ExitStatus {
    if error.chain().any(is_broken_pipe) {
        return ExitStatus::Success;
    }
    eprintln!("error: {}", sentence(error));
    if let Some(advice) = error.chain().find_map(advice) {
        eprintln!("  what to do: {advice}");
    }
    status(error)
}

/// The chain of causes in one text; a cause that the text before it already quotes is left out.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
        || error
            .downcast_ref::<serde_json::Error>()
            .is_some_and(|e| e.io_error_kind() == Some(io::ErrorKind::BrokenPipe))
}

/// The code of the outermost error that knows one.
fn status(error: &anyhow::Error) -> ExitStatus {
    error.chain().find_map(status_of).unwrap_or(ExitStatus::Failure)
}

fn status_of(error: &(dyn Error + 'static)) -> Option<ExitStatus> {
    if let Some(told) = error.downcast_ref::<Told>() {
        return Some(told.status);
    }
    if error.is::<ConfigErrors>() {
        return Some(ExitStatus::Configuration);
    }
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return Some(of_store(error));
    }
    if let Some(error) = error.downcast_ref::<TransportError>() {
        return Some(of_transport(error));
    }
    None
}

fn of_store(error: &StoreError) -> ExitStatus {
    match error {
        error if error.is_misfit() => ExitStatus::Configuration,
        error if error.retryability().is_outage() => ExitStatus::Unavailable,
        _ => ExitStatus::Failure,
    }
}

/// What to do about a database that is there but does not fit, by SQLSTATE.
fn misfit(error: &StoreError) -> Option<&'static str> {
    match error.code()?.as_str() {
        "42P01" | "42703" | "3F000" => Some(
            "a table or column is missing: run `cupping migrate` as the owner of the tables, or \
             correct [catalogue]; `cupping check` lists what is missing",
        ),
        "42501" => Some(
            "the role lacks a right: `import` needs a login in the role cupping_importer, every \
             other verb one in cupping_worker, `migrate` the owner; `cupping migrate --roles` \
             prints what they are granted, and `cupping check` what a worker lacks",
        ),
        "28P01" | "28000" => Some("correct user and password in database.url"),
        "3D000" => Some("create the database, or correct its name in database.url"),
        _ => None,
    }
}

fn of_transport(error: &TransportError) -> ExitStatus {
    match error {
        error if error.is_misfit() => ExitStatus::Configuration,
        error if error.retryability().is_outage() => ExitStatus::Unavailable,
        _ => ExitStatus::Failure,
    }
}

fn advice(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(told) = error.downcast_ref::<Told>() {
        return Some(told.advice.clone()).filter(|advice| !advice.is_empty());
    }
    if error.is::<ConfigErrors>() {
        return Some("correct it; `cupping config show` prints the settings in force".into());
    }
    if let Some(LookupError::Unknown { .. }) = error.downcast_ref::<LookupError>() {
        return Some("give an id or a name of the catalogue".into());
    }
    if let Some(AppError::Restless { .. }) = error.downcast_ref::<AppError>() {
        return Some("find out what writes it all the time, then run the command again".into());
    }
    if let Some(misfit) = error.downcast_ref::<StoreError>().and_then(misfit) {
        return Some(misfit.into());
    }
    match status_of(error)? {
        ExitStatus::Unavailable => Some(
            "start the service or correct its URL (database.url, transport.url); \
             `cupping check` tests every connection"
                .into(),
        ),
        ExitStatus::Configuration if error.is::<TransportError>() => {
            Some("see the settings in [transport]; `cupping check` tests them".into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    fn unreachable() -> TransportError {
        TransportError::Unreachable { address: "h:5672".into(), message: "refused".into() }
    }

    #[test]
    fn codes_follow_the_kind_of_failure_through_every_context() {
        let outer = |error: anyhow::Error| error.context("cannot publish");
        assert_eq!(status(&outer(unreachable().into())), ExitStatus::Unavailable);
        let wrong = TransportError::Misconfigured("no such vhost".into());
        assert_eq!(status(&outer(wrong.into())), ExitStatus::Configuration);
        let schema = StoreError::Schema("run `cupping migrate`".into());
        assert_eq!(status(&outer(schema.into())), ExitStatus::Configuration);
        assert_eq!(status(&anyhow::anyhow!("anything")), ExitStatus::Failure);
    }

    #[test]
    fn a_closed_pipe_is_quiet() {
        let closed: io::Result<()> = Err(io::ErrorKind::BrokenPipe.into());
        let error = closed.context("cannot write").expect_err("is an error");
        assert_eq!(report(&error), ExitStatus::Success);
    }

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow::Error::from(unreachable()).context("cannot publish");
        assert_eq!(
            sentence(&error),
            "cannot publish: the queue at h:5672 cannot be reached: refused"
        );
    }
}
