//! A queue, a store and an index in memory, which fail as told.

use crate::domain::bean::BeanId;

mod catalogue;
mod queue;

pub(super) use catalogue::{TestIndex, TestStore};
pub(super) use queue::{MemoryQueue, Outcome};

pub(super) fn bean(n: usize) -> String {
    format!("bean-{n}")
}

fn id(n: usize) -> BeanId {
    BeanId::parse(&bean(n)).expect("a valid id")
}
