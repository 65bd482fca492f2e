//! Which names a large directory has, in few bytes each: enough to know that one is not there.
//!
//! Only a part of a hash is kept of every name. A name whose hash is missing does not exist; one whose hash is there is asked for.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

/// Names of one directory at most: about 40 MiB.
pub(crate) const INDEX_MAX: usize = 4_000_000;

/// Hashes of all names of a directory.
#[derive(Debug, Default)]
pub(crate) struct NameIndex {
    /// Chosen by chance, so that nobody can choose names that meet.
    hasher: RandomState,
    hashes: HashSet<u32>,
}

impl NameIndex {
    fn hash(&self, name: &[u8]) -> u32 {
        let [a, b, c, d, ..] = self.hasher.hash_one(name).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// A name may be there from now on. False if there is no room for more.
    pub(crate) fn add(&mut self, name: &[u8]) -> bool {
        self.hashes.insert(self.hash(name));
        self.hashes.len() <= INDEX_MAX
    }

    /// A name is not there, for sure.
    pub(crate) fn lacks(&self, name: &[u8]) -> bool {
        !self.hashes.contains(&self.hash(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_never_missed_and_what_is_not_seldom_suspected() {
        let mut index = NameIndex::default();
        let name = |number: u32| format!("file-{number}").into_bytes();
        assert!(index.lacks(b"") && index.lacks(&name(1)));
        assert!((0..100_000).all(|number| index.add(&name(number))));
        assert!((0..100_000).all(|number| !index.lacks(&name(number))));
        let suspected = (100_000..200_000).filter(|number| !index.lacks(&name(*number))).count();
        // Two or three are expected.
        assert!(suspected < 100, "{suspected}");
    }
}
