//! Second remedy: the rows are divided by id, and a process claims one part after the other.
//!
//! Decides: which rows belong together: a user, its permissions and its memberships; a group.
//! Never does: wait; a part that another process holds is skipped.

use super::directory::Directory;
use cupping::txn::{
    BodyError, Claim, Family, Partition, TableRank, Transactor, Tx, TxnError, TxnOptions, work,
};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres};
use std::sync::Arc;

/// Parts that the ids are divided into; about fifty users each.
pub const PARTS: u32 = 100;

const PART: TableRank = TableRank::new(3, "sync_part", "number");

/// Any one part that is not yet synced and that nobody else is at.
const NEXT: Claim = Claim::of(PART).filter("NOT r.synced").limit(1);

/// Asks for a sync: makes the parts, all of them due.
pub async fn prepare(pool: &PgPool) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO sync_part (number) SELECT generate_series(0, $1 - 1)
                  ON CONFLICT (number) DO UPDATE SET synced = false";
    sqlx::query(insert).bind(i64::from(PARTS)).execute(pool).await.map(drop)
}

/// Claims a part and syncs it; `false` if there is none left to claim.
pub async fn run_next(
    transactor: &Transactor<Postgres>,
    directory: &Arc<Directory>,
) -> Result<bool, TxnError> {
    let directory = Arc::clone(directory);
    let body = work!([directory] => |tx: Postgres| { claim_and_sync(tx, directory).await });
    transactor.run("directory_part", &TxnOptions::default(), body).await
}

async fn claim_and_sync(
    tx: &mut Tx<Postgres>,
    directory: Arc<Directory>,
) -> Result<bool, BodyError> {
    let Some(number) = tx.claim(&NEXT).await?.first().copied() else { return Ok(false) };
    let part = Partition::new(PARTS, u32::try_from(number)?)?;
    tx.with_connection(|on| Box::pin(async move { sync(on, &directory, part).await })).await?;
    // In the same transaction: a process that dies here leaves the part to be claimed again.
    let done = sqlx::query("UPDATE sync_part SET synced = true WHERE number = $1");
    tx.execute(done.bind(number)).await?;
    Ok(true)
}

/// Everything about the users and groups of one part. No other part writes these rows.
async fn sync(
    on: &mut PgConnection,
    directory: &Directory,
    part: Partition,
) -> Result<(), sqlx::Error> {
    let users = directory.users.iter().filter(|(id, _)| part.contains(**id));
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
    // The part as SQL is made of constants and numbers, never of input.
    let deactivate = format!(
        "UPDATE app_user SET active = false
         WHERE active AND {} AND id <> ALL($1) AND login <> 'system'",
        part.sql(Family::Postgres, "id"),
    );
    sqlx::query(AssertSqlSafe(deactivate)).bind(ids).execute(&mut *on).await?;
    let delete = format!(
        "DELETE FROM membership WHERE {} AND (group_id, user_id) NOT IN
             (SELECT * FROM unnest($1::bigint[], $2::bigint[]))",
        part.sql(Family::Postgres, "user_id"),
    );
    let query = sqlx::query(AssertSqlSafe(delete)).bind(&member_groups).bind(&member_users);
    query.execute(&mut *on).await?;
    let insert = "INSERT INTO membership SELECT * FROM unnest($1::bigint[], $2::bigint[])
                  ON CONFLICT DO NOTHING";
    sqlx::query(insert).bind(member_groups).bind(member_users).execute(&mut *on).await?;
    sync_groups(on, directory, part).await
}

async fn sync_groups(
    on: &mut PgConnection,
    directory: &Directory,
    part: Partition,
) -> Result<(), sqlx::Error> {
    let groups = directory.groups.iter().filter(|(id, _)| part.contains(**id));
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
