//! A large chunk put together as it arrives: hashed while the processor has its bytes at hand, and laid out in memory as the record that
//! it becomes in a volume, so that it is written from there.

use bytes::Bytes;
use cyx_core::chunk::Root;
use cyx_core::ids::{BucketTag, ChunkId};
use cyx_core::units::CHUNK_MAX;

use super::NewChunk;
use super::groups::{GroupHasher, Hashed};
use super::record::{ALIGN, RECORD_HEADER, span};

/// A shorter chunk is better kept in pieces: it leaves in one write with others.
pub const WHOLE_MIN: u64 = 512 * cyx_core::units::KIB;

#[expect(clippy::cast_possible_truncation, reason = "4,096 and 128")]
const BLOCK: usize = ALIGN as usize;
#[expect(clippy::cast_possible_truncation, reason = "128")]
const HEADER: usize = RECORD_HEADER as usize;

/// Builds a [`WholeChunk`] from bytes as they arrive.
#[derive(Debug)]
pub struct WholeChunkBuilder {
    memory: Vec<u8>,
    /// Where the record begins: at a block.
    start: usize,
    len: u64,
    hasher: GroupHasher,
}

impl WholeChunkBuilder {
    /// Begins a chunk of `len` bytes; memory for all of it is there from now on. `None` if no chunk is so long.
    #[must_use]
    pub fn new(len: u64) -> Option<Self> {
        let span = usize::try_from(span(Some(len).filter(|len| *len <= CHUNK_MAX)?)).ok()?;
        let mut memory: Vec<u8> = Vec::with_capacity(BLOCK + span);
        let start = memory.as_ptr().align_offset(BLOCK).min(BLOCK);
        memory.resize(start + HEADER, 0);
        Some(Self { memory, start, len, hasher: GroupHasher::new(len) })
    }

    /// Adds the next bytes. What is beyond the length is left out, and the chunk is never whole then.
    pub fn put(&mut self, bytes: &[u8]) {
        let there = self.memory.len() - self.start - HEADER;
        let room = usize::try_from(self.len).unwrap_or(0).saturating_sub(there);
        self.memory.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.hasher.update(bytes);
    }

    /// The chunk, if it has as many bytes as it should have.
    #[must_use]
    pub fn finish(self, id: ChunkId, tag: BucketTag, root: Root) -> Option<WholeChunk> {
        let Self { mut memory, start, len, hasher } = self;
        let hashed = hasher.finish()?;
        memory.extend_from_slice(hashed.values.as_flattened());
        memory.resize(start + usize::try_from(span(len)).ok()?, 0);
        Some(WholeChunk { id, tag, root, len, hashed, memory, start })
    }
}

/// A chunk in one piece, hashed; whether it has the hash that was announced is for the store to see.
#[derive(Debug)]
pub struct WholeChunk {
    /// Its id.
    pub id: ChunkId,
    /// The tag of its bucket.
    pub tag: BucketTag,
    /// BLAKE3 that its bytes must have.
    pub root: Root,
    len: u64,
    hashed: Hashed,
    memory: Vec<u8>,
    start: usize,
}

impl WholeChunk {
    /// Its length in bytes.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Whether the bytes have the announced hash.
    pub(crate) fn is_right(&self) -> bool {
        self.hashed.root == self.root
    }

    /// The record that it becomes: whole blocks in aligned memory.
    pub(crate) fn record(&mut self, header: &[u8; HEADER]) -> &[u8] {
        let record = &mut self.memory[self.start..];
        record[..HEADER].copy_from_slice(header);
        record
    }

    /// The same as a chunk of one piece.
    pub(crate) fn into_pieces(self) -> NewChunk {
        let Self { id, tag, root, len, memory, start, .. } = self;
        let from = start + HEADER;
        let to = from + usize::try_from(len).unwrap_or(0);
        NewChunk { id, tag, root, pieces: vec![Bytes::from(memory).slice(from..to)] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::groups;

    fn build(bytes: &[u8], announced: u64, piece: usize) -> Option<WholeChunk> {
        let mut builder = WholeChunkBuilder::new(announced).unwrap();
        bytes.chunks(piece).for_each(|piece| builder.put(piece));
        builder.finish(ChunkId([1; 16]), BucketTag([2; 16]), *blake3::hash(bytes).as_bytes())
    }

    #[test]
    fn what_arrives_in_pieces_is_a_record_in_aligned_memory() {
        for len in [1, 16_384, 100_000, 524_288, 1_000_001] {
            let bytes: Vec<u8> = (0..len).map(|at| u8::try_from(at % 253).unwrap()).collect();
            for piece in [1000, 65_536, len] {
                let mut whole = build(&bytes, len as u64, piece).unwrap();
                assert!(whole.is_right());
                let record = whole.record(&[9; HEADER]);
                assert_eq!((record.as_ptr().align_offset(BLOCK), record.len() as u64), (0, span(len as u64)));
                assert!(record[..HEADER] == [9; HEADER] && record[HEADER..HEADER + len] == bytes);
                let values = groups::stored_count(len as u64);
                let (values, padding) = record[HEADER + len..].split_at(usize::try_from(values).unwrap() * 32);
                let mut hasher = GroupHasher::new(len as u64);
                hasher.update(&bytes);
                assert!(values == hasher.finish().unwrap().values.as_flattened());
                assert!(padding.iter().all(|byte| *byte == 0));
                assert!(whole.into_pieces().pieces == [bytes.clone()]);
            }
        }
    }

    #[test]
    fn too_few_bytes_and_too_many_are_no_chunk() {
        for (given, announced) in [(99_999, 100_000), (100_001, 100_000), (200_000, 100_000), (0, 0)] {
            assert!(build(&vec![1; given], announced, 5000).is_none(), "{given} of {announced}");
        }
        assert!(WholeChunkBuilder::new(CHUNK_MAX + 1).is_none());
    }

    #[test]
    fn other_bytes_are_not_right() {
        let mut builder = WholeChunkBuilder::new(3).unwrap();
        builder.put(b"abc");
        assert!(!builder.finish(ChunkId([1; 16]), BucketTag([2; 16]), [0; 32]).unwrap().is_right());
    }
}
