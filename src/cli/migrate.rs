//! `cupping migrate`: the database's tables, created or updated, and who may do what with them.
//!
//! Decides: what is said about it. Never does: change data.

use super::failure::Told;
use super::session::{self, Session};
use super::{ExitStatus, Global, Output, output};
use crate::app::{Database, Granted};
use anyhow::Context;
use clap::Args;

/// Arguments of `migrate`.
#[derive(Debug, Args)]
#[command(after_help = "Needs the rights of the tables' owner. Safe to run again.\n\
    The roles are cupping_worker (run, publish, recompute, similar, export) and cupping_importer\n\
    (import). Give them to logins of your own, in SQL:\n  \
    CREATE ROLE coffee_worker LOGIN PASSWORD '…' IN ROLE cupping_worker;")]
pub(crate) struct MigrateArgs {
    /// Then create the least-privilege roles and grant them what they need (PostgreSQL).
    #[arg(long)]
    grant: bool,
    /// Print the script of --grant, with the names of your catalogue, and change nothing.
    #[arg(long, conflicts_with = "grant")]
    roles: bool,
}

/// Migrates.
pub(crate) fn run(global: &Global, args: &MigrateArgs) -> anyhow::Result<ExitStatus> {
    if args.roles {
        let config = session::load(global)?.config;
        output::bytes(Database::roles_sql(&config).as_bytes())?;
        return Ok(ExitStatus::Success);
    }
    let session = Session::open(global)?;
    let applied = session.block_on(migrate(&session, args.grant))?;
    if session.output == Some(Output::Json) {
        output::json(&serde_json::json!({ "applied": applied, "granted": args.grant }))?;
        return Ok(ExitStatus::Success);
    }
    if applied.is_empty() {
        output::line("nothing to do: the database is up to date")?;
    }
    for step in applied {
        output::line(step)?;
    }
    if args.grant {
        output::line("granted cupping_worker and cupping_importer what they need")?;
    }
    Ok(ExitStatus::Success)
}

async fn migrate(session: &Session, grant: bool) -> anyhow::Result<Vec<String>> {
    let applied = Database::migrate(&session.config).await?;
    if grant {
        let granted = Database::grant(&session.config);
        let granted = granted.await.context("the database is migrated, but nothing was granted")?;
        if granted == Granted::NoRoles {
            let what = "an embedded database has no roles, so there is nothing to grant";
            let advice = "leave --grant out, or set database.url to postgres://…";
            return Err(Told::new(ExitStatus::Usage, what, advice).into());
        }
    }
    Ok(applied)
}
