//! One query: a bean's bags against everything, exactly.
//!
//! Decides: how the score of `domain::similarity` is computed fast: each distinct bag is compared
//! once, then a bean costs one addition a dimension, and a division only if it may enter the list.
//! Never does: approximate; a property test holds it equal to the oracle, bit for bit.

use super::base::Base;
use super::column::{EMPTY, weight_of};
use super::delta::DeltaBean;
use super::lexicon::CompactBag;
use crate::domain::dimension::ScoreSettings;
use crate::domain::similarity::{mean, overlap, prior_ppm};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A bean that others are compared with.
pub(super) struct Query<'q> {
    settings: &'q ScoreSettings,
    /// Its bags with the weight of each whole.
    bags: Vec<(&'q CompactBag, u64)>,
}

/// What a query gives for every bag and every shape of a base.
struct Tables {
    /// `w_d · t_d` by place in a table over all dimensions' bags.
    gains: Vec<u64>,
    /// `Σ w_d` by shape.
    weights: Vec<u64>,
}

impl<'q> Query<'q> {
    pub(super) fn new(settings: &'q ScoreSettings, bags: Vec<&'q CompactBag>) -> Self {
        let bags = bags.into_iter().map(|bag| (bag, weight_of(bag))).collect();
        Self { settings, bags }
    }

    /// The best `k` beans of the base that reach the minimum, as (ppm, position), in no order.
    /// `skip` is asked only about beans that would enter.
    pub(super) fn best_of_base(
        &self,
        base: &Base,
        k: usize,
        skip: impl Fn(u32) -> bool,
    ) -> Vec<(u32, u32)> {
        if k == 0 {
            return Vec::new();
        }
        let tables = self.tables(base);
        // The worst on top: the lowest score, of equals the largest position, which is the
        // largest id. Positions ascend, so a newcomer must beat the worst by score.
        let mut best: BinaryHeap<(Reverse<u32>, u32)> =
            BinaryHeap::with_capacity(k.min(base.len()) + 1);
        let mut needed = self.settings.minimum_ppm;
        for (position, (row, shape)) in (0u32..).zip(base.rows()) {
            let weighted: u64 = row.iter().map(|cell| tables.gains[*cell as usize]).sum();
            let weights = tables.weights[shape as usize];
            // floor(weighted / weights) ≥ needed, without the division.
            if weighted < u64::from(needed) * weights || skip(position) {
                continue;
            }
            let ppm = mean(weighted, weights);
            if ppm < needed {
                continue;
            }
            best.push((Reverse(ppm), position));
            if best.len() > k {
                best.pop();
            }
            if let (true, Some((Reverse(worst), _))) = (best.len() == k, best.peek()) {
                needed = worst + 1;
            }
        }
        best.into_iter().map(|(Reverse(ppm), position)| (ppm, position)).collect()
    }

    fn tables(&self, base: &Base) -> Tables {
        let mut gains = vec![0; base.table_len()];
        for (d, column) in base.columns().iter().enumerate() {
            let start = base.offset(d);
            self.fill(d, base, &mut gains[start..start + column.len()]);
        }
        let weight = |shape: &[bool]| {
            let dimensions = self.settings.dimensions.iter().zip(&self.bags).zip(shape);
            dimensions
                .filter(|((_, (bag, _)), has)| **has || !bag.is_empty())
                .map(|((dimension, _), _)| u64::from(dimension.weight))
                .sum()
        };
        let weights = base.shape_list().iter().map(|shape| weight(shape)).collect();
        Tables { gains, weights }
    }

    /// `w_d · t_d` for every bag of one dimension.
    fn fill(&self, d: usize, base: &Base, gains: &mut [u64]) {
        let dimension = &self.settings.dimensions[d];
        let weight = u64::from(dimension.weight);
        let assumed = weight * u64::from(prior_ppm(dimension));
        let (bag, total) = self.bags[d];
        if bag.is_empty() {
            gains.fill(assumed);
            gains[EMPTY as usize] = 0;
            return;
        }
        let column = &base.columns()[d];
        for (token, own) in bag {
            for (other, held) in column.postings(*token) {
                gains[*other as usize] += u64::from(*own.min(held));
            }
        }
        for (other, gain) in gains.iter_mut().enumerate().filter(|(_, gain)| **gain > 0) {
            *gain = weight * u64::from(overlap(*gain, total + column.total(other)));
        }
        gains[EMPTY as usize] = assumed;
    }

    /// The score of one bean of the delta.
    pub(super) fn score(&self, bean: &DeltaBean) -> u32 {
        let mut weighted = 0;
        let mut weights = 0;
        for (d, (dimension, (bag, total))) in
            self.settings.dimensions.iter().zip(&self.bags).enumerate()
        {
            let (other, other_total) = bean.bag(d);
            let ppm = match (bag.is_empty(), other.is_empty()) {
                (true, true) => continue,
                (false, false) => overlap(intersection(bag, other), total + other_total),
                _ => prior_ppm(dimension),
            };
            weighted += u64::from(dimension.weight) * u64::from(ppm);
            weights += u64::from(dimension.weight);
        }
        mean(weighted, weights)
    }
}

/// `Σ min` over the tokens of two bags, both ascending by token.
fn intersection(a: &CompactBag, b: &CompactBag) -> u64 {
    let (mut i, mut j, mut sum) = (0, 0, 0);
    while let (Some((x, own)), Some((y, held))) = (a.get(i), b.get(j)) {
        match x.cmp(y) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                sum += u64::from(*own.min(held));
                i += 1;
                j += 1;
            }
        }
    }
    sum
}
