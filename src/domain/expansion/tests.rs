//! What each expansion yields, on small taxonomies written out by hand.

use super::*;
use std::collections::BTreeMap;

fn node(key: &str, name: &str, parents: &[&str], rank: Option<i64>) -> (Arc<str>, Node) {
    let parents = parents.iter().map(|parent| Arc::from(*parent)).collect();
    (key.into(), Node { key: key.into(), name: name.into(), parents, rank })
}

fn expander(expansion: Expansion, nodes: NodeMap, aliases: &[(&str, &str)]) -> Expander {
    let dimension = Dimension { name: "d".into(), weight: 1000, prior: 0, expansion };
    let aliases: BTreeMap<String, String> =
        aliases.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let settings = ScoreSettings {
        dimensions: vec![dimension],
        aliases: Arc::new(aliases),
        list_length: 20,
        minimum_ppm: 1,
    };
    Expander::new(Arc::new(settings), Arc::new(Taxonomy { dimensions: vec![nodes] }))
}

/// The bag as readable text: `n:` node, `t:` text, `w:` word.
fn expand(expander: &Expander, values: &[Value]) -> Vec<(String, Milli)> {
    let bags = expander.expand(&Features { bags: vec![values.to_vec()] });
    bags.bag(0)
        .iter()
        .map(|(token, weight)| {
            let text = match token {
                Token::Node(key) => format!("n:{key}"),
                Token::Text(text) => format!("t:{text}"),
                Token::Word(word) => format!("w:{word}"),
            };
            (text, *weight)
        })
        .collect()
}

fn bag(entries: &[(&str, Milli)]) -> Vec<(String, Milli)> {
    entries.iter().map(|(token, weight)| ((*token).to_owned(), *weight)).collect()
}

