//! The oracle of an acceptance test: every pair of the final catalogue, by the definition.
//!
//! Decides: what every stored list must be. Never does: use the index.

use super::world::World;
use cupping::config::Config;
use cupping::domain::bean::BeanId;
use cupping::domain::expansion::Expander;
use cupping::domain::ranking::{Similar, SimilarList, read_score};
use cupping::domain::similarity::oracle_list;
use cupping::store::mapping::{quote, quote_qualified};
use cupping::store::postgres::PostgresStore;
use cupping::store::settings::StoreSettings;
use cupping::store::{Catalogue, Loading};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The lock that a writer of this source holds.
pub(crate) fn source_lock_key(bean: &str) -> i64 {
    cupping::txn::lock_key(cupping::store::postgres::SOURCE_KEYS, bean)
}

/// Compares every stored list of the world with the oracle's; panics with the differences.
pub(crate) async fn assert_lists_equal_the_oracles(world: &World) {
    assert_lists_equal_under(world, &Config::default()).await;
}

/// The same for a catalogue and a score of one's own.
pub(crate) async fn assert_lists_equal_under(world: &World, config: &Config) {
    let expected = oracle(world, config).await;
    let stored = stored(world, config).await;
    let wrong: Vec<_> = expected
        .iter()
        .filter(|(bean, list)| stored.get(*bean).map_or(!list.is_empty(), |rows| rows != *list))
        .map(|(bean, list)| {
            let rows = stored.get(bean).map_or(0, Vec::len);
            format!("{bean}: {rows} rows stored, {} expected, or others", list.len())
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} lists: {:#?}",
        wrong.len(),
        expected.len(),
        &wrong[..wrong.len().min(5)]
    );
    let strangers: Vec<_> = stored.keys().filter(|bean| !expected.contains_key(*bean)).collect();
    assert!(strangers.is_empty(), "rows of beans that do not exist: {strangers:?}");
    assert!(!expected.is_empty(), "an empty catalogue proves nothing");
}

async fn oracle(world: &World, config: &Config) -> BTreeMap<BeanId, SimilarList> {
    let store = PostgresStore::connect(&world.database_url, StoreSettings::from_config(config))
        .await
        .expect("the database answers");
    let mut expander = None;
    let mut bags = Vec::new();
    store
        .load(&mut |loading| match loading {
            Loading::Taxonomy(taxonomy) => {
                let settings = Arc::new(config.score_settings());
                expander = Some(Expander::new(settings, Arc::new(taxonomy)));
            }
            Loading::Bean(bean) => {
                let expander = expander.as_ref().expect("the taxonomy comes first");
                bags.push((bean.id, expander.expand(&bean.features)));
            }
        })
        .await
        .expect("the catalogue is readable");
    let settings = config.score_settings();
    bags.iter()
        .map(|(bean, _)| bean.clone())
        .map(|bean| {
            let list = oracle_list(&bean, &bags, &settings);
            (bean, list)
        })
        .collect()
}

async fn stored(world: &World, config: &Config) -> BTreeMap<BeanId, SimilarList> {
    let lists = &config.catalogue.similarity;
    let sql = format!(
        "SELECT {}::text, {}::text, {}::float8 FROM {}",
        quote(&lists.source),
        quote(&lists.similar),
        quote(&lists.score),
        quote_qualified(&config.catalogue.schema, &lists.table)
    );
    let rows: Vec<(String, String, f64)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .fetch_all(&world.admin)
        .await
        .expect("the lists are readable");
    let mut lists: BTreeMap<BeanId, SimilarList> = BTreeMap::new();
    for (source, similar, score) in rows {
        let bean = BeanId::parse(&similar).expect("a stored id");
        let source = BeanId::parse(&source).expect("a stored id");
        lists.entry(source).or_default().push(Similar { bean, ppm: read_score(score) });
    }
    lists.values_mut().for_each(|list| list.sort_unstable());
    lists
}
