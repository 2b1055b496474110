//! Catalogues for acceptance tests: seeded, skewed, with shared regions and missing dimensions.
//!
//! Decides: what the beans of a test look like. Never does: talk to a server.

use serde_json::{Value, json};

const REGIONS: [&str; 8] = [
    "Ethiopia/Guji",
    "Ethiopia/Yirgacheffe",
    "Kenya/Nyeri",
    "Colombia/Huila",
    "Brazil",
    "Guatemala/Antigua",
    "Costa Rica/Tarrazu",
    "Rwanda",
];
const PROCESSING: [&str; 4] = ["Washed", "Natural", "Honey", "Anaerobic"];
const ROAST: [&str; 4] = ["Light", "Medium-Light", "Medium", "Dark"];
const VARIETIES: [&str; 6] = ["Bourbon", "Typica", "Caturra", "SL28", "Geisha", "Red Bourbon"];
const NOTES: [&str; 12] = [
    "Blackberry",
    "Blueberry",
    "Lemon",
    "Jasmine",
    "Caramelized",
    "Dark Chocolate",
    "Hazelnut",
    "cherry cola",
    "grandma's plum jam",
    "ripe peach",
    "black tea",
    "something unheard of",
];

/// A bean of a test's catalogue, as a line that `cupping import` reads.
#[derive(Debug, Clone)]
pub(crate) struct TestBean {
    /// Its id, a UUID.
    pub(crate) id: String,
    /// The JSON line.
    pub(crate) line: String,
}

/// `count` beans from a seed; the same seed gives the same beans.
pub(crate) fn beans(count: usize, seed: u64) -> Vec<TestBean> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| bean(&mut random, None)).collect()
}

/// The same bean with other values.
pub(crate) fn changed(bean_before: &TestBean, seed: u64) -> TestBean {
    bean(&mut fastrand::Rng::with_seed(seed), Some(bean_before.id.clone()))
}

/// The lines of many beans, as one file.
pub(crate) fn lines(beans: &[TestBean]) -> String {
    beans.iter().map(|bean| format!("{}\n", bean.line)).collect()
}

/// The ids of many beans, one a line.
pub(crate) fn ids(beans: &[TestBean]) -> String {
    beans.iter().map(|bean| format!("{}\n", bean.id)).collect()
}

fn bean(random: &mut fastrand::Rng, id: Option<String>) -> TestBean {
    let id = id
        .unwrap_or_else(|| uuid::Builder::from_random_bytes(bytes(random)).into_uuid().to_string());
    let number = random.u32(..100_000);
    let line = json!({
        "id": id,
        "name": format!("Test bean {number}"),
        "roaster": "Acceptance Roasters",
        "regions": some_of(random, &REGIONS, 2),
        "processing": some_of(random, &PROCESSING, 1),
        "roast": some_of(random, &ROAST, 1),
        "varieties": some_of(random, &VARIETIES, 2),
        "notes": some_of(random, &NOTES, 4),
    });
    TestBean { id, line: line.to_string() }
}

fn bytes(random: &mut fastrand::Rng) -> [u8; 16] {
    random.u128(..).to_be_bytes()
}

/// Up to `most` of the values, the first ones far more often; nothing at all one time in eight.
fn some_of(random: &mut fastrand::Rng, values: &[&str], most: usize) -> Vec<Value> {
    if random.u8(..8) == 0 {
        return Vec::new();
    }
    let count = random.usize(1..=most);
    let mut chosen = std::collections::BTreeSet::new();
    for _ in 0..count {
        let skewed = random.usize(..values.len()).min(random.usize(..values.len()));
        chosen.insert(values[skewed]);
    }
    chosen.into_iter().map(Value::from).collect()
}
