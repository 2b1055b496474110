//! Keys: what is locked when it is not a row.
//!
//! Decides: the hash of an id, and the order of keys. Never does: lock.

/// FNV-1a, 64 bits: a fixed hash, the same in every release and on every machine.
pub(in crate::txn) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The integer to lock for an id: FNV-1a (64 bits) of `namespace`, a zero byte, and `id`.
///
/// Two ids may share an integer; they then exclude each other needlessly, and no more. The hash
/// never changes: workers of different releases must agree.
///
/// ```
/// use cupping::txn::lock_key;
///
/// assert_ne!(lock_key("bean", "7"), lock_key("region", "7"));
/// ```
#[must_use]
pub fn lock_key(namespace: &str, id: &str) -> i64 {
    let bytes = [namespace.as_bytes(), &[0], id.as_bytes()].concat();
    fnv1a(&bytes).cast_signed()
}

/// Keys in the order in which they are locked: ascending, each once.
///
/// ```
/// use cupping::txn::LockKeys;
///
/// assert_eq!(LockKeys::new([3, -7, 3, 0]).as_slice(), [-7, 0, 3]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockKeys(Vec<i64>);

impl LockKeys {
    /// Sorts and de-duplicates by the integer. Example: see [`LockKeys`].
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = i64>) -> Self {
        let mut keys: Vec<i64> = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup();
        Self(keys)
    }

    /// The keys, ascending. Example: see [`LockKeys`].
    #[must_use]
    pub fn as_slice(&self) -> &[i64] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_ne!(lock_key("a", "bc"), lock_key("ab", "c"));
    }
}
