//! Work divided by id among workers who need not talk to one another.
//!
//! Decides: which part an id belongs to, the same in Rust and in every database. Never does: lock.

use crate::txn::dialect::Family;

/// 2³¹ − 1, a prime: ids are taken modulo this, so that no product leaves 64 bits.
const PRIME: i64 = 0x7fff_ffff;
/// Spreads ids that lie close together, or a fixed step apart.
const FACTOR: i64 = 1_103_515_245;
/// The low bits are the weak ones.
const SHIFT: i64 = 65_536;

/// Most parts: beyond it they would differ noticeably in size.
const MOST: u32 = 1024;

/// One of several equal parts of all integer ids.
///
/// ```
/// use cupping::txn::Partition;
///
/// let parts: Result<Vec<Partition>, _> = (0..3).map(|n| Partition::new(3, n)).collect();
/// let holding = parts?.into_iter().filter(|part| part.contains(17)).count();
/// assert_eq!(holding, 1, "each id belongs to one part");
/// # Ok::<(), cupping::txn::NoSuchPart>(())
/// ```
///
/// # Hazards
/// All workers must agree on the number of parts. While it changes, two may work on the same id:
/// dividing saves waiting, it does not exclude. Claim as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    of: u32,
    index: u32,
}

/// There is no such part.
///
/// ```
/// use cupping::txn::{NoSuchPart, Partition};
///
/// assert_eq!(Partition::new(3, 3), Err(NoSuchPart { of: 3, index: 3 }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no part {index} of {of}: parts are counted from 0, and there are 1 to {MOST}")]
pub struct NoSuchPart {
    /// The number of parts.
    pub of: u32,
    /// Which of them.
    pub index: u32,
}

impl Partition {
    /// Part `index` (from 0) of `of` parts. Example: see [`Partition`].
    ///
    /// # Errors
    /// When there is no such part.
    pub const fn new(of: u32, index: u32) -> Result<Self, NoSuchPart> {
        if index < of && of <= MOST {
            Ok(Self { of, index })
        } else {
            Err(NoSuchPart { of, index })
        }
    }

    /// Whether an id belongs to it. Example: see [`Partition`].
    #[must_use]
    pub const fn contains(self, id: i64) -> bool {
        let hash = id.rem_euclid(PRIME) * FACTOR % PRIME / SHIFT;
        hash % self.of as i64 == self.index as i64
    }

    /// The same as a condition on a column.
    ///
    /// ```
    /// use cupping::txn::{Family, Partition};
    ///
    /// let condition = Partition::new(2, 1)?.sql(Family::Postgres, "user_id");
    /// let query = format!("SELECT user_id FROM member WHERE {condition}");
    /// assert!(query.ends_with("% 2 = 1"));
    /// # Ok::<(), cupping::txn::NoSuchPart>(())
    /// ```
    #[must_use]
    pub fn sql(self, family: Family, column: &str) -> String {
        let (int, divide) = match family {
            Family::Postgres => ("bigint", "/"),
            Family::MySql => ("SIGNED", "DIV"),
            Family::Sqlite => ("integer", "/"),
        };
        let Self { of, index } = self;
        // `%` takes the sign of its left side in all three.
        format!(
            "((CAST({column} AS {int}) % {PRIME} + {PRIME}) % {PRIME} * {FACTOR} % {PRIME} \
             {divide} {SHIFT}) % {of} = {index}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_belongs_to_one_part_and_steps_do_not_pile_up() {
        for step in [1_i64, 2, 4, 8, 10, 1024] {
            let parts: Vec<_> = (0..4).map(|n| Partition::new(4, n).expect("a part")).collect();
            let mut sizes = [0_u32; 4];
            for id in (-1000..3000).map(|n| n * step) {
                let holders: Vec<_> = (0..4).filter(|n| parts[*n].contains(id)).collect();
                assert_eq!(holders.len(), 1, "{id}");
                sizes[holders[0]] += 1;
            }
            assert!(sizes.iter().all(|size| (800..1200).contains(size)), "{step}: {sizes:?}");
        }
    }

    #[test]
    fn what_is_not_a_part_is_refused() {
        assert!(Partition::new(0, 0).is_err());
        assert!(Partition::new(2, 2).is_err());
        assert!(Partition::new(MOST + 1, 0).is_err());
    }
}
