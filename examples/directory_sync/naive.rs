//! Before: every process writes its batches in its own order, on bare sqlx.
//!
//! Decides: nothing worth copying. Never does: retry; a batch that fails is lost.

use super::directory::Directory;
use super::jobs::Job;
use sqlx::{PgConnection, PgPool};

/// One batch, one transaction.
#[expect(clippy::disallowed_methods, reason = "the old sync, as it was: bare sqlx")]
pub async fn run(pool: &PgPool, directory: &Directory, job: &Job) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    match job {
        Job::SystemUser => system_user(&mut tx).await?,
        other => other.run(&mut tx, directory).await?,
    }
    tx.commit().await
}

/// Looks, then writes: of several at once all look first.
async fn system_user(on: &mut PgConnection) -> Result<(), sqlx::Error> {
    let look = "SELECT EXISTS (SELECT FROM app_user WHERE login = 'system')";
    if !sqlx::query_scalar::<_, bool>(look).fetch_one(&mut *on).await? {
        let insert = "INSERT INTO app_user (login, name) VALUES ('system', 'Directory sync')";
        sqlx::query(insert).execute(on).await?;
    }
    Ok(())
}
