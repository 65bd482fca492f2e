//! Chunks: a segment's shards as storing nodes see them, known by an id and a BLAKE3 root.

use crate::ids::{ChunkId, ID_LEN, SegmentId, derive};

/// BLAKE3 root of a chunk's bytes.
pub type Root = [u8; 32];

const CHUNK_ID_CONTEXT: &str = "cyx v1 chunk id";

/// `BLAKE3-derive("cyx v1 chunk id", segment id ‖ index as one byte)[..16]`.
///
/// Nodes never learn segment ids, so they cannot tell which chunks belong together.
#[must_use]
pub fn chunk_id(segment: SegmentId, index: u8) -> ChunkId {
    let mut input = [0; ID_LEN + 1];
    input[..ID_LEN].copy_from_slice(segment.as_bytes());
    input[ID_LEN] = index;
    ChunkId(derive(CHUNK_ID_CONTEXT, &input))
}

/// BLAKE3 of the whole chunk.
#[must_use]
pub fn root(bytes: &[u8]) -> Root {
    *blake3::hash(bytes).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_ids_are_frozen() {
        assert_eq!(chunk_id(SegmentId([1; 16]), 0).to_string(), "ea60ee1826e93e9b45e050cba39ad996");
        assert_ne!(chunk_id(SegmentId([1; 16]), 0), chunk_id(SegmentId([1; 16]), 1));
    }
}
