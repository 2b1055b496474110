//! The directory: who exists, who is in which group. Generated, always the same for a seed.
//!
//! Decides: what the database must say in the end. Never does: talk to one.

use std::collections::{BTreeMap, BTreeSet};

/// A user as the directory knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub login: String,
    pub name: String,
    pub groups: BTreeSet<i64>,
}

/// A group as the directory knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    /// In the order in which the directory lists them; some are unknown.
    pub members: Vec<i64>,
}

/// Everything, by id.
#[derive(Debug)]
pub struct Directory {
    pub users: BTreeMap<i64, User>,
    pub groups: BTreeMap<i64, Group>,
}

impl Directory {
    /// About fifty members a group.
    pub fn generate(users: i64, groups: i64, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let user = |id| User {
            login: format!("user{id}"),
            name: format!("User {id}"),
            groups: BTreeSet::new(),
        };
        let mut all: BTreeMap<i64, User> = (1..=users).map(|id| (id, user(id))).collect();
        let group = |id, random: &mut fastrand::Rng| {
            let count = random.usize(30..70).min(usize::try_from(users).unwrap_or(usize::MAX));
            let mut members: Vec<i64> = (0..count).map(|_| random.i64(1..=users)).collect();
            if id % 40 == 7 {
                members.push(9_000_000 + id); // deleted from the users, not from the group
            }
            let mut seen = BTreeSet::new();
            members.retain(|member| seen.insert(*member));
            Group { name: format!("Group {id}"), members }
        };
        let groups: BTreeMap<i64, Group> =
            (1..=groups).map(|id| (id, group(id, &mut random))).collect();
        for (id, group) in &groups {
            for member in &group.members {
                if let Some(user) = all.get_mut(member) {
                    user.groups.insert(*id);
                }
            }
        }
        Self { users: all, groups }
    }

    /// The members of a group that exist, in the directory's order.
    pub fn members(&self, group: i64) -> Vec<i64> {
        let members = self.groups.get(&group).map(|group| group.members.as_slice());
        let known = members.unwrap_or_default().iter().filter(|id| self.users.contains_key(id));
        known.copied().collect()
    }

    /// Members that the directory itself does not know: (group, user).
    pub fn unknown_members(&self) -> Vec<(i64, i64)> {
        let pairs = self
            .groups
            .iter()
            .flat_map(|(id, group)| group.members.iter().map(move |member| (*id, *member)));
        pairs.filter(|(_, member)| !self.users.contains_key(member)).collect()
    }

    /// What a user may do follows from the groups.
    pub fn permissions(&self, user: i64) -> Vec<String> {
        let groups = self.users.get(&user).map(|user| &user.groups);
        let kinds: BTreeSet<i64> = groups.into_iter().flatten().map(|group| group % 20).collect();
        kinds.into_iter().map(|kind| format!("permission-{kind:02}")).collect()
    }
}
