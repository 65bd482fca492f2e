//! Keep-lists: what a server tells a node to go on keeping. What a keep-list covers and does not name goes to the node's trash.
//!
//! ```text
//! "cyxK" 1 | key id 16 | node 16 | incarnation 16 | sequence u64 | before u64 | first 16 | last 16
//!          | count u32 | BLAKE3 of the ids 32 | signature 64
//! ```
//! A keep-list covers the chunks whose id lies in `first..=last` and whose newest receipt is older than `before` (Unix
//! seconds). The ids themselves travel beside it, sorted and 16 bytes each, and are bound to it by their hash. Nodes refuse a
//! sequence they have seen for the same range and incarnation, and stop emptying their trash when the incarnation changes.

use ed25519_dalek::SigningKey;
use thiserror::Error;

use crate::grant::split_signature;
use crate::ids::{ChunkId, ID_LEN, KeyId, NodeId};
use crate::sign::{self, Purpose};
use crate::wire::{DecodeError, Reader, Writer};

const MAGIC: &[u8; 4] = b"cyxK";
const VERSION: u8 = 1;

/// Which life of a server's database speaks: drawn anew by a restore.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Incarnation {
    /// Unix second of its beginning.
    pub time: u64,
    /// Tells apart two that began in the same second.
    pub random: u64,
}

impl Incarnation {
    /// Sixteen bytes, both numbers big-endian, so that bytes sort by time.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.time.to_be_bytes());
        bytes[8..].copy_from_slice(&self.random.to_be_bytes());
        bytes
    }

    /// The opposite of [`Self::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let [time, random] = [0, 8].map(|at| {
            let mut half = [0; 8];
            half.copy_from_slice(&bytes[at..at + 8]);
            u64::from_be_bytes(half)
        });
        Self { time, random }
    }
}

/// What a keep-list says, without the ids.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeepList {
    /// Which server key signed it.
    pub key: KeyId,
    /// The node it is for.
    pub node: NodeId,
    /// The life of the database it was made from.
    pub incarnation: Incarnation,
    /// Grows with every round of keep-lists.
    pub sequence: u64,
    /// Only chunks whose newest receipt is older than this are covered.
    pub before: u64,
    /// First chunk id covered.
    pub first: ChunkId,
    /// Last chunk id covered.
    pub last: ChunkId,
}

/// Why a node does not follow a keep-list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeepListError {
    /// The bytes are not a keep-list.
    #[error("the keep-list is {0}")]
    Malformed(#[from] DecodeError),
    /// It was signed by a key the node does not know.
    #[error("the keep-list is signed by an unknown key")]
    UnknownKey,
    /// Its signature is wrong.
    #[error("the keep-list's signature is not valid")]
    BadSignature,
    /// It names another node.
    #[error("the keep-list is for another node")]
    OtherNode,
    /// The ids are not the ones that were signed, not sorted, or outside the range.
    #[error("the keep-list's ids are not the ones that were signed")]
    WrongIds,
}

impl KeepList {
    /// Encodes and signs together with the sorted ids to keep.
    #[must_use]
    pub fn sign(&self, ids: &[ChunkId], key: &SigningKey) -> Vec<u8> {
        let mut writer = Writer::new(MAGIC, VERSION);
        writer.raw(&self.key.0).raw(&self.node.0).raw(&self.incarnation.to_bytes());
        writer.u64(self.sequence).u64(self.before).raw(&self.first.0).raw(&self.last.0);
        writer.u32(u32::try_from(ids.len()).unwrap_or(u32::MAX)).raw(&hash_ids(ids));
        let mut bytes = writer.finish();
        let signature = sign::sign(key, Purpose::KeepList, &bytes);
        bytes.extend_from_slice(&signature);
        bytes
    }

    /// Checks a keep-list and the ids that came with it (16 bytes each, concatenated).
    ///
    /// # Errors
    /// [`KeepListError`].
    pub fn verify(
        bytes: &[u8],
        ids: &[u8],
        server_key: impl Fn(KeyId) -> Option<[u8; 32]>,
        node: NodeId,
    ) -> Result<(Self, Vec<ChunkId>), KeepListError> {
        let (body, signature) = split_signature(bytes)?;
        let mut reader = Reader::new(body, MAGIC, VERSION, "keep-list")?;
        let list = Self {
            key: KeyId(reader.array()?),
            node: NodeId(reader.array()?),
            incarnation: Incarnation::from_bytes(reader.array()?),
            sequence: reader.u64()?,
            before: reader.u64()?,
            first: ChunkId(reader.array()?),
            last: ChunkId(reader.array()?),
        };
        let (count, hash) = (reader.u32()?, reader.array::<32>()?);
        reader.end()?;
        let public = server_key(list.key).ok_or(KeepListError::UnknownKey)?;
        sign::verify(&public, Purpose::KeepList, body, signature).map_err(|_| KeepListError::BadSignature)?;
        if list.node != node {
            return Err(KeepListError::OtherNode);
        }
        let (parts, rest) = ids.as_chunks::<ID_LEN>();
        let kept: Vec<ChunkId> = parts.iter().copied().map(ChunkId).collect();
        let right = rest.is_empty()
            && kept.len() == count as usize
            && hash_ids(&kept) == hash
            && kept.is_sorted_by(|a, b| a < b)
            && kept.iter().all(|id| (list.first..=list.last).contains(id));
        if right { Ok((list, kept)) } else { Err(KeepListError::WrongIds) }
    }
}

fn hash_ids(ids: &[ChunkId]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for id in ids {
        hasher.update(&id.0);
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_signed_ids_count() {
        let key = SigningKey::from_bytes(&[9; 32]);
        let list = KeepList {
            key: sign::key_id(&key.verifying_key().to_bytes()),
            node: NodeId([2; 16]),
            incarnation: Incarnation { time: 5, random: 6 },
            sequence: 7,
            before: 8,
            first: ChunkId([0; 16]),
            last: ChunkId([0x7f; 16]),
        };
        let ids = [ChunkId([1; 16]), ChunkId([2; 16])];
        let bytes = list.sign(&ids, &key);
        let flat: Vec<u8> = ids.iter().flat_map(|id| id.0).collect();
        let find = |_| Some(key.verifying_key().to_bytes());
        assert_eq!(KeepList::verify(&bytes, &flat, find, list.node), Ok((list.clone(), ids.to_vec())));
        assert_eq!(KeepList::verify(&bytes, &flat[..16], find, list.node), Err(KeepListError::WrongIds));
        let outside = [ChunkId([0xff; 16])];
        let bytes = list.sign(&outside, &key);
        assert_eq!(KeepList::verify(&bytes, &outside[0].0, find, list.node), Err(KeepListError::WrongIds));
    }

    #[test]
    fn incarnations_sort_by_time() {
        let [old, new] = [3, 4].map(|time| Incarnation { time, random: 9 - time });
        assert!(old.to_bytes() < new.to_bytes());
        assert_eq!(Incarnation::from_bytes(new.to_bytes()), new);
    }
}
