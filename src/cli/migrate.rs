//! `cupping migrate`: the database's tables, created or updated.
//!
//! Decides: what is said about it. Never does: change data.

use super::session::Session;
use super::{ExitStatus, Global, Output, output};
use crate::app::{Database, ROLES_SQL};
use clap::Args;

/// Arguments of `migrate`.
#[derive(Debug, Args)]
#[command(after_help = "Needs the rights of the tables' owner. Safe to run again.\n\
    `cupping migrate --roles | psql` then gives the worker and the importer their roles.")]
pub(crate) struct MigrateArgs {
    /// Print the SQL script of the least-privilege roles (PostgreSQL) and change nothing.
    #[arg(long)]
    roles: bool,
}

/// Migrates.
pub(crate) fn run(global: &Global, args: &MigrateArgs) -> anyhow::Result<ExitStatus> {
    if args.roles {
        output::bytes(ROLES_SQL.as_bytes())?;
        return Ok(ExitStatus::Success);
    }
    let session = Session::open(global)?;
    let applied = session.block_on(async { Ok(Database::migrate(&session.config).await?) })?;
    if session.output == Some(Output::Json) {
        output::json(&serde_json::json!({ "applied": applied }))?;
        return Ok(ExitStatus::Success);
    }
    if applied.is_empty() {
        output::line("nothing to do: the database is up to date")?;
    }
    for step in applied {
        output::line(step)?;
    }
    Ok(ExitStatus::Success)
}
