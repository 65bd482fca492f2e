//! Deletion orders: a server's word that a node may put chunks into its trash at once, without waiting for a keep-list.
//!
//! ```text
//! "cyxD" 1 | key id 16 | node 16 | issued u64 | count u32 | chunk ids 16 each | signature 64
//! ```
//! Nobody else can order a deletion. An order is good for an hour and never touches a chunk whose newest receipt is younger
//! than the order, so repeating an old order does no harm; nor one whose newest receipt is younger than 48 hours.

use ed25519_dalek::SigningKey;
use thiserror::Error;

use crate::grant::{CLOCK_SKEW_SECONDS, split_signature};
use crate::ids::{ChunkId, KeyId, NodeId};
use crate::sign::{self, Purpose};
use crate::wire::{DecodeError, Reader, Writer};

const MAGIC: &[u8; 4] = b"cyxD";
const VERSION: u8 = 1;
/// Most chunks of one order.
pub const CHUNKS_MAX: usize = 4096;
/// Seconds for which an order is good.
pub const LIFETIME_SECONDS: u64 = 3600;

/// What an order says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeletionOrder {
    /// Which server key signed it.
    pub key: KeyId,
    /// The node it is for.
    pub node: NodeId,
    /// Unix second of its making.
    pub issued: u64,
    /// The chunks to put into the trash.
    pub chunks: Vec<ChunkId>,
}

/// Why a node does not follow an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DeletionError {
    /// The bytes are not an order.
    #[error("the deletion order is {0}")]
    Malformed(#[from] DecodeError),
    /// It was signed by a key the node does not know.
    #[error("the deletion order is signed by an unknown key")]
    UnknownKey,
    /// Its signature is wrong.
    #[error("the deletion order's signature is not valid")]
    BadSignature,
    /// It names another node.
    #[error("the deletion order is for another node")]
    OtherNode,
    /// It is too old, or from the future.
    #[error("the deletion order is not valid at this time")]
    OutOfTime,
}

impl DeletionOrder {
    /// Encodes and signs.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let mut writer = Writer::new(MAGIC, VERSION);
        writer.raw(&self.key.0).raw(&self.node.0).u64(self.issued);
        writer.u32(u32::try_from(self.chunks.len()).unwrap_or(u32::MAX));
        for chunk in &self.chunks {
            writer.raw(&chunk.0);
        }
        let mut bytes = writer.finish();
        let signature = sign::sign(key, Purpose::Deletion, &bytes);
        bytes.extend_from_slice(&signature);
        bytes
    }

    /// Decodes a signed order and checks all that a node can check offline. `now` is in Unix seconds.
    ///
    /// # Errors
    /// [`DeletionError`].
    pub fn verify(
        bytes: &[u8],
        server_key: impl Fn(KeyId) -> Option<[u8; 32]>,
        node: NodeId,
        now: u64,
    ) -> Result<Self, DeletionError> {
        let (body, signature) = split_signature(bytes)?;
        let mut reader = Reader::new(body, MAGIC, VERSION, "deletion order")?;
        let (key, named, issued) = (KeyId(reader.array()?), NodeId(reader.array()?), reader.u64()?);
        let count = reader.u32()? as usize;
        if count > CHUNKS_MAX {
            return Err(DecodeError::Invalid("too many chunks").into());
        }
        let chunks = (0..count).map(|_| reader.array().map(ChunkId)).collect::<Result<_, _>>()?;
        reader.end()?;
        let public = server_key(key).ok_or(DeletionError::UnknownKey)?;
        sign::verify(&public, Purpose::Deletion, body, signature).map_err(|_| DeletionError::BadSignature)?;
        if named != node {
            return Err(DeletionError::OtherNode);
        }
        if issued > now.saturating_add(CLOCK_SKEW_SECONDS) || now >= issued.saturating_add(LIFETIME_SECONDS) {
            return Err(DeletionError::OutOfTime);
        }
        Ok(Self { key, node, issued, chunks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_followed_by_its_node_in_its_time_only() {
        let key = SigningKey::from_bytes(&[9; 32]);
        let public = key.verifying_key().to_bytes();
        let order = DeletionOrder {
            key: sign::key_id(&public),
            node: NodeId([2; 16]),
            issued: 10_000,
            chunks: vec![ChunkId([3; 16]), ChunkId([4; 16])],
        };
        let bytes = order.sign(&key);
        let find = |id| (id == order.key).then_some(public);
        assert_eq!(DeletionOrder::verify(&bytes, find, order.node, 10_100), Ok(order.clone()));
        assert_eq!(DeletionOrder::verify(&bytes, find, NodeId([9; 16]), 10_100), Err(DeletionError::OtherNode));
        assert_eq!(DeletionOrder::verify(&bytes, find, order.node, 13_600), Err(DeletionError::OutOfTime));
        assert_eq!(DeletionOrder::verify(&bytes, find, order.node, 9_000), Err(DeletionError::OutOfTime));
        assert_eq!(DeletionOrder::verify(&bytes, |_| None, order.node, 10_100), Err(DeletionError::UnknownKey));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            assert!(DeletionOrder::verify(&changed, find, order.node, 10_100).is_err(), "byte {at}");
            assert!(DeletionOrder::verify(&bytes[..at], find, order.node, 10_100).is_err(), "cut at {at}");
        }
    }
}
