//! Reed–Solomon schemes: how many shards a segment has and how many of them it needs.

use std::fmt;

use thiserror::Error;

/// `k` data shards and `m` parity shards; any `k` of the `k + m` restore the segment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Scheme {
    k: u8,
    m: u8,
}

/// A pair of numbers is not a scheme this program uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{k}+{m} is not a scheme")]
pub struct InvalidScheme {
    /// Data shards.
    pub k: u32,
    /// Parity shards.
    pub m: u32,
}

/// Most shards of a segment; a bitmap of them fits a `u64`.
pub const SHARDS_MAX: usize = 32;

impl Scheme {
    /// What the product promises: any 4 of 14 nodes may vanish.
    pub const DEFAULT: Self = Self { k: 10, m: 4 };
    /// For a network of strangers.
    pub const DURABLE: Self = Self { k: 10, m: 10 };
    /// One plain copy: nothing may be lost.
    pub const SINGLE: Self = Self { k: 1, m: 0 };
    /// From the widest to the narrowest, what an ordinary bucket uses as nodes become fewer.
    pub const LADDER: [Self; 6] = [
        Self::DEFAULT,
        Self { k: 6, m: 3 },
        Self { k: 4, m: 2 },
        Self { k: 2, m: 1 },
        Self { k: 1, m: 1 },
        Self::SINGLE,
    ];

    /// Checks a pair that came from outside.
    ///
    /// # Errors
    /// [`InvalidScheme`] unless 1 ≤ k and k + m ≤ [`SHARDS_MAX`].
    pub fn new(k: u32, m: u32) -> Result<Self, InvalidScheme> {
        let invalid = InvalidScheme { k, m };
        let (Ok(k), Ok(m)) = (u8::try_from(k), u8::try_from(m)) else { return Err(invalid) };
        if k == 0 || usize::from(k) + usize::from(m) > SHARDS_MAX {
            return Err(invalid);
        }
        Ok(Self { k, m })
    }

    /// Data shards: as many as a read needs.
    #[must_use]
    pub const fn k(self) -> usize {
        self.k as usize
    }

    /// Parity shards: as many as may be lost.
    #[must_use]
    pub const fn m(self) -> usize {
        self.m as usize
    }

    /// All shards.
    #[must_use]
    pub const fn n(self) -> usize {
        self.k as usize + self.m as usize
    }

    /// Shards that must be durable before a write is acknowledged: `k + ⌈m/2⌉`.
    #[must_use]
    pub const fn write_quorum(self) -> usize {
        self.k as usize + (self.m as usize).div_ceil(2)
    }

    /// How many of `present` shards may still be lost; `None` if the segment cannot be read.
    #[must_use]
    pub const fn survives(self, present: usize) -> Option<usize> {
        present.checked_sub(self.k as usize)
    }

    /// The widest scheme of the ladder that `nodes` nodes can acknowledge.
    ///
    /// `None` only if there is no node at all.
    #[must_use]
    pub fn best_for(nodes: usize) -> Option<Self> {
        Self::LADDER.into_iter().find(|scheme| scheme.write_quorum() <= nodes)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.k, self.m)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quorums_are_the_documented_ones() {
        let quorums: Vec<usize> = Scheme::LADDER.iter().map(|s| s.write_quorum()).collect();
        assert_eq!(quorums, [12, 8, 5, 3, 2, 1]);
        assert_eq!(Scheme::DURABLE.write_quorum(), 15);
    }

    #[test]
    fn fewer_nodes_narrow_the_scheme() {
        let best = |nodes| Scheme::best_for(nodes).map(|s| s.to_string());
        assert_eq!(best(14).as_deref(), Some("10+4"));
        assert_eq!(best(12).as_deref(), Some("10+4"));
        assert_eq!(best(10).as_deref(), Some("6+3"));
        assert_eq!(best(5).as_deref(), Some("4+2"));
        assert_eq!(best(3).as_deref(), Some("2+1"));
        assert_eq!(best(2).as_deref(), Some("1+1"));
        assert_eq!(best(1).as_deref(), Some("1+0"));
        assert_eq!(best(0), None);
    }

    #[test]
    fn foreign_pairs_are_checked() {
        assert!(Scheme::new(0, 1).is_err());
        assert!(Scheme::new(30, 3).is_err());
        assert!(Scheme::new(300, 3).is_err());
        assert_eq!(Scheme::new(10, 4), Ok(Scheme::DEFAULT));
    }
}
