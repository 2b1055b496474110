//! Merges base and delta into a new base, without the beans, bags and tokens nobody has any more.
//!
//! Decides: new numbers for what is left. Never does: expand a bean again, or touch the old
//! snapshot, which its readers keep.

use super::base::BaseBuilder;
use super::delta::Delta;
use super::lexicon::{CompactBag, Lexicon};
use super::snapshot::Snapshot;
use std::sync::Arc;

/// No new number yet. Never a number itself: those count what 32 bits can count.
const NONE: u32 = u32::MAX;

/// The same catalogue with an empty delta.
pub(super) fn compacted(old: &Snapshot) -> Snapshot {
    let dimensions = old.lexicons.len();
    let mut base = BaseBuilder::new(dimensions);
    let mut lexicons: Vec<Renumbering<'_>> = old.lexicons.iter().map(Renumbering::new).collect();
    let mut bags: Vec<Vec<u32>> =
        old.base.columns().iter().map(|column| vec![NONE; column.len()]).collect();
    let mut row = vec![0; dimensions];
    let count = u32::try_from(old.base.len()).expect("a builder numbers beans in 32 bits");
    for position in (0..count).filter(|position| !old.delta.dead.contains(position)) {
        for d in 0..dimensions {
            let number = old.base.bag_number(position, d);
            let new = &mut bags[d][number as usize];
            if *new == NONE {
                *new = base.intern(d, lexicons[d].bag(old.base.columns()[d].bag(number)));
            }
            row[d] = *new;
        }
        base.push(old.base.id(position).clone(), old.base.name(position).cloned(), &row);
    }
    for (id, bean) in &old.delta.beans {
        for (d, bag) in bean.bags().into_iter().enumerate() {
            row[d] = base.intern(d, lexicons[d].bag(bag));
        }
        base.push(id.clone(), bean.name.clone(), &row);
    }
    let lexicons: Vec<Lexicon> = lexicons.into_iter().map(Renumbering::finish).collect();
    let tokens: Vec<usize> = lexicons.iter().map(Lexicon::len).collect();
    Snapshot {
        settings: old.settings.clone(),
        taxonomy: old.taxonomy.clone(),
        lexicons,
        base: Arc::new(base.finish(&tokens)),
        delta: Delta::default(),
    }
}

/// Gives the tokens still in use new numbers.
struct Renumbering<'l> {
    old: &'l Lexicon,
    new: Lexicon,
    numbers: Vec<u32>,
}

impl<'l> Renumbering<'l> {
    fn new(old: &'l Lexicon) -> Self {
        Self { old, new: Lexicon::default(), numbers: vec![NONE; old.len()] }
    }

    fn bag(&mut self, bag: &CompactBag) -> Box<CompactBag> {
        let mut renumbered: Box<CompactBag> = bag.into();
        for (token, _) in &mut renumbered {
            let new = &mut self.numbers[*token as usize];
            if *new == NONE {
                *new = self.new.intern(self.old.token(*token));
            }
            *token = *new;
        }
        renumbered.sort_unstable();
        renumbered
    }

    fn finish(mut self) -> Lexicon {
        self.new.freeze();
        self.new
    }
}
