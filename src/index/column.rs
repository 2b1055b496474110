//! One dimension of the base: a dictionary of the distinct bags, and for each token the bags that
//! hold it.
//!
//! Decides: the layout; most beans share few distinct bags, so a query compares each bag once.
//! Never does: know which bean has which bag (see [`super::base`]).

use super::lexicon::CompactBag;
use crate::domain::dimension::Milli;
use rustc_hash::FxHashMap;

/// The number of the empty bag: the bean lacks the dimension.
pub(super) const EMPTY: u32 = 0;

/// The bags of one dimension; immutable.
#[derive(Debug, Default)]
pub(super) struct Column {
    /// `entries[starts[bag]..starts[bag + 1]]` is the bag.
    starts: Vec<usize>,
    entries: Vec<(u32, Milli)>,
    /// The weight of each whole bag.
    totals: Vec<u64>,
    /// `postings[posting_starts[token]..posting_starts[token + 1]]` are the bags with the token.
    posting_starts: Vec<usize>,
    postings: Vec<(u32, Milli)>,
}

impl Column {
    /// How many bags, the empty one included.
    pub(super) fn len(&self) -> usize {
        self.totals.len()
    }

    /// A bag.
    pub(super) fn bag(&self, bag: u32) -> &CompactBag {
        let bag = bag as usize;
        &self.entries[self.starts[bag]..self.starts[bag + 1]]
    }

    /// The weight of a whole bag.
    pub(super) fn total(&self, bag: usize) -> u64 {
        self.totals[bag]
    }

    /// The bags that hold a token, with its weight there; none for a token newer than the base.
    pub(super) fn postings(&self, token: u32) -> &[(u32, Milli)] {
        let token = token as usize;
        match (self.posting_starts.get(token), self.posting_starts.get(token + 1)) {
            (Some(start), Some(end)) => &self.postings[*start..*end],
            _ => &[],
        }
    }

    /// Approximate heap bytes.
    pub(super) fn bytes(&self) -> usize {
        let words = self.starts.len() + self.totals.len() + self.posting_starts.len();
        words * size_of::<u64>()
            + (self.entries.len() + self.postings.len()) * size_of::<(u32, Milli)>()
    }
}

/// Collects distinct bags.
#[derive(Debug)]
pub(super) struct ColumnBuilder {
    column: Column,
    numbers: FxHashMap<Box<CompactBag>, u32>,
}

impl ColumnBuilder {
    /// Starts with the empty bag as number [`EMPTY`].
    pub(super) fn new() -> Self {
        let column = Column { starts: vec![0, 0], totals: vec![0], ..Column::default() };
        Self { column, numbers: FxHashMap::from_iter([(Box::default(), EMPTY)]) }
    }

    /// The number of a bag; a new one where it is the first of its kind.
    pub(super) fn intern(&mut self, bag: Box<CompactBag>) -> u32 {
        if let Some(number) = self.numbers.get(&bag) {
            return *number;
        }
        let number =
            u32::try_from(self.column.len()).expect("memory ends before four thousand million");
        self.column.entries.extend_from_slice(&bag);
        self.column.starts.push(self.column.entries.len());
        self.column.totals.push(weight_of(&bag));
        self.numbers.insert(bag, number);
        number
    }

    /// Adds the postings of `tokens` tokens, by counting.
    pub(super) fn finish(self, tokens: usize) -> Column {
        let mut column = self.column;
        let mut starts = vec![0usize; tokens + 1];
        for (token, _) in &column.entries {
            starts[*token as usize + 1] += 1;
        }
        for token in 0..tokens {
            starts[token + 1] += starts[token];
        }
        let mut next = starts.clone();
        let mut postings = vec![(EMPTY, 0); column.entries.len()];
        for (number, range) in (0u32..).zip(column.starts.windows(2)) {
            for (token, weight) in &column.entries[range[0]..range[1]] {
                let place = &mut next[*token as usize];
                postings[*place] = (number, *weight);
                *place += 1;
            }
        }
        column.posting_starts = starts;
        column.postings = postings;
        column
    }
}

/// The weight of a whole bag.
pub(super) fn weight_of(bag: &CompactBag) -> u64 {
    bag.iter().map(|(_, weight)| u64::from(*weight)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bags_have_one_number_and_postings_name_every_bag_of_a_token() {
        let mut builder = ColumnBuilder::new();
        let one: Box<CompactBag> = Box::new([(0, 250), (2, 1000)]);
        let two: Box<CompactBag> = Box::new([(2, 500)]);
        assert_eq!(builder.intern(one.clone()), 1);
        assert_eq!(builder.intern(two), 2);
        assert_eq!(builder.intern(one.clone()), 1);
        assert_eq!(builder.intern(Box::default()), EMPTY);
        let column = builder.finish(4);
        assert_eq!(column.len(), 3);
        assert_eq!(column.bag(1), &*one);
        assert_eq!(column.total(1), 1250);
        assert_eq!(column.postings(2), [(1, 1000), (2, 500)]);
        assert_eq!(column.postings(1), []);
        assert_eq!(column.postings(99), []);
    }
}
