//! The index against the oracle: equal, bit for bit, whatever happened to the catalogue.

use super::*;
use crate::domain::bean::{Features, Value};
use crate::domain::dimension::{Dimension, Expansion, Node, ScoreSettings};
use crate::domain::expansion::Expander;
use crate::domain::similarity::{explain, oracle_list};
use crate::domain::token::TokenBags;
use proptest::prelude::*;
use std::collections::BTreeMap;

const K: usize = 5;

fn id(number: u32) -> BeanId {
    BeanId::parse(&format!("bean-{number}")).expect("an id")
}

fn settings(minimum_ppm: u32) -> Arc<ScoreSettings> {
    let dimension = |name: &str, weight, prior, expansion| Dimension {
        name: name.into(),
        weight,
        prior,
        expansion,
    };
    let dimensions = vec![
        dimension("regions", 216, 70, Expansion::Tree { levels: vec![250, 1000] }),
        dimension("roast", 96, 690, Expansion::Ordinal { own: 1000, neighbour: 500 }),
        dimension(
            "notes",
            400,
            140,
            Expansion::Notes { levels: vec![250, 500], text: 500, word: 1000 },
        ),
    ];
    Arc::new(ScoreSettings { dimensions, aliases: Arc::default(), list_length: K, minimum_ppm })
}

/// Ten nodes: 0 to 2 are roots, the others hang below them; each has a rank.
fn taxonomy() -> Taxonomy {
    let node = |n: u32| {
        let key: Arc<str> = n.to_string().into();
        let parents = if n < 3 { vec![] } else { vec![Arc::from((n % 3).to_string())] };
        let name = format!("node number {n}").into();
        (key.clone(), Node { key, name, parents, rank: Some(i64::from(n / 2)) })
    };
    Taxonomy { dimensions: vec![(0..10).map(node).collect(); 3] }
}

fn bean(number: u32, features: &Features) -> Bean {
    Bean { id: id(number), name: Some(format!("Bean {number}")), features: features.clone() }
}

/// Few distinct values, so that duplicates and ties are common; empty bags often.
fn any_features() -> impl Strategy<Value = Features> {
    let value = prop_oneof![
        4 => (0u32..12).prop_map(|n| Value::Node(n.to_string().into())),
        1 => (0u32..6).prop_map(|n| Value::Text(format!("jam number node {n}").into())),
        1 => Just(Value::Text("".into())),
    ];
    let bag = proptest::collection::vec(value, 0..4);
    proptest::collection::vec(bag, 3).prop_map(|bags| Features { bags })
}

type Catalogue = BTreeMap<BeanId, Features>;

fn expanded(settings: &Arc<ScoreSettings>, catalogue: &Catalogue) -> Vec<(BeanId, TokenBags)> {
    let expander = Expander::new(settings.clone(), Arc::new(taxonomy()));
    catalogue.iter().map(|(id, features)| (id.clone(), expander.expand(features))).collect()
}

/// Every list, name and explanation of the index equals what the definition says.
fn assert_equals_oracle(
    index: &CatalogueIndex,
    settings: &Arc<ScoreSettings>,
    catalogue: &Catalogue,
) {
    let beans = expanded(settings, catalogue);
    let snapshot = index.snapshot();
    let ids: Vec<BeanId> = catalogue.keys().cloned().collect();
    for (id, list) in ids.iter().zip(snapshot.top_k(&ids)) {
        assert_eq!(list, Some(oracle_list(id, &beans, settings)), "the list of {id}");
        assert!(snapshot.contains(id) && snapshot.name(id).is_some());
    }
    for ((a, ours), (b, theirs)) in beans.iter().zip(beans.iter().rev()) {
        let expected = explain(ours, theirs, settings, &taxonomy());
        assert_eq!(snapshot.explain(a, b), Some(expected));
    }
    assert_eq!(index.size().beans, catalogue.len());
}

