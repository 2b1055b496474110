//! The definition, checked against numbers worked out by hand and against its own laws.

use super::super::dimension::Expansion;
use super::super::token::Token;
use super::*;
use proptest::prelude::*;
use std::sync::Arc;

fn settings(dimensions: &[(Milli, Milli)]) -> ScoreSettings {
    let dimensions = dimensions
        .iter()
        .enumerate()
        .map(|(d, (weight, prior))| Dimension {
            name: format!("d{d}"),
            weight: *weight,
            prior: *prior,
            expansion: Expansion::Flat,
        })
        .collect();
    ScoreSettings { dimensions, aliases: Arc::default(), list_length: 20, minimum_ppm: 1 }
}

fn bags(bags: &[&[(&str, Milli)]]) -> TokenBags {
    let bag = |tokens: &&[(&str, Milli)]| {
        tokens.iter().map(|(key, weight)| (Token::Node((*key).into()), *weight)).collect()
    };
    TokenBags { bags: bags.iter().map(bag).collect() }
}

#[test]
fn the_score_is_the_weighted_mean_of_the_overlaps_rounded_down() {
    let settings = settings(&[(600, 100), (400, 100)]);
    let a = bags(&[&[("x", 1000), ("y", 500)], &[("p", 1000)]]);
    let b = bags(&[&[("x", 250), ("z", 1000)], &[("p", 1000), ("q", 1000), ("r", 1000)]]);
    // I = 250, U = 1000 + 500 + 1000; then 1000 / 3000, rounded down.
    assert_eq!(term(&settings.dimensions[0], a.bag(0), b.bag(0)), Term::Measured(100_000));
    assert_eq!(term(&settings.dimensions[1], a.bag(1), b.bag(1)), Term::Measured(333_333));
    assert_eq!(score(&a, &b, &settings), (600 * 100_000 + 400 * 333_333) / 1000);
}

#[test]
fn a_dimension_one_bean_lacks_is_assumed_and_one_both_lack_is_left_out() {
    let settings = settings(&[(500, 70), (300, 370), (200, 690)]);
    let a = bags(&[&[("x", 1000)], &[], &[]]);
    let b = bags(&[&[("x", 1000)], &[("y", 1000)], &[]]);
    assert_eq!(score(&a, &b, &settings), (500 * 1_000_000 + 300 * 370_000) / 800);
    let explanation = explain(&a, &b, &settings, &Taxonomy::default());
    assert_eq!(explanation.ppm, score(&a, &b, &settings));
    let terms: Vec<_> = explanation
        .dimensions
        .iter()
        .map(|d| (d.name.as_str(), d.weight, d.ppm, d.measured))
        .collect();
    assert_eq!(terms, [("d0", 500, 1_000_000, true), ("d1", 300, 370_000, false)]);
}

#[test]
fn beans_with_nothing_score_zero_and_so_do_dimensions_without_weight() {
    let none = TokenBags::default();
    assert_eq!(score(&none, &none, &settings(&[(500, 70)])), 0);
    let x = bags(&[&[("x", 1000)]]);
    assert_eq!(score(&x, &x, &settings(&[(0, 70)])), 0);
    assert_eq!(score(&x, &none, &settings(&[(500, 70)])), 70_000);
}

#[test]
fn shared_tokens_stand_heaviest_first() {
    let settings = settings(&[(1000, 0)]);
    let a = bags(&[&[("a", 250), ("b", 1000), ("c", 1000), ("only", 1000)]]);
    let b = bags(&[&[("a", 1000), ("b", 500), ("c", 1000)]]);
    let explanation = explain(&a, &b, &settings, &Taxonomy::default());
    let shared: Vec<_> =
        explanation.dimensions[0].shared.iter().map(|s| (s.label.as_str(), s.weight)).collect();
    assert_eq!(shared, [("c", 1000), ("b", 500), ("a", 250)]);
}

#[test]
fn the_oracle_breaks_ties_by_id_and_leaves_the_bean_itself_out() {
    let settings = ScoreSettings { list_length: 2, ..settings(&[(1000, 0)]) };
    let id = |text: &str| BeanId::parse(text).expect("an id");
    let same = bags(&[&[("x", 1000)]]);
    let beans = ["c", "b", "a", "d"].map(|text| (id(text), same.clone()));
    let list = oracle_list(&id("b"), &beans, &settings);
    let ids: Vec<&str> = list.iter().map(|similar| similar.bean.as_str()).collect();
    assert_eq!(ids, ["a", "c"]);
    assert!(oracle_list(&id("gone"), &beans, &settings).is_empty());
}

fn any_bags() -> impl Strategy<Value = TokenBags> {
    let bag = proptest::collection::btree_map(0u8..12, 1u32..2000, 0..6);
    proptest::collection::vec(bag, 3).prop_map(|bags| TokenBags {
        bags: bags
            .into_iter()
            .map(|bag| {
                bag.into_iter().map(|(t, w)| (Token::Node(t.to_string().into()), w)).collect()
            })
            .collect(),
    })
}

proptest! {
    #[test]
    fn symmetric_within_bounds_and_one_with_itself(a in any_bags(), b in any_bags()) {
        let settings = settings(&[(216, 70), (384, 370), (400, 140)]);
        let ab = score(&a, &b, &settings);
        prop_assert_eq!(ab, score(&b, &a, &settings));
        prop_assert!(ab <= PPM);
        let has_any = a.bags.iter().any(|bag| !bag.is_empty());
        prop_assert_eq!(score(&a, &a, &settings), if has_any { PPM } else { 0 });
        let forth = explain(&a, &b, &settings, &Taxonomy::default());
        prop_assert_eq!(forth.ppm, ab);
        prop_assert_eq!(forth, explain(&b, &a, &settings, &Taxonomy::default()));
    }
}
