//! Hashes of the 16 KiB groups of a chunk: the layer of its BLAKE3 tree that is kept beside it on disk.
//!
//! BLAKE3 is a Merkle tree, so the chaining values of aligned 16 KiB groups merge into the chunk's root. Keeping them
//! costs 0.2 % of space and lets any range be verified before it is served: the list must merge to the root in the index,
//! and each group that the range touches must hash to its entry. Nothing about a read has to be trusted, and a small read
//! hashes 16 KiB, not the whole chunk. A chunk of one group has no list: its root is the hash of that group.

use std::ops::Range;

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt as _, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};
use cyx_core::chunk::Root;

/// Bytes of a group.
pub const GROUP: u64 = 16 * cyx_core::units::KIB;
/// Bytes of a group, as a length in memory.
pub(crate) const GROUP_LEN: usize = 16 * 1024;
/// Bytes of one chaining value.
pub(crate) const VALUE_LEN: usize = 32;

/// The chaining value of one group.
pub type Value = ChainingValue;

/// How many groups a chunk of `len` bytes has.
#[must_use]
pub const fn count(len: u64) -> u64 {
    len.div_ceil(GROUP)
}

/// How many values are stored beside a chunk of `len` bytes: none if it is a single group.
#[must_use]
pub const fn stored_count(len: u64) -> u64 {
    match count(len) {
        1 => 0,
        groups => groups,
    }
}

/// What hashing a whole chunk yields.
#[derive(Debug, PartialEq, Eq)]
pub struct Hashed {
    /// BLAKE3 of the chunk.
    pub root: Root,
    /// The values of its groups; empty if it has only one.
    pub values: Vec<Value>,
}

/// Hashes a chunk that arrives in pieces and keeps the values of its groups.
#[derive(Debug)]
pub struct GroupHasher {
    len: u64,
    at: u64,
    group: Hasher,
    values: Vec<Value>,
}

impl GroupHasher {
    /// Begins a chunk of `len` bytes.
    #[must_use]
    pub fn new(len: u64) -> Self {
        let capacity = usize::try_from(stored_count(len).min(count(cyx_core::units::CHUNK_MAX))).unwrap_or(0);
        Self { len, at: 0, group: Hasher::new(), values: Vec::with_capacity(capacity) }
    }

    /// Adds the next bytes. Bytes beyond the length are an error that [`Self::finish`] reports.
    pub fn update(&mut self, mut bytes: &[u8]) {
        if self.len <= GROUP {
            self.at = self.at.saturating_add(bytes.len() as u64);
            self.group.update(bytes);
            return;
        }
        while !bytes.is_empty() {
            let room = GROUP_LEN - usize::try_from(self.at % GROUP).unwrap_or(0);
            let (head, rest) = bytes.split_at(room.min(bytes.len()));
            self.group.update(head);
            self.at = self.at.saturating_add(head.len() as u64);
            if self.at.is_multiple_of(GROUP) {
                self.end_group();
            }
            bytes = rest;
        }
    }

    fn end_group(&mut self) {
        self.values.push(self.group.finalize_non_root());
        self.group = Hasher::new();
        self.group.set_input_offset(self.at);
    }

    /// The root and the values, or `None` if the number of bytes was not the length announced.
    #[must_use]
    pub fn finish(mut self) -> Option<Hashed> {
        if self.at != self.len || self.len == 0 {
            return None;
        }
        if self.len <= GROUP {
            return Some(Hashed { root: *self.group.finalize().as_bytes(), values: Vec::new() });
        }
        if !self.at.is_multiple_of(GROUP) {
            self.values.push(self.group.finalize_non_root());
        }
        let root = merge(&self.values, self.len)?;
        Some(Hashed { root, values: self.values })
    }
}