fn value(key: &str) -> Value {
    Value::Node(key.into())
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn wheel() -> NodeMap {
    NodeMap::from([
        node("1", "Fruity", &[], None),
        node("2", "Berry", &["1"], None),
        node("3", "Blackberry", &["2"], None),
        node("4", "Roasted", &[], None),
        node("5", "Brown, Roast", &["4"], None),
        node("6", "Floral", &[], None),
        node("7", "Floral", &["6"], None),
    ])
}

fn notes(aliases: &[(&str, &str)]) -> Expander {
    let levels = vec![250, 500, 500];
    expander(Expansion::Notes { levels, text: 500, word: 1000 }, wheel(), aliases)
}

#[test]
fn a_tree_weighs_ancestors_by_depth_and_deeper_nodes_like_the_last() {
    let expander = expander(Expansion::Tree { levels: vec![250, 1000] }, wheel(), &[]);
    let expected = bag(&[("n:1", 250), ("n:2", 1000), ("n:3", 1000)]);
    assert_eq!(expand(&expander, &[value("3")]), expected);
    assert_eq!(expand(&expander, &[value("3"), value("1"), value("2")]), expected);
    assert_eq!(expand(&expander, &[value("1")]), bag(&[("n:1", 250)]));
}

#[test]
fn a_scale_reaches_the_next_ranks_there_are() {
    let nodes = NodeMap::from([
        node("light", "Light", &[], Some(10)),
        node("medium", "Medium", &[], Some(20)),
        node("dark", "Dark", &[], Some(40)),
        node("espresso", "Espresso", &[], Some(40)),
        node("omni", "Omni", &[], None),
    ]);
    let expander = expander(Expansion::Ordinal { own: 1000, neighbour: 500 }, nodes, &[]);
    let medium = [("n:dark", 500), ("n:espresso", 500), ("n:light", 500), ("n:medium", 1000)];
    assert_eq!(expand(&expander, &[value("medium")]), bag(&medium));
    assert_eq!(expand(&expander, &[value("light")]), bag(&[("n:light", 1000), ("n:medium", 500)]));
    assert_eq!(
        expand(&expander, &[value("light"), value("medium")]),
        bag(&[("n:dark", 500), ("n:espresso", 500), ("n:light", 1000), ("n:medium", 1000)])
    );
    assert_eq!(expand(&expander, &[value("omni")]), bag(&[("n:omni", 1000)]));
}

#[test]
fn a_pedigree_weighs_by_generation_and_the_nearer_wins() {
    let nodes = NodeMap::from([
        node("typica", "Typica", &[], None),
        node("bourbon", "Bourbon", &[], None),
        node("caturra", "Caturra", &["bourbon"], None),
        node("mundo", "Mundo Novo", &["typica", "bourbon"], None),
        node("catuai", "Catuai", &["caturra", "mundo"], None),
        node("icatu", "Icatu", &["bourbon", "mundo", "gone"], None),
    ]);
    let generations = vec![1000, 800, 500];
    let expander = expander(Expansion::Pedigree { generations }, nodes, &[]);
    let catuai = [
        ("n:bourbon", 500),
        ("n:catuai", 1000),
        ("n:caturra", 800),
        ("n:mundo", 800),
        ("n:typica", 500),
    ];
    assert_eq!(expand(&expander, &[value("catuai")]), bag(&catuai));
    let icatu = [("n:bourbon", 800), ("n:icatu", 1000), ("n:mundo", 800), ("n:typica", 500)];
    assert_eq!(expand(&expander, &[value("icatu")]), bag(&icatu));
}

#[test]
fn cycles_of_parents_end() {
    let nodes = || {
        NodeMap::from([
            node("a", "A", &["b"], None),
            node("b", "B", &["a"], None),
            node("self", "Self", &["self"], None),
        ])
    };
    let tree = expander(Expansion::Tree { levels: vec![250, 1000] }, nodes(), &[]);
    assert_eq!(expand(&tree, &[value("a")]), bag(&[("n:a", 1000), ("n:b", 250)]));
    assert_eq!(expand(&tree, &[value("self")]), bag(&[("n:self", 250)]));
    let pedigree = expander(Expansion::Pedigree { generations: vec![9, 8, 7, 6] }, nodes(), &[]);
    assert_eq!(expand(&pedigree, &[value("a")]), bag(&[("n:a", 9), ("n:b", 8)]));
}

#[test]
fn a_wheel_node_brings_its_tree_and_its_own_words_only() {
    assert_eq!(
        expand(&notes(&[]), &[value("5")]),
        bag(&[("n:4", 250), ("n:5", 500), ("w:brown", 1000), ("w:roast", 1000)])
    );
}

#[test]
fn a_free_text_is_placed_by_exact_phrase_else_by_trailing_words() {
    let expander = notes(&[("cherry cola", "roasted"), ("jam", "fruity.berry")]);
    assert_eq!(
        expand(&expander, &[text("  Cherry  Cola ")]),
        bag(&[("n:4", 250), ("t:cherry cola", 500), ("w:cherry", 1000), ("w:cola", 1000)])
    );
    assert_eq!(
        expand(&expander, &[text("Wild Berry Jam")]),
        bag(&[
            ("n:1", 250),
            ("n:2", 500),
            ("t:wild berry jam", 500),
            ("w:berry", 1000),
            ("w:jam", 1000),
            ("w:wild", 1000),
        ])
    );
    assert_eq!(
        expand(&expander, &[text("jam session")]),
        bag(&[("t:jam session", 500), ("w:jam", 1000), ("w:session", 1000)])
    );
}

#[test]
fn node_names_are_aliases_unless_an_alias_says_otherwise() {
    let nodes = |expander: &Expander, note: &str| -> Vec<String> {
        let tokens = expand(expander, &[text(note)]).into_iter().map(|(token, _)| token);
        tokens.filter(|token| token.starts_with("n:")).collect()
    };
    assert_eq!(nodes(&notes(&[]), "blackberry"), ["n:1", "n:2", "n:3"]);
    assert_eq!(nodes(&notes(&[("Blackberry", "fruity")]), "blackberry"), ["n:1"]);
    assert_eq!(nodes(&notes(&[("crust", "roasted.brown-roast")]), "dark crust"), ["n:4", "n:5"]);
    // Of two nodes with one name the one nearer to the root is meant, or what an alias says.
    assert_eq!(nodes(&notes(&[]), "floral"), ["n:6"]);
    assert_eq!(nodes(&notes(&[("floral", "floral.floral")]), "floral"), ["n:6", "n:7"]);
    // An alias that leads nowhere is no alias.
    assert_eq!(nodes(&notes(&[("blackberry", "no.such")]), "blackberry"), ["n:1", "n:2", "n:3"]);
}

#[test]
fn an_empty_text_is_no_value() {
    assert_eq!(expand(&notes(&[]), &[text(" \t"), text("")]), bag(&[]));
    assert_eq!(expand(&expander(Expansion::Flat, wheel(), &[]), &[text(" ")]), bag(&[]));
}

#[test]
fn a_value_the_taxonomy_lacks_is_a_token_of_its_own() {
    assert_eq!(expand(&notes(&[]), &[value("99")]), bag(&[("n:99", 500)]));
    let tree = expander(Expansion::Tree { levels: vec![250, 700] }, wheel(), &[]);
    assert_eq!(
        expand(&tree, &[value("99"), text("Atlantis")]),
        bag(&[("n:99", 700), ("t:atlantis", 700)])
    );
    let flat = expander(Expansion::Flat, NodeMap::new(), &[]);
    assert_eq!(expand(&flat, &[value("x")]), bag(&[("n:x", 1000)]));
}

#[test]
fn more_or_fewer_bags_than_dimensions_do_no_harm() {
    let expander = notes(&[]);
    assert!(expander.expand(&Features::default()).bag(0).is_empty());
    let many = Features { bags: vec![vec![value("1")], vec![value("2")]] };
    assert_eq!(expander.expand(&many).bags.len(), 1);
}
