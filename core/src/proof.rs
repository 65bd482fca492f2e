//! Merkle proofs: that some bytes are the bytes of a chunk whose BLAKE3 root is known.
//!
//! BLAKE3 is a tree of hashes over 1 KiB pieces. A proof of a range holds the 16 KiB groups that the range touches and the hash
//! pairs that lead from the root to them, so it is checked against nothing but the 32 bytes the server holds anyway.
//!
//! ```text
//! "cyxM" 1 | for each node of the tree above a touched group, root first, left before right:
//!          |   a hash pair 64, or the bytes of a group (16,384, the chunk's last one may be shorter)
//! ```
//! The order is that of [Bao](https://github.com/oconnor663/bao) without its length header; length and range are not in the
//! proof, because whoever checks it has asked for them. A proof shows what the bytes are; how long the chunk is, it shows only
//! if the range touches the last group.

use std::cell::RefCell;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use bao_tree::io::BaoContentItem;
use bao_tree::io::outboard::PreOrderOutboard;
use bao_tree::io::round_up_to_chunks_groups;
use bao_tree::io::sync::{CreateOutboard, DecodeResponseIter, Outboard as _, ReadAt, Size, encode_ranges_validated};
use bao_tree::iter::BaoChunk;
use bao_tree::{BaoTree, BlockSize, ChunkNum, ChunkRanges};
use thiserror::Error;

use crate::chunk::Root;
use crate::units::CHUNK_MAX;
use crate::wire::{DecodeError, Reader};

const MAGIC: &[u8; 4] = b"cyxM";
const VERSION: u8 = 1;
const HEADER_LEN: usize = 5;
/// Bytes of a group, the least that is proved.
pub const GROUP: u64 = 16 * 1024;
const BLOCK_SIZE: BlockSize = BlockSize::from_chunk_log(4);

/// Why something cannot be proved or is not believed.
#[derive(Debug, Error)]
pub enum ProofError {
    /// The range is empty or not inside the chunk, or the chunk is longer than any.
    #[error("the range is not inside the chunk")]
    OutOfRange,
    /// The bytes are not a proof of this range.
    #[error("the proof is {0}")]
    Malformed(#[from] DecodeError),
    /// The bytes are not the chunk's.
    #[error("the proof does not lead to the chunk's root")]
    Wrong,
    /// The chunk cannot be read.
    #[error("the chunk cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// Proves that `range` of a chunk of `total` bytes is what it is. Reads the chunk once from end to end and the touched groups
/// again.
///
/// The proof is of what the reader gives. Compare [`Proof::root`] with what the chunk should be.
///
/// # Errors
/// [`ProofError::OutOfRange`], [`ProofError::Read`], or [`ProofError::Wrong`] if the reader gives other bytes the second time.
pub fn prove<R: Read + Seek>(mut chunk: R, total: u64, range: Range<u64>) -> Result<Proof, ProofError> {
    let (tree, groups) = touched(total, &range)?;
    chunk.seek(SeekFrom::Start(0))?;
    let hashes = PreOrderOutboard::<Vec<u8>>::create_sized((&mut chunk).take(total), total, BLOCK_SIZE)?;
    let mut bytes = Vec::with_capacity(proof_len(tree, &groups));
    bytes.extend_from_slice(MAGIC);
    bytes.push(VERSION);
    let chunk = Positioned { reader: RefCell::new(chunk), total };
    encode_ranges_validated(&chunk, &hashes, &groups, &mut bytes).map_err(|error| match error {
        bao_tree::io::EncodeError::Io(error) => ProofError::Read(error),
        _ => ProofError::Wrong,
    })?;
    Ok(Proof { root: *hashes.root().as_bytes(), bytes })
}

/// A proof and the root that it leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    /// BLAKE3 of the whole chunk.
    pub root: Root,
    /// What [`verify`] takes.
    pub bytes: Vec<u8>,
}

/// Checks a proof that `range` of the chunk of `total` bytes with this root is what it is, and returns those bytes.
///
/// # Errors
/// [`ProofError`]; a proof of another length than the range needs is refused before anything is computed.
pub fn verify(root: &Root, total: u64, range: Range<u64>, proof: &[u8]) -> Result<Vec<u8>, ProofError> {
    let (tree, groups) = touched(total, &range)?;
    Reader::new(proof, MAGIC, VERSION, "proof")?;
    let expected = proof_len(tree, &groups);
    match proof.len().checked_sub(expected) {
        Some(0) => {}
        Some(more) => return Err(DecodeError::Trailing(more).into()),
        None => return Err(DecodeError::Truncated.into()),
    }
    let first = range.start / GROUP * GROUP;
    let mut found = Vec::new();
    for item in DecodeResponseIter::new(bao_tree::blake3::Hash::from(*root), tree, &proof[HEADER_LEN..], &groups) {
        if let BaoContentItem::Leaf(leaf) = item.map_err(|_| ProofError::Wrong)? {
            found.extend_from_slice(&leaf.data);
        }
    }
    let at = |offset: u64| usize::try_from(offset - first).unwrap_or(usize::MAX);
    found.truncate(at(range.end));
    if found.len() != at(range.end) {
        return Err(ProofError::Wrong);
    }
    found.drain(..at(range.start));
    Ok(found)
}

/// The tree and the groups that a range touches.
fn touched(total: u64, range: &Range<u64>) -> Result<(BaoTree, ChunkRanges), ProofError> {
    if range.is_empty() || range.end > total || total > CHUNK_MAX {
        return Err(ProofError::OutOfRange);
    }
    let pieces = ChunkRanges::from(ChunkNum::full_chunks(range.start)..ChunkNum::chunks(range.end));
    Ok((BaoTree::new(total, BLOCK_SIZE), round_up_to_chunks_groups(pieces, BLOCK_SIZE)))
}

fn proof_len(tree: BaoTree, groups: &ChunkRanges) -> usize {
    let len = |item| match item {
        BaoChunk::Parent { .. } => 64,
        BaoChunk::Leaf { size, .. } => size,
    };
    HEADER_LEN + tree.ranges_pre_order_chunks_iter_ref(groups, 0).map(len).sum::<usize>()
}

/// Positioned reads from a reader that seeks.
struct Positioned<R> {
    reader: RefCell<R>,
    total: u64,
}

impl<R: Read + Seek> ReadAt for Positioned<R> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut reader = self.reader.borrow_mut();
        reader.seek(SeekFrom::Start(offset))?;
        reader.read(buffer)
    }
}

impl<R> Size for Positioned<R> {
    fn size(&self) -> io::Result<Option<u64>> {
        Ok(Some(self.total))
    }
}