/// The root that the values of a chunk of `len` bytes merge to, or `None` if their number does not fit.
#[must_use]
pub fn merge(values: &[Value], len: u64) -> Option<Root> {
    if len <= GROUP || values.len() as u64 != count(len) {
        return None;
    }
    let (left, right) = halves(values, len)?;
    Some(*merge_subtrees_root(&left, &right, Mode::Hash).as_bytes())
}

/// The chaining values of the two children of the subtree over `values`, which has `len` bytes.
pub(crate) fn halves(values: &[Value], len: u64) -> Option<(Value, Value)> {
    let left_len = left_subtree_len(len);
    let split = usize::try_from(left_len / GROUP).ok()?;
    let (left, right) = values.split_at_checked(split)?;
    Some((subtree(left, left_len)?, subtree(right, len - left_len)?))
}

fn subtree(values: &[Value], len: u64) -> Option<Value> {
    match values {
        [] => None,
        [one] => Some(*one),
        _ => {
            let (left, right) = halves(values, len)?;
            Some(merge_subtrees_non_root(&left, &right, Mode::Hash))
        }
    }
}

/// Whether `bytes`, which start at the group boundary `offset` of a chunk of `len` bytes, hash to what they should.
///
/// `bytes` must be whole groups, but for the chunk's last.
#[must_use]
pub fn verify(root: &Root, values: &[Value], len: u64, offset: u64, bytes: &[u8]) -> bool {
    let end = offset.saturating_add(bytes.len() as u64);
    if !offset.is_multiple_of(GROUP) || end > len || !(end.is_multiple_of(GROUP) || end == len) {
        return false;
    }
    if len <= GROUP {
        return bytes.len() as u64 == len && blake3::hash(bytes).as_bytes() == root;
    }
    let Ok(first) = usize::try_from(offset / GROUP) else { return false };
    bytes.chunks(GROUP_LEN).zip(first..).all(|(group, index)| {
        let value = Hasher::new().set_input_offset(index as u64 * GROUP).update(group).finalize_non_root();
        values.get(index) == Some(&value)
    })
}

/// One part of a proof: see `cyx_core::proof`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofItem {
    /// The values of a node's two children.
    Pair([u8; 2 * VALUE_LEN]),
    /// The next group of the range, with this many bytes.
    Group(usize),
}

/// The parts of a proof of `range`, which must not be empty, in order; `None` if the values or the range do not fit the length.
#[must_use]
pub fn proof_items(values: &[Value], len: u64, range: &Range<u64>) -> Option<Vec<ProofItem>> {
    if range.is_empty() || range.end > len || values.len() as u64 != stored_count(len) {
        return None;
    }
    let mut items = Vec::new();
    if values.is_empty() {
        items.push(ProofItem::Group(usize::try_from(len).ok()?));
    } else {
        add_items(values, 0..len, range, &mut items)?;
    }
    Some(items)
}

