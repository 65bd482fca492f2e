//! Geometry of a segment: its bytes are cut contiguously into k data shards of equal length.
//!
//! The first shard holds the first `shard_len` bytes, and so on; the last data shard is padded with zeros that are stored but
//! never sent back. A small range therefore lies in one shard, or two where it crosses a border, and is read from one node.
//! A full segment is a multiple of k sealed frames, so no frame crosses a border either.

use std::ops::Range;

use crate::scheme::Scheme;

/// A range of bytes inside one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRange {
    /// Index of the data shard, below k.
    pub shard: usize,
    /// Bytes of that shard.
    pub bytes: Range<u64>,
}

/// Bytes of each shard of a segment of `len` bytes: `⌈len / k⌉`, at least 1.
#[must_use]
pub fn shard_len(scheme: Scheme, len: u64) -> u64 {
    len.div_ceil(scheme.k() as u64).max(1)
}

/// Where the segment bytes `range` lie, in order. Empty for an empty range.
///
/// The range must lie within the segment; what lies beyond is cut off.
#[must_use]
pub fn locate(scheme: Scheme, len: u64, range: Range<u64>) -> Vec<ShardRange> {
    let shard_len = shard_len(scheme, len);
    let end = range.end.min(len);
    let mut at = range.start;
    let mut found = Vec::new();
    while at < end {
        let shard = at / shard_len;
        let shard_end = ((shard + 1) * shard_len).min(end);
        let start = shard * shard_len;
        found.push(ShardRange {
            shard: usize::try_from(shard).unwrap_or(usize::MAX),
            bytes: at - start..shard_end - start,
        });
        at = shard_end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_range_touches_one_shard() {
        let found = locate(Scheme::DEFAULT, 1000, 250..260);
        assert_eq!(found, [ShardRange { shard: 2, bytes: 50..60 }]);
    }

    #[test]
    fn a_range_over_a_border_is_cut_there() {
        let found = locate(Scheme::DEFAULT, 1000, 195..205);
        assert_eq!(found, [ShardRange { shard: 1, bytes: 95..100 }, ShardRange { shard: 2, bytes: 0..5 }]);
    }

    #[test]
    fn everything_is_found_once_and_in_order() {
        for len in [1, 9, 10, 11, 99, 12_345] {
            let mut at = 0;
            for part in locate(Scheme::DEFAULT, len, 0..len) {
                assert_eq!(part.shard as u64 * shard_len(Scheme::DEFAULT, len) + part.bytes.start, at);
                at += part.bytes.end - part.bytes.start;
            }
            assert_eq!(at, len);
        }
    }

    #[test]
    fn nothing_is_found_beyond_the_end() {
        assert_eq!(locate(Scheme::DEFAULT, 10, 10..20), []);
        assert_eq!(locate(Scheme::DEFAULT, 10, 3..3), []);
    }
}
