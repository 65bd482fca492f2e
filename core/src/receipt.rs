//! Receipts: a node's signed word that chunks are durable.
//!
//! ```text
//! "cyxR" 1 | node 16 | grant 16 | issued u64 | count u16 | (chunk id 16 | length u32 | root 32) each | signature 64
//! ```
//! One signature covers a whole batch. The server commits only what it has valid receipts for.

use ed25519_dalek::SigningKey;
use thiserror::Error;

use crate::chunk::Root;
use crate::grant::split_signature;
use crate::ids::{ChunkId, GrantId, NodeId};
use crate::sign::{self, BadSignature, Purpose};
use crate::wire::{DecodeError, Reader, Writer};

const MAGIC: &[u8; 4] = b"cyxR";
const VERSION: u8 = 1;
/// Most chunks of one receipt.
pub const CHUNKS_MAX: usize = 4096;

/// One durable chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReceivedChunk {
    /// Its id.
    pub id: ChunkId,
    /// Its length in bytes.
    pub length: u32,
    /// BLAKE3 of its bytes.
    pub root: Root,
}

/// What a receipt says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// The node that holds the chunks.
    pub node: NodeId,
    /// The grant they were stored under.
    pub grant: GrantId,
    /// Unix second at which they were durable.
    pub issued: u64,
    /// The chunks.
    pub chunks: Vec<ReceivedChunk>,
}

/// Why a receipt is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReceiptError {
    /// The bytes are not a receipt.
    #[error("the receipt is {0}")]
    Malformed(#[from] DecodeError),
    /// The signature is not the node's.
    #[error("the receipt's signature is not valid")]
    BadSignature,
}

impl Receipt {
    /// Encodes and signs with the node's key.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let mut writer = Writer::new(MAGIC, VERSION);
        writer.raw(&self.node.0).raw(&self.grant.0).u64(self.issued);
        writer.u16(u16::try_from(self.chunks.len()).unwrap_or(u16::MAX));
        for chunk in &self.chunks {
            writer.raw(&chunk.id.0).u32(chunk.length).raw(&chunk.root);
        }
        let mut bytes = writer.finish();
        let signature = sign::sign(key, Purpose::Receipt, &bytes);
        bytes.extend_from_slice(&signature);
        bytes
    }

    /// Reads what a receipt says without believing it; [`Self::verify`] needs the key of the node it names.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn read_unchecked(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (body, _) = split_signature(bytes)?;
        let mut reader = Reader::new(body, MAGIC, VERSION, "receipt")?;
        let (node, grant, issued) = (NodeId(reader.array()?), GrantId(reader.array()?), reader.u64()?);
        let count = usize::from(reader.u16()?);
        if count > CHUNKS_MAX {
            return Err(DecodeError::Invalid("too many chunks"));
        }
        let mut chunks = Vec::with_capacity(count.min(reader.remaining() / 52));
        for _ in 0..count {
            chunks.push(ReceivedChunk { id: ChunkId(reader.array()?), length: reader.u32()?, root: reader.array()? });
        }
        reader.end()?;
        Ok(Self { node, grant, issued, chunks })
    }

    /// Reads a receipt and checks that the holder of `node_key` signed it.
    ///
    /// # Errors
    /// [`ReceiptError`]; the caller still has to compare times, node and chunks with what it expects.
    pub fn verify(bytes: &[u8], node_key: &[u8; 32]) -> Result<Self, ReceiptError> {
        let receipt = Self::read_unchecked(bytes)?;
        let (body, signature) = split_signature(bytes)?;
        sign::verify(node_key, Purpose::Receipt, body, signature).map_err(|BadSignature| ReceiptError::BadSignature)?;
        if NodeId::from_public_key(node_key) != receipt.node {
            return Err(ReceiptError::BadSignature);
        }
        Ok(receipt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_nodes_own_untouched_word_is_believed() {
        let key = SigningKey::from_bytes(&[5; 32]);
        let public = key.verifying_key().to_bytes();
        let receipt = Receipt {
            node: NodeId::from_public_key(&public),
            grant: GrantId([1; 16]),
            issued: 77,
            chunks: vec![ReceivedChunk { id: ChunkId([2; 16]), length: 9, root: [3; 32] }],
        };
        let bytes = receipt.sign(&key);
        assert_eq!(Receipt::verify(&bytes, &public), Ok(receipt));
        assert!(Receipt::verify(&bytes, &[8; 32]).is_err());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x80;
            assert!(Receipt::verify(&changed, &public).is_err(), "byte {at}");
        }
    }
}
