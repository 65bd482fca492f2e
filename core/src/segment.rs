//! Geometry of a segment: its bytes are cut contiguously into k data shards of equal length.
//!
//! The first shard holds the first `shard_len` bytes, and so on; the last data shard is padded with zeros that are stored but
//! never sent back. A small range therefore lies in one shard, or two where it crosses a border, and is read from one node.
//! A full segment is a multiple of k sealed frames, so no frame crosses a border either.

use std::ops::Range;

use crate::chunk::Root;
use crate::erasure::{Coder, CodingError};
use crate::scheme::Scheme;

/// Columns that [`code`] goes through at a time: of ten and four shards about as much as the second-level cache holds. Fewer cost more in the
/// hash, which likes long pieces, than they save.
const STRIP: usize = 128 * 1024;

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

/// Makes a segment of its bytes: the parity of n shards that lie one after the other, the first k of them filled (padding included), and the
/// root of each. It goes through all shards side by side, because together they are larger than what the processor has at hand.
///
/// What else is to be done to the data is done to each part of it right before: `before` is given all data shards and the bytes that are
/// needed next, which are of one shard and behind the last ones of this shard.
///
/// # Errors
/// [`CodingError::WrongLength`] unless there are n shards of equal length.
pub fn code(
    coder: &Coder,
    shards: &mut [u8],
    mut before: impl FnMut(&mut [u8], Range<usize>),
) -> Result<Vec<Root>, CodingError> {
    let (k, n) = (coder.scheme().k(), coder.scheme().n());
    let shard_len = shards.len() / n;
    if shard_len * n != shards.len() {
        return Err(CodingError::WrongLength);
    }
    let mut hashers = vec![blake3::Hasher::new(); n];
    for start in (0..shard_len).step_by(STRIP) {
        let columns = start..shard_len.min(start + STRIP);
        let (data, _) = shards.split_at_mut(shard_len * k);
        for shard in (0..k).map(|index| index * shard_len) {
            before(data, shard + columns.start..shard + columns.end);
        }
        coder.encode_columns(shards, columns.clone())?;
        for (hasher, shard) in hashers.iter_mut().zip(shards.chunks_exact(shard_len)) {
            hasher.update(&shard[columns.clone()]);
        }
    }
    Ok(hashers.iter().map(|hasher| *hasher.finalize().as_bytes()).collect())
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
        let start = shard * shard_len;
        let shard_end = start.saturating_add(shard_len).min(end);
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
    use crate::chunk::root;

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
    fn the_end_of_the_longest_segment_is_found() {
        let found = locate(Scheme::DEFAULT, u64::MAX, u64::MAX - 10..u64::MAX);
        let bytes: Vec<u64> = found.iter().map(|part| part.bytes.end - part.bytes.start).collect();
        assert_eq!((found[0].shard, bytes), (9, vec![10]));
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

    #[test]
    fn side_by_side_it_is_the_same_segment() {
        for (scheme, shard_len) in [(Scheme::DEFAULT, 1), (Scheme::DEFAULT, STRIP + 17), (Scheme::SINGLE, 3 * STRIP)] {
            let coder = Coder::new(scheme);
            let mut shards: Vec<u8> = (0..shard_len * scheme.n()).map(|at| u8::try_from(at % 253).unwrap()).collect();
            let mut expected = shards.clone();
            coder.encode_in_place(&mut expected).unwrap();
            // Every byte is named once and before it is used.
            shards[..shard_len * scheme.k()].fill(0);
            let fill = |data: &mut [u8], bytes: Range<usize>| {
                assert_eq!(data.len(), shard_len * scheme.k());
                assert!(data[bytes.clone()].iter().all(|byte| *byte == 0));
                data[bytes.clone()].copy_from_slice(&expected[bytes]);
            };
            let roots = code(&coder, &mut shards, fill).unwrap();
            assert!(shards == expected, "{scheme}, {shard_len}");
            assert_eq!(roots, expected.chunks_exact(shard_len).map(root).collect::<Vec<_>>());
        }
        assert_eq!(code(&Coder::new(Scheme::DEFAULT), &mut [0; 15], |_, _| {}), Err(CodingError::WrongLength));
        assert_eq!(code(&Coder::new(Scheme::SINGLE), &mut [], |_, _| {}), Ok(vec![root(&[])]));
    }
}
