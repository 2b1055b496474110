//! What a sync consists of: small jobs, each of which brings some rows to what the directory says.
//!
//! Decides: the statements, on any connection: the old form and two of the remedies run these
//! same functions. Never does: begin, commit, or choose an order.

use super::directory::Directory;
use sqlx::PgConnection;
use std::collections::BTreeSet;

/// Rows of a batch.
pub const BATCH: usize = 50;

/// One transaction's worth of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Creates the user that the sync itself acts as, if there is none.
    SystemUser,
    /// Creates and updates users, and counts the members of their groups.
    Users(Vec<i64>),
    /// Gives users the permissions that follow from their groups.
    Permissions(Vec<i64>),
    /// Deactivates the users among these that the directory no longer has.
    Deactivate(Vec<i64>),
    /// Brings a group, its memberships and its members up to date.
    Group(i64),
}

impl Job {
    /// The groups whose rows it writes.
    pub fn groups(&self, directory: &Directory) -> Vec<i64> {
        match self {
            Self::Users(users) => groups_of(directory, users),
            Self::Group(group) => vec![*group],
            _ => Vec::new(),
        }
    }

    /// The users whose rows it writes.
    pub fn users(&self, directory: &Directory) -> Vec<i64> {
        match self {
            Self::Group(group) => directory.members(*group),
            other => other.batch().unwrap_or_default(),
        }
    }

    /// The users that it goes through, if it is a batch of them.
    pub fn batch(&self) -> Option<Vec<i64>> {
        match self {
            Self::Users(users) | Self::Permissions(users) | Self::Deactivate(users) => {
                Some(users.clone())
            }
            Self::SystemUser | Self::Group(_) => None,
        }
    }

    /// The same for some of its users.
    pub fn of(&self, users: &[i64]) -> Self {
        match self {
            Self::Users(_) => Self::Users(users.to_vec()),
            Self::Permissions(_) => Self::Permissions(users.to_vec()),
            Self::Deactivate(_) => Self::Deactivate(users.to_vec()),
            other => other.clone(),
        }
    }

    /// The same with its users in ascending order. New rows cannot be locked before they are
    /// there: they are inserted in this order too.
    pub fn sorted(&self) -> Self {
        let mut users = self.batch().unwrap_or_default();
        users.sort_unstable();
        self.of(&users)
    }

    /// Does it.
    pub async fn run(&self, on: &mut PgConnection, of: &Directory) -> Result<(), sqlx::Error> {
        match self {
            Self::SystemUser => system_user(on).await,
            Self::Users(users) => sync_users(on, of, users).await,
            Self::Permissions(users) => sync_permissions(on, of, users).await,
            Self::Deactivate(users) => deactivate(on, of, users).await,
            Self::Group(group) => sync_group(on, of, *group).await,
        }
    }
}

fn groups_of(directory: &Directory, users: &[i64]) -> Vec<i64> {
    let users = users.iter().filter_map(|id| directory.users.get(id));
    let groups: BTreeSet<i64> = users.flat_map(|user| user.groups.iter().copied()).collect();
    groups.into_iter().collect()
}

/// One statement decides: of several that come at once, one inserts and the others do nothing.
/// `SELECT`, then `INSERT` if there was none, would fail for all but one.
async fn system_user(on: &mut PgConnection) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO app_user (login, name) VALUES ('system', 'Directory sync')
               ON CONFLICT (login) DO NOTHING";
    sqlx::query(sql).execute(on).await.map(drop)
}

async fn sync_users(
    on: &mut PgConnection,
    directory: &Directory,
    users: &[i64],
) -> Result<(), sqlx::Error> {
    let known = users.iter().filter_map(|id| Some((*id, directory.users.get(id)?)));
    let (mut ids, mut logins, mut names) = (Vec::new(), Vec::new(), Vec::new());
    let mut counts = Vec::new();
    for (id, user) in known {
        ids.push(id);
        logins.push(user.login.as_str());
        names.push(user.name.as_str());
        counts.push(user.groups.len() as i64);
    }
    let upsert = "INSERT INTO app_user (id, login, name, groups)
                  SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[])
                  ON CONFLICT (id) DO UPDATE SET login = excluded.login, name = excluded.name,
                      groups = excluded.groups, active = true";
    let query = sqlx::query(upsert).bind(ids).bind(logins).bind(names).bind(counts);
    query.execute(&mut *on).await?;
    let groups = groups_of(directory, users);
    let members: Vec<i64> =
        groups.iter().map(|group| directory.members(*group).len() as i64).collect();
    let count = "UPDATE app_group g SET members = d.members
                 FROM unnest($1::bigint[], $2::bigint[]) AS d (id, members) WHERE g.id = d.id";
    sqlx::query(count).bind(groups).bind(members).execute(on).await.map(drop)
}

async fn sync_permissions(
    on: &mut PgConnection,
    directory: &Directory,
    users: &[i64],
) -> Result<(), sqlx::Error> {
    // One text a user, since arrays of arrays must all have one length.
    let permissions: Vec<String> =
        users.iter().map(|user| directory.permissions(*user).join(",")).collect();
    let update = "UPDATE app_user u SET permissions = string_to_array(d.permissions, ',')
                  FROM unnest($1::bigint[], $2::text[]) AS d (id, permissions)
                  WHERE u.id = d.id";
    sqlx::query(update).bind(users).bind(permissions).execute(on).await.map(drop)
}

async fn deactivate(
    on: &mut PgConnection,
    directory: &Directory,
    users: &[i64],
) -> Result<(), sqlx::Error> {
    let missing: Vec<i64> =
        users.iter().copied().filter(|id| !directory.users.contains_key(id)).collect();
    let update = "UPDATE app_user SET active = false WHERE id = ANY($1)";
    sqlx::query(update).bind(missing).execute(on).await.map(drop)
}

async fn sync_group(
    on: &mut PgConnection,
    directory: &Directory,
    group: i64,
) -> Result<(), sqlx::Error> {
    let members = directory.members(group);
    let name = directory.groups.get(&group).map(|group| group.name.as_str());
    let update = "UPDATE app_group SET name = $2, members = $3 WHERE id = $1";
    let query = sqlx::query(update).bind(group).bind(name.unwrap_or_default());
    query.bind(members.len() as i64).execute(&mut *on).await?;
    let delete = "DELETE FROM membership WHERE group_id = $1 AND user_id <> ALL($2)";
    sqlx::query(delete).bind(group).bind(&members).execute(&mut *on).await?;
    let insert = "INSERT INTO membership SELECT $1, id FROM unnest($2::bigint[]) AS m (id)
                  ON CONFLICT DO NOTHING";
    sqlx::query(insert).bind(group).bind(&members).execute(&mut *on).await?;
    let counts = members.iter().filter_map(|member| directory.users.get(member));
    let counts: Vec<i64> = counts.map(|user| user.groups.len() as i64).collect();
    let update = "UPDATE app_user u SET groups = d.groups
                  FROM unnest($1::bigint[], $2::bigint[]) AS d (id, groups) WHERE u.id = d.id";
    sqlx::query(update).bind(members).bind(counts).execute(on).await.map(drop)
}
