//! The compiled-in files, and the sample catalogue that belongs to them.

use super::super::bean::{BeanId, Features, Value};
use super::super::dimension::{Dimension, Expansion, ScoreSettings};
use super::super::expansion::Expander;
use super::super::similarity::oracle_list;
use super::super::token::TokenBags;
use super::*;
use std::collections::BTreeSet;

#[test]
fn parents_stand_before_their_children_and_no_node_twice() {
    let seed = builtin_taxonomy();
    for tree in [&seed.regions, &seed.processing, &seed.wheel] {
        let mut seen: BTreeSet<&[String]> = BTreeSet::new();
        for node in tree {
            assert!(node.parent().is_empty() || seen.contains(node.parent()), "{node:?}");
            assert!(seen.insert(&node.path), "{node:?} stands twice");
        }
    }
    let mut seen = BTreeSet::new();
    for (variety, parents) in &seed.varieties {
        assert!(parents.iter().all(|parent| seen.contains(parent)), "{variety}");
        assert!(seen.insert(variety), "{variety} stands twice");
    }
}

#[test]
fn the_taxonomies_are_complete() {
    let seed = builtin_taxonomy();
    assert_eq!(seed.roast.len(), 5);
    assert_eq!(seed.wheel.len(), 110);
    assert!(seed.processing.iter().any(|node| node.path == ["Washed", "Double Washed"]));
    assert!(seed.regions.iter().any(|node| node.path == ["Africa", "Ethiopia", "Guji"]));
    assert!(seed.varieties.iter().any(|(name, _)| name == "Gesha"));
    // A country or region is found by "Country" or "Country/Name", so neither may be
    // ambiguous.
    let short: Vec<_> = seed.regions.iter().filter(|n| n.path.len() > 1).collect();
    let unique: BTreeSet<_> = short.iter().map(|n| &n.path[1..]).collect();
    assert_eq!(unique.len(), short.len());
}

#[test]
fn every_alias_leads_to_a_node_of_the_wheel() {
    let seed = builtin_taxonomy();
    let paths: BTreeSet<_> = seed.wheel.iter().map(|node| phrase::path(&node.path)).collect();
    assert_eq!(paths.len(), seed.wheel.len(), "two nodes have one path");
    let aliases = builtin_aliases();
    assert!(aliases.len() > 350);
    for (text, path) in &aliases {
        assert!(paths.contains(path), "{text} leads to {path}, which is no node");
    }
    assert_eq!(aliases["cassis"], "fruity.berry");
}

fn settings() -> ScoreSettings {
    let dimension = |name: &str, weight, prior, expansion| Dimension {
        name: name.into(),
        weight,
        prior,
        expansion,
    };
    let notes = Expansion::Notes { levels: vec![250, 500, 500], text: 500, word: 1000 };
    let pedigree = Expansion::Pedigree { generations: vec![1000, 1000, 500] };
    let roast = Expansion::Ordinal { own: 1000, neighbour: 500 };
    ScoreSettings {
        dimensions: vec![
            dimension("regions", 216, 70, Expansion::Tree { levels: vec![250, 1000, 1000] }),
            dimension("processing", 168, 370, Expansion::Tree { levels: vec![1000, 500] }),
            dimension("roast", 96, 690, roast),
            dimension("varieties", 120, 210, pedigree),
            dimension("notes", 400, 140, notes),
        ],
        aliases: Arc::new(builtin_aliases()),
        list_length: 20,
        minimum_ppm: 1,
    }
}

/// The raw values of a coffee of the sample, under taxonomies keyed by path.
fn features(coffee: &serde_json::Value, taxonomy: &Taxonomy) -> Features {
    let key = |d: usize, name: &str| -> Option<Value> {
        let nodes = taxonomy.dimensions[d].values();
        let named: Vec<_> = nodes.filter(|node| phrase::slug(&node.name) == name).collect();
        // A family may have a member of its own name (Floral, Honey): the deepest is meant.
        let node = named.into_iter().max_by_key(|node| node.key.matches('.').count())?;
        Some(Value::Node(node.key.clone()))
    };
    let fields = ["regions", "processing", "roast", "varieties", "notes"];
    let bags = fields.iter().enumerate().map(|(d, field)| {
        let values = texts(coffee, field).into_iter().map(|text| {
            let name = phrase::slug(text.rsplit('/').next().expect("a split has a part"));
            let whole = if d == 4 { phrase::slug(&text) } else { name };
            key(d, &whole).unwrap_or_else(|| Value::Text(text.into()))
        });
        values.collect()
    });
    Features { bags: bags.collect() }
}

