//! One immutable state of the catalogue: base, delta, and the numbers of their tokens.
//!
//! Decides: how base and delta answer as one. Never does: change, or wait for anyone.

use super::base::Base;
use super::delta::{Delta, DeltaBean};
use super::lexicon::{CompactBag, Lexicon};
use super::query::Query;
use super::{IndexSize, IndexSnapshot};
use crate::domain::bean::BeanId;
use crate::domain::dimension::{ScoreSettings, Taxonomy};
use crate::domain::ranking::{Similar, SimilarList, top_k};
use crate::domain::similarity::{Explanation, explain};
use crate::domain::token::TokenBags;
use std::fmt;
use std::sync::Arc;

/// One immutable state.
pub(super) struct Snapshot {
    pub(super) settings: Arc<ScoreSettings>,
    pub(super) taxonomy: Arc<Taxonomy>,
    /// One a dimension.
    pub(super) lexicons: Vec<Lexicon>,
    pub(super) base: Arc<Base>,
    pub(super) delta: Delta,
}

/// Where a bean stands.
enum Place<'s> {
    Base(u32),
    Delta(&'s DeltaBean),
}

impl Snapshot {
    fn find(&self, id: &BeanId) -> Option<Place<'_>> {
        if let Some(bean) = self.delta.beans.get(id) {
            return Some(Place::Delta(bean));
        }
        let position = self.base.position(id)?;
        (!self.delta.dead.contains(&position)).then_some(Place::Base(position))
    }

    fn bags<'s>(&'s self, place: &Place<'s>) -> Vec<&'s CompactBag> {
        match place {
            Place::Base(position) => self.base.bags(*position),
            Place::Delta(bean) => bean.bags(),
        }
    }

    fn list(&self, id: &BeanId) -> Option<SimilarList> {
        let place = self.find(id)?;
        let own = match place {
            Place::Base(position) => Some(position),
            Place::Delta(_) => None,
        };
        let settings = &self.settings;
        let query = Query::new(settings, self.bags(&place));
        let skip = |position: u32| Some(position) == own || self.delta.dead.contains(&position);
        let of_base = query
            .best_of_base(&self.base, settings.list_length, skip)
            .into_iter()
            .map(|(ppm, position)| Similar { bean: self.base.id(position).clone(), ppm });
        let of_delta = self
            .delta
            .beans
            .iter()
            .filter(|(other, _)| *other != id)
            .map(|(other, bean)| Similar { bean: other.clone(), ppm: query.score(bean) });
        let candidates = of_base.chain(of_delta).collect();
        Some(top_k(candidates, settings.list_length, settings.minimum_ppm))
    }

    fn token_bags(&self, place: &Place<'_>) -> TokenBags {
        let bags = self.bags(place).into_iter().zip(&self.lexicons);
        TokenBags { bags: bags.map(|(bag, lexicon)| lexicon.bag(bag)).collect() }
    }

    /// How large it is.
    pub(super) fn size(&self) -> IndexSize {
        let tokens = self.lexicons.iter().map(Lexicon::len).sum();
        let lexicons: usize = self.lexicons.iter().map(Lexicon::bytes).sum();
        let deltas = self.delta.beans.values().map(|bean| {
            let entries: usize = bean.bags().iter().map(|bag| size_of_val(*bag)).sum();
            entries + self.lexicons.len() * 3 * size_of::<usize>() + size_of::<DeltaBean>()
        });
        IndexSize {
            beans: self.base.len() - self.delta.dead.len() + self.delta.beans.len(),
            tokens,
            bytes: lexicons + self.base.bytes() + deltas.sum::<usize>(),
        }
    }
}

impl IndexSnapshot for Snapshot {
    fn top_k(&self, beans: &[BeanId]) -> Vec<Option<SimilarList>> {
        beans.iter().map(|id| self.list(id)).collect()
    }

    fn explain(&self, a: &BeanId, b: &BeanId) -> Option<Explanation> {
        let (a, b) = (self.token_bags(&self.find(a)?), self.token_bags(&self.find(b)?));
        Some(explain(&a, &b, &self.settings, &self.taxonomy))
    }

    fn name(&self, bean: &BeanId) -> Option<Arc<str>> {
        match self.find(bean)? {
            Place::Base(position) => self.base.name(position).cloned(),
            Place::Delta(bean) => bean.name.clone(),
        }
    }

    fn contains(&self, bean: &BeanId) -> bool {
        self.find(bean).is_some()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("base", &self.base.len())
            .field("changed", &self.delta.beans.len())
            .field("dead", &self.delta.dead.len())
            .finish_non_exhaustive()
    }
}
