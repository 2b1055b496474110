//! The score of two beans: the definition, and the oracle that every faster path must equal.
//!
//! Decides: how similar two beans are, and why. Never does: hurry (see `index` for that).
//!
//! ```text
//! s_d(a, b) = Σ_x min(A_x, B_x) / Σ_x max(A_x, B_x)   over the expanded bags A, B of dimension d
//! t_d       = s_d where both beans have d; the prior μ_d where exactly one has; else left out
//! score     = Σ w_d t_d / Σ w_d                       over the dimensions at least one bean has
//! ```
//!
//! All of it in integers, rounded down: `t_d` and the score are parts per million, so that every
//! path, machine and worker gets the same bits. The score depends on the two beans and the
//! settings alone: a stored score never goes stale because a third bean appears.

use super::bean::BeanId;
use super::dimension::{Dimension, Milli, ScoreSettings, Taxonomy};
use super::ranking::{PPM, Similar, SimilarList, top_k};
use super::token::{TokenBag, TokenBags};

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

/// What one dimension contributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term {
    /// Both beans have it: `floor(10⁶ · I / U)`.
    Measured(u32),
    /// Exactly one has it: the prior, in parts per million.
    Assumed(u32),
    /// Neither has it: left out.
    Absent,
}

/// The score of two beans, parts per million; 0 where neither has any dimension.
#[must_use]
pub fn score(a: &TokenBags, b: &TokenBags, settings: &ScoreSettings) -> u32 {
    let mut weighted = 0;
    let mut weights = 0;
    for (d, dimension) in settings.dimensions.iter().enumerate() {
        match term(dimension, a.bag(d), b.bag(d)) {
            Term::Measured(ppm) | Term::Assumed(ppm) => {
                weighted += u64::from(dimension.weight) * u64::from(ppm);
                weights += u64::from(dimension.weight);
            }
            Term::Absent => {}
        }
    }
    mean(weighted, weights)
}

/// `t_d` of two bags.
#[must_use]
pub fn term(dimension: &Dimension, a: &TokenBag, b: &TokenBag) -> Term {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => Term::Absent,
        (true, false) | (false, true) => Term::Assumed(prior_ppm(dimension)),
        (false, false) => Term::Measured(overlap(intersection(a, b), total(a) + total(b))),
    }
}

/// The prior of a dimension, parts per million; at most one.
#[must_use]
pub fn prior_ppm(dimension: &Dimension) -> u32 {
    dimension.prior.min(1000) * (PPM / 1000)
}

/// `floor(10⁶ · I / U)`, with `U = A + B − I`: of two weights the larger is their sum less the
/// smaller. 0 where the union is empty.
///
/// `both` is the sum of both bags. No overflow: a bag would have to weigh more than 10⁷ whole
/// tokens.
#[must_use]
pub fn overlap(intersection: u64, both: u64) -> u32 {
    let union = both - intersection;
    let ppm = (u64::from(PPM) * intersection).checked_div(union).unwrap_or(0);
    u32::try_from(ppm).expect("an intersection is at most its union")
}

/// `floor(Σ w_d t_d / Σ w_d)`; 0 where no dimension has a weight.
#[must_use]
pub fn mean(weighted: u64, weights: u64) -> u32 {
    let ppm = weighted.checked_div(weights).unwrap_or(0);
    u32::try_from(ppm).expect("a mean of values up to one million is at most one million")
}

/// The score with its reasons: per dimension the term and the shared tokens, heaviest first.
#[must_use]
pub fn explain(
    a: &TokenBags,
    b: &TokenBags,
    settings: &ScoreSettings,
    taxonomy: &Taxonomy,
) -> Explanation {
    let mut dimensions = Vec::new();
    for (d, dimension) in settings.dimensions.iter().enumerate() {
        let (ppm, measured) = match term(dimension, a.bag(d), b.bag(d)) {
            Term::Measured(ppm) => (ppm, true),
            Term::Assumed(ppm) => (ppm, false),
            Term::Absent => continue,
        };
        let nodes = taxonomy.dimensions.get(d);
        let mut shared: Vec<SharedToken> = common(a.bag(d), b.bag(d))
            .map(|(token, weight)| SharedToken { label: token.label(nodes), weight })
            .collect();
        shared.sort_by(|x, y| y.weight.cmp(&x.weight).then_with(|| x.label.cmp(&y.label)));
        let (name, weight) = (dimension.name.clone(), dimension.weight);
        dimensions.push(DimensionScore { name, weight, ppm, measured, shared });
    }
    Explanation { ppm: score(a, b, settings), dimensions }
}

/// The list of one bean by comparing it with every other: the oracle of every index.
#[must_use]
pub fn oracle_list(
    of: &BeanId,
    beans: &[(BeanId, TokenBags)],
    settings: &ScoreSettings,
) -> SimilarList {
    let Some((_, bags)) = beans.iter().find(|(id, _)| id == of) else {
        return SimilarList::new();
    };
    let candidates = beans
        .iter()
        .filter(|(id, _)| id != of)
        .map(|(id, other)| Similar { bean: id.clone(), ppm: score(bags, other, settings) })
        .collect();
    top_k(candidates, settings.list_length, settings.minimum_ppm)
}

fn common<'b>(
    a: &'b TokenBag,
    b: &'b TokenBag,
) -> impl Iterator<Item = (&'b super::token::Token, Milli)> {
    a.iter().filter_map(|(token, weight)| Some((token, *weight.min(b.get(token)?))))
}

fn intersection(a: &TokenBag, b: &TokenBag) -> u64 {
    common(a, b).map(|(_, weight)| u64::from(weight)).sum()
}

fn total(bag: &TokenBag) -> u64 {
    bag.values().map(|weight| u64::from(*weight)).sum()
}

#[cfg(test)]
mod tests;