/// The sample catalogue, a JSON value a line.
fn sample() -> Vec<serde_json::Value> {
    include_str!("../../../assets/sample/catalogue.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect()
}

fn texts(coffee: &serde_json::Value, field: &str) -> Vec<String> {
    let values = coffee[field].as_array().expect("a list");
    values.iter().map(|value| value.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn the_sample_holds_coffees_of_every_kind_with_uuids_and_known_values() {
    let seed = builtin_taxonomy();
    let names = |nodes: &[SeedNode], skip: usize| -> BTreeSet<String> {
        let long = nodes.iter().filter(|node| node.path.len() > skip);
        long.map(|node| node.path[skip..].join("/")).collect()
    };
    let regions = names(&seed.regions, 1);
    let processing: BTreeSet<String> =
        seed.processing.iter().map(|node| node.name().to_owned()).collect();
    let varieties: BTreeSet<_> = seed.varieties.iter().map(|(name, _)| name.clone()).collect();
    let roast: BTreeSet<_> = seed.roast.iter().cloned().collect();
    let known = [
        ("regions", regions),
        ("processing", processing),
        ("roast", roast),
        ("varieties", varieties),
    ];
    let coffees = sample();
    assert!(coffees.len() >= 240);
    let ids: BTreeSet<&str> =
        coffees.iter().map(|coffee| coffee["id"].as_str().expect("an id")).collect();
    assert_eq!(ids.len(), coffees.len());
    for id in ids {
        let uuid = uuid::Uuid::parse_str(id).expect("a UUID, so that PostgreSQL takes it");
        assert_eq!(uuid.hyphenated().to_string(), id);
    }
    for coffee in &coffees {
        for (field, known) in &known {
            let values = texts(coffee, field);
            assert!(values.iter().all(|value| known.contains(value)), "{coffee}");
        }
    }
    let fields = ["regions", "processing", "roast", "varieties", "notes"];
    for field in fields {
        assert!(coffees.iter().any(|coffee| texts(coffee, field).is_empty()), "{field}");
        assert!(field == "roast" || coffees.iter().any(|c| texts(c, field).len() > 1), "{field}");
    }
    let has_nothing = |c: &&serde_json::Value| fields.iter().all(|f| texts(c, f).is_empty());
    assert_eq!(coffees.iter().filter(has_nothing).count(), 1);
}

#[test]
fn taxonomies_keyed_by_path_lose_no_node() {
    let seed = builtin_taxonomy();
    let lengths: Vec<usize> = seed.keyed_by_path().dimensions.iter().map(BTreeMap::len).collect();
    let expected = [
        seed.regions.len(),
        seed.processing.len(),
        seed.roast.len(),
        seed.varieties.len(),
        seed.wheel.len(),
    ];
    assert_eq!(lengths, expected);
    for nodes in seed.keyed_by_path().dimensions {
        let parents = nodes.values().flat_map(|node| &node.parents);
        assert!(parents.into_iter().all(|parent| nodes.contains_key(parent)));
    }
}

#[test]
fn coffees_of_the_sample_are_most_similar_to_their_own_kind() {
    let (settings, taxonomy) = (Arc::new(settings()), builtin_taxonomy().keyed_by_path());
    let expander = Expander::new(settings.clone(), Arc::new(taxonomy.clone()));
    let id = |coffee: &serde_json::Value| -> BeanId {
        BeanId::parse(coffee["id"].as_str().expect("an id")).expect("an id")
    };
    let coffees = sample();
    let beans: Vec<(BeanId, TokenBags)> = coffees
        .iter()
        .map(|coffee| (id(coffee), expander.expand(&features(coffee, &taxonomy))))
        .collect();
    let names: BTreeMap<BeanId, &str> =
        coffees.iter().map(|c| (id(c), c["name"].as_str().expect("a name"))).collect();
    let kinds = [
        ("Kenya", "Washed"),
        ("Ethiopia", "Natural"),
        ("Indonesia", "Wet-Hulled"),
        ("Panama", ""),
        ("Brazil", "Natural"),
    ];
    for (country, method) in kinds {
        let of_kind = |name: &str| name.starts_with(country) && name.contains(method);
        let complete = coffees.iter().zip(&beans).find(|(coffee, (_, bags))| {
            of_kind(names[&id(coffee)]) && bags.bags.iter().all(|bag| !bag.is_empty())
        });
        let (_, (of, _)) = complete.expect("every kind has a coffee that lacks nothing");
        let list = oracle_list(of, &beans, &settings);
        let same = list.iter().take(5).filter(|similar| of_kind(names[&similar.bean])).count();
        assert!(same >= 4, "{country} {method}: {same} of the first five are of the kind");
    }
}