fn rebuilt(settings: &Arc<ScoreSettings>, beans: &[(u32, Features)]) -> CatalogueIndex {
    let index = CatalogueIndex::new(settings.clone());
    let mut builder = index.builder(taxonomy());
    for (number, features) in beans {
        builder.add(bean(*number, features));
    }
    index.install(builder);
    index
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_loaded_index_equals_the_oracle(
        beans in proptest::collection::vec((0u32..40, any_features()), 0..60),
        minimum_ppm in prop_oneof![Just(0u32), Just(1), Just(300_000)],
    ) {
        let settings = settings(minimum_ppm);
        let catalogue =
            beans.iter().map(|(number, features)| (id(*number), features.clone())).collect();
        let index = rebuilt(&settings, &beans);
        assert_equals_oracle(&index, &settings, &catalogue);
    }

    #[test]
    fn any_sequence_of_changes_equals_a_rebuild(
        loaded in proptest::collection::vec((0u32..40, any_features()), 0..30),
        steps in proptest::collection::vec(
            proptest::collection::vec(
                (0u32..50, proptest::option::weighted(0.7, any_features())), 0..12),
            1..6),
        merge_after in 0usize..6,
    ) {
        let settings = settings(1);
        let mut catalogue: Catalogue =
            loaded.iter().map(|(number, features)| (id(*number), features.clone())).collect();
        let index = rebuilt(&settings, &loaded);
        for (step, changes) in steps.iter().enumerate() {
            for (number, features) in changes {
                match features {
                    Some(features) => catalogue.insert(id(*number), features.clone()),
                    None => catalogue.remove(&id(*number)),
                };
            }
            index.apply(changes.iter().map(|(n, f)| change(*n, f.as_ref())).collect());
            if step == merge_after {
                index.merge();
            }
            assert_equals_oracle(&index, &settings, &catalogue);
        }
        index.merge();
        assert_equals_oracle(&index, &settings, &catalogue);
    }

    #[test]
    fn permuting_ids_permutes_the_lists_except_at_ties(
        features in proptest::collection::vec(any_features(), 2..20),
        turn in 1usize..19,
    ) {
        let settings = Arc::new(ScoreSettings { list_length: 30, ..(*settings(1)).clone() });
        let numbered = |shift: usize| -> Vec<(u32, Features)> {
            (0u32..).zip(features.iter().cycle().skip(shift).take(features.len()).cloned())
                .collect()
        };
        let count = features.len();
        let turn = turn % count;
        let (straight, turned) =
            (rebuilt(&settings, &numbered(0)), rebuilt(&settings, &numbered(turn)));
        for number in 0..count {
            // Bean `i` of the turned catalogue is bean `i + turn` of the straight one.
            let there = id(u32::try_from((number + count - turn) % count).expect("small"));
            let here = id(u32::try_from(number).expect("small"));
            let scores = |index: &CatalogueIndex, id: &BeanId| -> Vec<u32> {
                let list = index.snapshot().top_k(std::slice::from_ref(id)).remove(0);
                list.expect("the bean is there").iter().map(|similar| similar.ppm).collect()
            };
            prop_assert_eq!(scores(&straight, &here), scores(&turned, &there));
        }
    }
}

fn change(number: u32, features: Option<&Features>) -> BeanChange {
    BeanChange { id: id(number), bean: features.map(|features| bean(number, features)) }
}

fn node_features(key: &str) -> Features {
    Features { bags: vec![vec![Value::Node(key.into())], vec![], vec![]] }
}

#[test]
fn an_unknown_bean_has_no_list_no_name_and_no_explanation() {
    let index = CatalogueIndex::new(settings(1));
    let snapshot = index.snapshot();
    assert_eq!(snapshot.top_k(&[id(1)]), [None]);
    assert!(!snapshot.contains(&id(1)));
    assert_eq!((snapshot.name(&id(1)), snapshot.explain(&id(1), &id(1))), (None, None));
    assert_eq!((index.size().beans, index.size().tokens), (0, 0));
}

#[test]
fn a_snapshot_never_changes_while_newer_ones_do() {
    let settings = settings(1);
    let index = rebuilt(&settings, &[(1, node_features("4")), (2, node_features("4"))]);
    let before = index.snapshot();
    index.apply(vec![change(2, None), change(3, Some(&node_features("4")))]);
    let after = index.snapshot();
    let names = |snapshot: &Arc<dyn IndexSnapshot>| -> Vec<String> {
        let list = snapshot.top_k(&[id(1)]).remove(0).expect("bean 1 is there");
        list.iter().map(|similar| similar.bean.to_string()).collect()
    };
    assert_eq!((names(&before), names(&after)), (vec![id(2).to_string()], vec![id(3).to_string()]));
    assert!(before.contains(&id(2)) && !after.contains(&id(2)));
}