/// Adds what proves the part of `range` that lies in the subtree over the bytes `part`.
fn add_items(values: &[Value], part: Range<u64>, range: &Range<u64>, items: &mut Vec<ProofItem>) -> Option<()> {
    if range.end <= part.start || part.end <= range.start {
        return Some(());
    }
    let len = part.end - part.start;
    if len <= GROUP {
        items.push(ProofItem::Group(usize::try_from(len).ok()?));
        return Some(());
    }
    let (left, right) = halves(values, len)?;
    let mut pair = [0; 2 * VALUE_LEN];
    pair[..VALUE_LEN].copy_from_slice(&left);
    pair[VALUE_LEN..].copy_from_slice(&right);
    items.push(ProofItem::Pair(pair));
    let middle = part.start + left_subtree_len(len);
    let (left, right) = values.split_at_checked(usize::try_from((middle - part.start) / GROUP).ok()?)?;
    add_items(left, part.start..middle, range, items)?;
    add_items(right, middle..part.end, range, items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hash_in_pieces(bytes: &[u8], piece: usize) -> Option<Hashed> {
        let mut hasher = GroupHasher::new(bytes.len() as u64);
        for part in bytes.chunks(piece) {
            hasher.update(part);
        }
        hasher.finish()
    }

    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap()).collect()
    }

    #[test]
    fn the_root_is_plain_blake3_whatever_the_pieces() {
        for len in [1, 1023, 16_383, 16_384, 16_385, 32_768, 50_000, 5 * 16_384, 9 * 16_384 + 1, 524_800] {
            let bytes = sample(len);
            for piece in [1000, 16_384, 40_000, 1 << 20] {
                let hashed = hash_in_pieces(&bytes, piece).unwrap();
                assert_eq!(hashed.root, *blake3::hash(&bytes).as_bytes(), "{len} in pieces of {piece}");
                assert_eq!(hashed.values.len() as u64, stored_count(len as u64));
            }
        }
    }

    #[test]
    fn a_wrong_number_of_bytes_has_no_root() {
        for (announced, given) in [(10, 9), (10, 11), (0, 0), (40_000, 39_999), (40_000, 40_001), (16_384, 16_385)] {
            let mut hasher = GroupHasher::new(announced);
            hasher.update(&sample(given));
            assert_eq!(hasher.finish(), None, "{given} bytes of {announced}");
        }
    }

    #[test]
    fn every_group_verifies_and_no_changed_one_does() {
        let bytes = sample(5 * GROUP_LEN + 100);
        let len = bytes.len() as u64;
        let Hashed { root, values } = hash_in_pieces(&bytes, 1 << 20).unwrap();
        assert_eq!(merge(&values, len), Some(root));
        for first in 0..6 {
            let start = first * GROUP_LEN;
            let end = (start + 2 * GROUP_LEN).min(bytes.len());
            assert!(verify(&root, &values, len, start as u64, &bytes[start..end]));
            let mut changed = bytes[start..end].to_vec();
            *changed.last_mut().unwrap() ^= 1;
            assert!(!verify(&root, &values, len, start as u64, &changed));
        }
        assert!(!verify(&root, &values, len, 1, &bytes[1..=GROUP_LEN]), "not at a group boundary");
        assert!(!verify(&root, &values, len, 0, &bytes[..100]), "half a group");
    }

    /// What a client would check with, and what the reference makes, for every range that begins or ends near a border.
    #[test]
    fn proofs_are_those_of_the_reference() {
        for len in [1, 16_384, 16_385, 100_000, 5 * 16_384, 300_001] {
            let bytes = sample(len);
            let values = hash_in_pieces(&bytes, 1 << 20).unwrap().values;
            let places = [0, 1, 16_383, 16_384, 16_385, 50_000, len - 1, len];
            for (from, to) in places.iter().flat_map(|from| places.map(|to| (*from, to))) {
                let range = from as u64..to as u64;
                let items = proof_items(&values, len as u64, &range);
                if from >= to || to > len {
                    assert_eq!(items, None);
                    continue;
                }
                let mut proof = b"cyxM\x01".to_vec();
                let mut at = from / GROUP_LEN * GROUP_LEN;
                for item in items.unwrap() {
                    match item {
                        ProofItem::Pair(pair) => proof.extend_from_slice(&pair),
                        ProofItem::Group(group) => {
                            proof.extend_from_slice(&bytes[at..at + group]);
                            at += group;
                        }
                    }
                }
                let reference =
                    cyx_core::proof::prove(std::io::Cursor::new(&bytes), len as u64, range.clone()).unwrap();
                assert!(proof == reference.bytes, "{range:?} of {len}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_changed_value_never_merges_to_the_root(groups in 2_usize..40, at in 0_usize..40, bit in 0_usize..256) {
            let bytes = sample(groups * GROUP_LEN - 7);
            let Hashed { root, mut values } = hash_in_pieces(&bytes, 1 << 20).unwrap();
            values[at % groups][bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(merge(&values, bytes.len() as u64), Some(root));
        }
    }
}
