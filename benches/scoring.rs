//! The index against the oracle: time for the exact top-K list of one bean among ten thousand.
//!
//! `cargo bench --bench scoring`. Before it measures it checks that both give the same lists; then
//! it measures both in the same run, so that the ratio means something on any machine.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use cupping::config::Config;
use cupping::domain::bean::{Bean, BeanId, Features, Value};
use cupping::domain::dimension::{ScoreSettings, Taxonomy};
use cupping::domain::expansion::Expander;
use cupping::domain::seed::{builtin_aliases, builtin_taxonomy};
use cupping::domain::similarity::oracle_list;
use cupping::domain::token::TokenBags;
use cupping::index::{BeanChange, CatalogueIndex, SimilarityIndex};
use std::hint::black_box;
use std::sync::Arc;

const BEANS: usize = 10_000;
const SEED: u64 = 0x000c_0ffe_e000;
/// Lists compared with the oracle before anything is measured.
const CHECKED: usize = 3;
/// Beans changed at once in the update benchmark.
const CHANGES: usize = 64;

/// A value near the front of a list much more often than one near its end, as in real catalogues.
fn skewed<'v, T>(random: &mut fastrand::Rng, values: &'v [T]) -> &'v T {
    let u = random.f64();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "u² × length lies within the list"
    )]
    let at = (u * u * values.len() as f64) as usize;
    &values[at.min(values.len() - 1)]
}

fn catalogue(taxonomy: &Taxonomy) -> Vec<Bean> {
    let mut random = fastrand::Rng::with_seed(SEED);
    let keys: Vec<Vec<Value>> = taxonomy
        .dimensions
        .iter()
        .map(|nodes| nodes.keys().cloned().map(Value::Node).collect())
        .collect();
    let phrases: Vec<String> = builtin_aliases().into_keys().collect();
    let bean = |number: usize, random: &mut fastrand::Rng| {
        let most = [1, 1, 1, 2, 3];
        let mut bags: Vec<Vec<Value>> = keys
            .iter()
            .zip(most)
            .map(|(values, most)| {
                let count = if random.u8(0..10) == 0 { 0 } else { random.usize(1..=most) };
                (0..count).map(|_| skewed(random, values).clone()).collect()
            })
            .collect();
        if random.bool() {
            let (a, b) = (skewed(random, &phrases), skewed(random, &phrases));
            bags[4].push(Value::Text(format!("{a} {b}").into()));
        }
        let id = BeanId::parse(&format!("bean-{number:06}")).expect("a plain id");
        Bean { id, name: None, features: Features { bags } }
    };
    (0..BEANS).map(|number| bean(number, &mut random)).collect()
}

fn loaded(settings: &Arc<ScoreSettings>, taxonomy: &Taxonomy, beans: &[Bean]) -> CatalogueIndex {
    let index = CatalogueIndex::new(settings.clone());
    let mut builder = index.builder(taxonomy.clone());
    for bean in beans {
        builder.add(bean.clone());
    }
    index.install(builder);
    index
}

fn scoring(criterion: &mut Criterion) {
    let settings = Arc::new(Config::default().score_settings());
    let taxonomy = builtin_taxonomy().keyed_by_path();
    let beans = catalogue(&taxonomy);
    let index = loaded(&settings, &taxonomy, &beans);
    let expander = Expander::new(settings.clone(), Arc::new(taxonomy.clone()));
    let expanded: Vec<(BeanId, TokenBags)> =
        beans.iter().map(|bean| (bean.id.clone(), expander.expand(&bean.features))).collect();
    for bean in beans.iter().step_by(BEANS / CHECKED) {
        let list = index.snapshot().top_k(std::slice::from_ref(&bean.id)).remove(0);
        assert_eq!(list, Some(oracle_list(&bean.id, &expanded, &settings)), "{}", bean.id);
    }

    let mut group = criterion.benchmark_group("exact top-K among 10^4 beans");
    let mut ids = beans.iter().map(|bean| bean.id.clone()).cycle();
    let mut next = move || [ids.next().expect("a cycle has no end")];
    let snapshot = index.snapshot();
    group.bench_function("index", |bencher| {
        bencher.iter_batched(&mut next, |id| black_box(snapshot.top_k(&id)), BatchSize::SmallInput);
    });
    group.sample_size(10).bench_function("oracle", |bencher| {
        bencher.iter_batched(
            &mut next,
            |id| black_box(oracle_list(&id[0], &expanded, &settings)),
            BatchSize::PerIteration,
        );
    });
    group.finish();

    let changes: Vec<BeanChange> = beans
        .iter()
        .take(CHANGES)
        .map(|bean| BeanChange { id: bean.id.clone(), bean: Some(bean.clone()) })
        .collect();
    criterion.bench_function("apply 64 changes to 10^4 beans", |bencher| {
        bencher.iter_batched(|| changes.clone(), |c| index.apply(c), BatchSize::SmallInput);
    });
    let mut load = criterion.benchmark_group("load");
    load.sample_size(10).bench_function("10^4 beans", |bencher| {
        bencher.iter(|| black_box(loaded(&settings, &taxonomy, &beans)));
    });
}

criterion_group!(benches, scoring);
criterion_main!(benches);