#[test]
fn the_delta_is_merged_once_it_passes_its_bound_and_its_garbage_goes() {
    let settings = settings(1);
    let index = rebuilt(&settings, &[]);
    let features = |round: u32| Features {
        bags: vec![
            vec![Value::Node("4".into())],
            vec![],
            vec![Value::Text(format!("word{}", "x".repeat(round as usize)).into())],
        ],
    };
    for round in 0..40 {
        let changes = (0..50).map(|number| change(number, Some(&features(round)))).collect();
        index.apply(changes);
        assert!(index.delta_len() <= 257, "the delta holds {}", index.delta_len());
    }
    index.apply((10..50).map(|number| change(number, None)).collect());
    index.merge();
    assert_eq!(index.delta_len(), 0);
    // Node 4 and its root; the last text and its word.
    assert_eq!((index.size().beans, index.size().tokens), (10, 4));
    assert!(index.size().bytes > 0);
}

#[test]
fn an_index_without_dimensions_finds_nothing_to_compare() {
    let settings = Arc::new(ScoreSettings {
        dimensions: vec![],
        aliases: Arc::default(),
        list_length: K,
        minimum_ppm: 0,
    });
    let index = rebuilt(&settings, &[(1, Features::default()), (2, Features::default())]);
    let list = index.snapshot().top_k(&[id(1)]).remove(0).expect("bean 1 is there");
    assert_eq!(list.iter().map(|similar| similar.ppm).collect::<Vec<_>>(), [0]);
}

#[test]
fn writers_take_turns_and_lose_nothing_while_readers_go_on() {
    const WRITERS: u32 = 4;
    const EACH: u32 = 150;
    let settings = settings(1);
    let index = rebuilt(&settings, &[(0, node_features("4"))]);
    let start = std::sync::Barrier::new(WRITERS as usize + 1);
    std::thread::scope(|scope| {
        let spawn = |writer: u32| {
            let (index, start) = (&index, &start);
            scope.spawn(move || {
                start.wait();
                for number in 0..EACH {
                    let number = 1 + writer * EACH + number;
                    index.apply(vec![change(number, Some(&node_features("4")))]);
                }
            })
        };
        let writers: Vec<_> = (0..WRITERS).map(spawn).collect();
        start.wait();
        let mut beans = 0;
        while !writers.iter().all(|writer| writer.is_finished()) {
            let list = index.snapshot().top_k(&[id(0)]).remove(0).expect("bean 0 is there");
            assert!(list.iter().all(|similar| similar.ppm == 1_000_000));
            let now = index.size().beans;
            assert!(now >= beans, "a change was lost");
            beans = now;
        }
    });
    let catalogue = (0..=WRITERS * EACH).map(|number| (id(number), node_features("4"))).collect();
    assert_equals_oracle(&index, &settings, &catalogue);
}

#[test]
fn a_millionth_decides_who_enters_a_full_list_and_who_reaches_the_minimum() {
    let dimension = |name: &str, weight| Dimension {
        name: name.into(),
        weight,
        prior: 0,
        expansion: Expansion::Flat,
    };
    let node = |key: &str| vec![Value::Node(key.into())];
    let features = |second: &str| Features { bags: vec![node("same"), node(second)] };
    // Bean 1 shares all but a millionth with bean 0, bean 2 everything, bean 3 as bean 1.
    let beans = ["x", "other", "x", "third"];
    let beans: Vec<_> = (0..).zip(beans.iter().map(|second| features(second))).collect();
    let ppm_of = |list_length, minimum_ppm| -> Vec<(String, u32)> {
        let settings = ScoreSettings {
            dimensions: vec![dimension("heavy", 999_999), dimension("light", 1)],
            aliases: Arc::default(),
            list_length,
            minimum_ppm,
        };
        let index = rebuilt(&Arc::new(settings), &beans);
        let list = index.snapshot().top_k(&[id(0)]).remove(0).expect("bean 0 is there");
        list.iter().map(|similar| (similar.bean.to_string(), similar.ppm)).collect()
    };
    let (one, two, three) = (
        ("bean-1".to_owned(), 999_999),
        ("bean-2".to_owned(), 1_000_000),
        ("bean-3".to_owned(), 999_999),
    );
    assert_eq!(ppm_of(1, 0), std::slice::from_ref(&two));
    assert_eq!(ppm_of(2, 0), [two.clone(), one.clone()]);
    assert_eq!(ppm_of(9, 999_999), [two.clone(), one, three]);
    assert_eq!(ppm_of(9, 1_000_000), [two]);
}
