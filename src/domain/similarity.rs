//! Owned by the core track.

/// Why two beans are as similar as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The score, parts per million.
    pub ppm: u32,
    /// One entry a dimension that at least one of the beans has, in configured order.
    pub dimensions: Vec<DimensionScore>,
}

/// One dimension's part in a score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DimensionScore {
    /// The dimension's name.
    pub name: String,
    /// Its weight, thousandths.
    pub weight: u32,
    /// `t_d`, parts per million.
    pub ppm: u32,
    /// Whether it was measured (both beans have it) or assumed (exactly one has: the prior).
    pub measured: bool,
    /// Tokens both beans have, with the smaller weight (thousandths); heaviest first.
    pub shared: Vec<SharedToken>,
}

/// A token both beans have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedToken {
    /// Its text, for people: `Ethiopia`, `word "cherry"`.
    pub label: String,
    /// The smaller of its two weights, thousandths.
    pub weight: u32,
}
