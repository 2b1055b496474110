//! The rows of an import: what differs, and the statements that make it so.
//!
//! Decides: that only rows that differ are written, each table in one statement.
//! Never does: decide what a record means (see `store::import`).

use crate::store::import::{Change, Kind, NewNode, Resolved, StoredBean};
use crate::txn::{BodyError, Tx};
use sqlx::{AssertSqlSafe, Postgres};

/// Pairs of a bean and a value, as two columns.
#[derive(Debug, Default)]
struct Pairs {
    beans: Vec<String>,
    values: Vec<String>,
}

impl Pairs {
    fn push(&mut self, bean: &str, value: &str) {
        self.beans.push(bean.to_owned());
        self.values.push(value.to_owned());
    }
}

/// Beans as three columns.
#[derive(Debug, Default)]
struct Beans {
    ids: Vec<String>,
    names: Vec<String>,
    roasters: Vec<Option<String>>,
}

impl Beans {
    fn push(&mut self, id: &str, bean: &StoredBean) {
        self.ids.push(id.to_owned());
        self.names.push(bean.name.clone());
        self.roasters.push(bean.roaster.clone());
    }
}

/// What an import changes, table by table.
#[derive(Debug, Default)]
struct Rows {
    created: Beans,
    updated: Beans,
    /// Join rows to delete and to insert, a taxonomy each; the last one holds the texts.
    removed: [Pairs; 6],
    added: [Pairs; 6],
}

fn bags(values: &Resolved) -> impl Iterator<Item = &Vec<String>> {
    values.keys.iter().chain([&values.texts])
}

impl Rows {
    /// A bean that is new.
    fn create(&mut self, id: &str, bean: &StoredBean) {
        self.created.push(id, bean);
        for (added, bag) in self.added.iter_mut().zip(bags(&bean.values)) {
            bag.iter().for_each(|value| added.push(id, value));
        }
    }

    /// A bean that differs.
    fn update(&mut self, id: &str, old: &StoredBean, new: &StoredBean) {
        self.updated.push(id, new);
        let both = bags(&old.values).zip(bags(&new.values));
        for ((old, new), (removed, added)) in both.zip(self.removed.iter_mut().zip(&mut self.added))
        {
            // A text that stands there twice goes as a whole, and comes back once.
            let twice = |value: &String| old.iter().filter(|other| *other == value).count() > 1;
            for value in old.iter().filter(|value| !new.contains(value) || twice(value)) {
                removed.push(id, value);
            }
            for value in new.iter().filter(|value| !old.contains(value) || twice(value)) {
                added.push(id, value);
            }
        }
    }
}

/// Inserts new taxonomy nodes, a statement a table (a foreign key looks at a statement's end).
pub(super) async fn write_nodes(tx: &mut Tx<Postgres>, new: &[NewNode]) -> Result<(), BodyError> {
    for kind in Kind::ALL {
        let nodes: Vec<&NewNode> = new.iter().filter(|node| node.kind == kind).collect();
        if nodes.is_empty() {
            continue;
        }
        let (column, kind_of_column) = match kind {
            Kind::Roast => (", position", ", place::integer"),
            Kind::Variety => ("", ""),
            _ => (", parent_id", ", parent::uuid"),
        };
        let sql = format!(
            "INSERT INTO public.{} (id, name{column}) SELECT id::uuid, name{kind_of_column} \
             FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) \
                 AS node (id, name, parent, place) \
             ORDER BY id ON CONFLICT DO NOTHING",
            kind.table()
        );
        let keys: Vec<String> = nodes.iter().map(|node| node.key.clone()).collect();
        let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
        let parents: Vec<Option<String>> = nodes.iter().map(|node| node.parent.clone()).collect();
        let places: Vec<Option<i64>> = nodes.iter().map(|node| node.position).collect();
        let query = sqlx::query(AssertSqlSafe(sql));
        tx.execute(query.bind(keys).bind(names).bind(parents).bind(places)).await?;
    }
    let mut pedigree = Pairs::default();
    for node in new {
        node.parents.iter().for_each(|parent| pedigree.push(&node.key, parent));
    }
    let sql = "INSERT INTO public.variety_parent (variety_id, parent_id) \
               SELECT child::uuid, parent::uuid \
               FROM unnest($1::text[], $2::text[]) AS pair (child, parent) \
               ORDER BY child, parent";
    execute_pairs(tx, sql.to_owned(), pedigree).await
}

/// Writes the difference: beans first, since join rows refer to them.
pub(super) async fn write_beans(
    tx: &mut Tx<Postgres>,
    changes: &[Change<'_>],
) -> Result<(), BodyError> {
    let mut difference = Rows::default();
    for Change { id, old, new } in changes {
        match old {
            Some(old) => difference.update(id, old, new),
            None => difference.create(id, new),
        }
    }
    let rows = "unnest($1::text[], $2::text[], $3::text[]) AS bean (id, name, roaster)";
    let insert = format!(
        "INSERT INTO public.coffee_bean (id, name, roaster) \
         SELECT id::uuid, name, roaster FROM {rows} ORDER BY id"
    );
    let update = format!(
        "UPDATE public.coffee_bean stored \
         SET name = bean.name, roaster = bean.roaster, updated_at = now() \
         FROM {rows} WHERE stored.id = bean.id::uuid"
    );
    for (sql, beans) in [(insert, difference.created), (update, difference.updated)] {
        if !beans.ids.is_empty() {
            let query = sqlx::query(AssertSqlSafe(sql));
            tx.execute(query.bind(beans.ids).bind(beans.names).bind(beans.roasters)).await?;
        }
    }
    let tables = Kind::ALL
        .map(|kind| (kind.join_table(), kind.join_column(), "uuid"))
        .into_iter()
        .chain([("non_standard_flavor_note", "note", "text")]);
    let changes = difference.removed.into_iter().zip(difference.added);
    for ((table, column, cast), (removed, added)) in tables.zip(changes) {
        let rows = "unnest($1::text[], $2::text[]) AS pair (bean, value)";
        let delete = format!(
            "DELETE FROM public.{table} stored USING {rows} \
             WHERE stored.coffee_bean_id = pair.bean::uuid \
               AND stored.{column} = pair.value::{cast}"
        );
        let insert = format!(
            "INSERT INTO public.{table} (coffee_bean_id, {column}) \
             SELECT bean::uuid, value::{cast} FROM {rows} ORDER BY bean, value"
        );
        execute_pairs(tx, delete, removed).await?;
        execute_pairs(tx, insert, added).await?;
    }
    Ok(())
}

async fn execute_pairs(tx: &mut Tx<Postgres>, sql: String, pairs: Pairs) -> Result<(), BodyError> {
    if pairs.beans.is_empty() {
        return Ok(());
    }
    tx.execute(sqlx::query(AssertSqlSafe(sql)).bind(pairs.beans).bind(pairs.values)).await?;
    Ok(())
}
