//! `cupping check`: everything a deployment can get wrong, looked at in one go.
//!
//! Decides: how findings are shown and which code they end with. Never does: change anything.

use super::session::Session;
use super::{ExitStatus, Global, Output, output};
use crate::app::check::{self, Verdict};
use crate::store::{Finding, Severity};
use clap::Args;
use serde::Serialize;

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Ends with 0 when it found no problem (warnings are none), 69 when a service \
    is out of reach,\n78 when the configuration does not fit, 1 for other problems."
)]
pub(crate) struct CheckArgs {}

#[derive(Serialize)]
struct FindingJson<'a> {
    subject: &'a str,
    severity: &'static str,
    message: &'a str,
}

/// Checks.
pub(crate) fn run(global: &Global, _: &CheckArgs) -> anyhow::Result<ExitStatus> {
    let session = Session::open(global)?;
    let report = session.block_on(async { Ok(check::all(&session.config).await) })?;
    if session.output == Some(Output::Json) {
        let findings: Vec<FindingJson<'_>> = report.findings.iter().map(as_json).collect();
        output::json(&findings)?;
    } else {
        let mut table = output::table(&["", "subject", "finding"]);
        for finding in &report.findings {
            table.add_row([mark(finding.severity), &finding.subject, &finding.message]);
        }
        output::print(&table)?;
        output::line(summary(&report.findings))?;
    }
    Ok(match report.verdict() {
        Verdict::Fit => ExitStatus::Success,
        Verdict::Unavailable => ExitStatus::Unavailable,
        Verdict::Misconfigured => ExitStatus::Configuration,
        Verdict::Unfit => ExitStatus::Failure,
    })
}

fn as_json(finding: &Finding) -> FindingJson<'_> {
    FindingJson {
        subject: &finding.subject,
        severity: mark(finding.severity),
        message: &finding.message,
    }
}

fn mark(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "ok",
        Severity::Warning => "warning",
        Severity::Problem => "problem",
    }
}

fn summary(findings: &[Finding]) -> String {
    let of = |severity| findings.iter().filter(|f| f.severity == severity).count() as u64;
    let problems = output::count(of(Severity::Problem), "problem");
    let warnings = output::count(of(Severity::Warning), "warning");
    format!("\n{problems}, {warnings}")
}
