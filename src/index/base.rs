//! The immutable bulk of a snapshot: every bean as a row of bag numbers.
//!
//! Decides: the order of the rows (by id, so that the smaller of two positions is the smaller of
//! two ids), and which beans lack which dimensions. Never does: change.

use super::column::{Column, ColumnBuilder, EMPTY};
use super::lexicon::CompactBag;
use crate::domain::bean::BeanId;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// The beans, laid out for scoring.
#[derive(Debug, Default)]
pub(super) struct Base {
    /// Ascending.
    ids: Vec<BeanId>,
    names: Vec<Option<Arc<str>>>,
    columns: Vec<Column>,
    /// Where each dimension's bags start in a table over all dimensions' bags; then their number.
    offsets: Vec<u32>,
    /// `cells[i * dimensions + d]` is the bag of bean `i` in dimension `d`, offset included.
    cells: Vec<u32>,
    /// `shapes[i]` is the place in `shape_list` of what bean `i` has.
    shapes: Vec<u32>,
    /// Distinct combinations of dimensions that beans have; `[s][d]`.
    shape_list: Vec<Box<[bool]>>,
}

impl Base {
    /// How many beans.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The position of a bean.
    pub(super) fn position(&self, id: &BeanId) -> Option<u32> {
        let position = self.ids.binary_search(id).ok()?;
        Some(u32::try_from(position).expect("a builder numbers beans in 32 bits"))
    }

    /// The id at a position.
    pub(super) fn id(&self, position: u32) -> &BeanId {
        &self.ids[position as usize]
    }

    /// The name at a position.
    pub(super) fn name(&self, position: u32) -> Option<&Arc<str>> {
        self.names[position as usize].as_ref()
    }

    /// The columns, in the order of the dimensions.
    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Where a dimension's bags start in a table over all dimensions' bags.
    pub(super) fn offset(&self, dimension: usize) -> usize {
        self.offsets[dimension] as usize
    }

    /// The length of a table over all dimensions' bags.
    pub(super) fn table_len(&self) -> usize {
        self.columns.iter().map(Column::len).sum()
    }

    /// The row of a bean: one place in such a table a dimension.
    pub(super) fn row(&self, position: u32) -> &[u32] {
        let start = position as usize * self.columns.len();
        &self.cells[start..start + self.columns.len()]
    }

    /// Every row with its shape, in order of position.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&[u32], u32)> {
        let shapes = self.shapes.iter().copied();
        // Without dimensions every row is empty; chunks of zero do not exist.
        let rows = self.cells.chunks_exact(self.columns.len().max(1));
        rows.chain(std::iter::repeat(&[][..])).zip(shapes)
    }

    /// The combinations of dimensions that beans have.
    pub(super) fn shape_list(&self) -> &[Box<[bool]>] {
        &self.shape_list
    }

    /// The number of a bean's bag in a dimension.
    pub(super) fn bag_number(&self, position: u32, dimension: usize) -> u32 {
        self.row(position)[dimension] - self.offsets[dimension]
    }

    /// The bags of a bean.
    pub(super) fn bags(&self, position: u32) -> Vec<&CompactBag> {
        let columns = self.columns.iter().enumerate();
        columns.map(|(d, column)| column.bag(self.bag_number(position, d))).collect()
    }

    /// Approximate heap bytes.
    pub(super) fn bytes(&self) -> usize {
        let text = |text: &str| text.len() + 2 * size_of::<usize>();
        self.columns.iter().map(Column::bytes).sum::<usize>()
            + (self.cells.len() + self.shapes.len()) * size_of::<u32>()
            + self.ids.iter().map(|id| size_of::<BeanId>() + text(id.as_str())).sum::<usize>()
            + self.names.len() * size_of::<Option<Arc<str>>>()
            + self.names.iter().flatten().map(|name| text(name)).sum::<usize>()
    }
}

/// Collects beans for a base.
#[derive(Debug)]
pub(super) struct BaseBuilder {
    columns: Vec<ColumnBuilder>,
    beans: Vec<(BeanId, Option<Arc<str>>)>,
    /// Bag numbers without offsets, a row a bean in the order added.
    cells: Vec<u32>,
}

impl BaseBuilder {
    /// For this many dimensions.
    pub(super) fn new(dimensions: usize) -> Self {
        let columns = (0..dimensions).map(|_| ColumnBuilder::new()).collect();
        Self { columns, beans: Vec::new(), cells: Vec::new() }
    }

    /// The number of a bag in a dimension.
    pub(super) fn intern(&mut self, dimension: usize, bag: Box<CompactBag>) -> u32 {
        self.columns[dimension].intern(bag)
    }

    /// Adds a bean by the numbers of its bags; of two with one id the last one stands.
    pub(super) fn push(&mut self, id: BeanId, name: Option<Arc<str>>, bags: &[u32]) {
        debug_assert_eq!(bags.len(), self.columns.len());
        self.beans.push((id, name));
        self.cells.extend_from_slice(bags);
    }

    /// How many times a bean was added.
    pub(super) fn len(&self) -> usize {
        self.beans.len()
    }

    /// Sorts, drops earlier duplicates, and numbers the shapes. `tokens[d]`: how many there are.
    pub(super) fn finish(self, tokens: &[usize]) -> Base {
        let dimensions = self.columns.len();
        let columns: Vec<Column> = self
            .columns
            .into_iter()
            .zip(tokens)
            .map(|(column, tokens)| column.finish(*tokens))
            .collect();
        let mut base = Base { offsets: offsets(&columns), columns, ..Base::default() };
        let mut beans: Vec<_> = self.beans.into_iter().enumerate().collect();
        beans.sort_unstable_by(|(i, (a, _)), (j, (b, _))| a.cmp(b).then(j.cmp(i)));
        beans.dedup_by(|(_, (later, _)), (_, (kept, _))| later == kept);
        u32::try_from(beans.len()).expect("memory ends before four thousand million beans");

        let mut shapes: FxHashMap<Box<[bool]>, u32> = FxHashMap::default();
        for (added, (id, name)) in beans {
            let row = &self.cells[added * dimensions..(added + 1) * dimensions];
            let has: Box<[bool]> = row.iter().map(|bag| *bag != EMPTY).collect();
            let fresh = u32::try_from(shapes.len()).expect("no more shapes than beans");
            base.shapes.push(*shapes.entry(has.clone()).or_insert(fresh));
            if shapes.len() > base.shape_list.len() {
                base.shape_list.push(has);
            }
            base.cells.extend(row.iter().zip(&base.offsets).map(|(bag, offset)| offset + bag));
            base.ids.push(id);
            base.names.push(name);
        }
        base
    }
}

/// The running sum of the columns' lengths.
fn offsets(columns: &[Column]) -> Vec<u32> {
    let mut at: u32 = 0;
    let mut offsets = Vec::with_capacity(columns.len());
    for column in columns {
        offsets.push(at);
        let len = u32::try_from(column.len()).ok();
        at = len
            .and_then(|len| at.checked_add(len))
            .expect("memory ends before four thousand million bags");
    }
    offsets
}
