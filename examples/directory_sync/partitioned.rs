//! Second remedy: the rows are divided by id, and a process claims one part after the other.
//!
//! Decides: which rows belong together: a user, its permissions and its memberships; a group.
//! Never does: wait; a part that another process holds is skipped.

use super::directory::Directory;
use cupping::txn::{BodyError, Transactor, Tx, TxnError, TxnOptions, work};
use sqlx::{PgConnection, PgPool, Postgres};
use std::sync::Arc;

/// Parts that the ids are divided into.
pub const PARTS: i64 = 100;

/// Makes the parts, none of which is synced in run 1 yet.
pub async fn prepare(pool: &PgPool) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO sync_partition (number) SELECT generate_series(0, $1 - 1)";
    sqlx::query(insert).bind(PARTS).execute(pool).await.map(drop)
}

/// Claims a part that is not yet synced in this run, and syncs it; `false` if there is none left.
pub async fn run_next(
    transactor: &Transactor<Postgres>,
    directory: &Arc<Directory>,
    run: i64,
) -> Result<bool, TxnError> {
    let directory = Arc::clone(directory);
    let body = work!([directory] => |tx: Postgres| { claim_and_sync(tx, directory, run).await });
    transactor.run("directory_part", &TxnOptions::default(), body).await
}

async fn claim_and_sync(
    tx: &mut Tx<Postgres>,
    directory: Arc<Directory>,
    run: i64,
) -> Result<bool, BodyError> {
    let claim = "SELECT number FROM sync_partition WHERE run < $1
                 ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED";
    let claimed: Option<(i64,)> = tx.fetch_optional_as(sqlx::query(claim).bind(run)).await?;
    let Some((part,)) = claimed else { return Ok(false) };
    tx.with_connection(|on| Box::pin(async move { sync(on, &directory, part).await })).await?;
    // In the same transaction: a process that dies here leaves the part to be claimed again.
    let done = sqlx::query("UPDATE sync_partition SET run = $2 WHERE number = $1");
    tx.execute(done.bind(part).bind(run)).await?;
    Ok(true)
}

/// Everything about the users and groups of one part. No other part writes these rows.
async fn sync(on: &mut PgConnection, directory: &Directory, part: i64) -> Result<(), sqlx::Error> {
    let users = directory.users.iter().filter(|(id, _)| *id % PARTS == part);
    let (mut ids, mut logins, mut names) = (Vec::new(), Vec::new(), Vec::new());
    let (mut counts, mut permissions) = (Vec::new(), Vec::new());
    let (mut member_groups, mut member_users) = (Vec::new(), Vec::new());
    for (id, user) in users {
        ids.push(*id);
        logins.push(user.login.as_str());
        names.push(user.name.as_str());
        counts.push(user.groups.len() as i64);
        permissions.push(directory.permissions(*id).join(","));
        member_groups.extend(user.groups.iter().copied());
        member_users.extend(user.groups.iter().map(|_| *id));
    }
    let upsert = "INSERT INTO app_user (id, login, name, groups, permissions)
                  SELECT id, login, name, groups, string_to_array(permissions, ',')
                  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[])
                      AS u (id, login, name, groups, permissions)
                  ON CONFLICT (id) DO UPDATE SET login = excluded.login, name = excluded.name,
                      groups = excluded.groups, permissions = excluded.permissions, active = true";
    let query = sqlx::query(upsert).bind(&ids).bind(logins).bind(names).bind(counts);
    query.bind(permissions).execute(&mut *on).await?;
    let deactivate = "UPDATE app_user SET active = false
                      WHERE active AND id % $2 = $3 AND id <> ALL($1) AND login <> 'system'";
    sqlx::query(deactivate).bind(ids).bind(PARTS).bind(part).execute(&mut *on).await?;
    let delete = "DELETE FROM membership WHERE user_id % $3 = $4 AND (group_id, user_id) NOT IN
                  (SELECT * FROM unnest($1::bigint[], $2::bigint[]))";
    let query = sqlx::query(delete).bind(&member_groups).bind(&member_users);
    query.bind(PARTS).bind(part).execute(&mut *on).await?;
    let insert = "INSERT INTO membership SELECT * FROM unnest($1::bigint[], $2::bigint[])
                  ON CONFLICT DO NOTHING";
    sqlx::query(insert).bind(member_groups).bind(member_users).execute(&mut *on).await?;
    sync_groups(on, directory, part).await
}

async fn sync_groups(
    on: &mut PgConnection,
    directory: &Directory,
    part: i64,
) -> Result<(), sqlx::Error> {
    let groups = directory.groups.iter().filter(|(id, _)| *id % PARTS == part);
    let (mut ids, mut names, mut members) = (Vec::new(), Vec::new(), Vec::new());
    for (id, group) in groups {
        ids.push(*id);
        names.push(group.name.as_str());
        members.push(directory.members(*id).len() as i64);
    }
    let update = "UPDATE app_group g SET name = d.name, members = d.members
                  FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS d (id, name, members)
                  WHERE g.id = d.id";
    sqlx::query(update).bind(ids).bind(names).bind(members).execute(on).await.map(drop)
}
