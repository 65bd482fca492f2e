//! Exit receipts: a server's signed word that a node handed over everything that it held and owes the network nothing.
//!
//! ```text
//! "cyxX" 1 | key id 16 | node 16 | began u64 | ended u64 | chunks u64 | bytes u64 | signature 64
//! ```
//! Times are Unix seconds. Chunks and bytes are those that lay on the node and were handed over to others after it began to leave.

use ed25519_dalek::SigningKey;
use thiserror::Error;

use crate::grant::split_signature;
use crate::ids::{KeyId, NodeId};
use crate::sign::{self, BadSignature, Purpose};
use crate::wire::{DecodeError, Reader, Writer};

const MAGIC: &[u8; 4] = b"cyxX";
const VERSION: u8 = 1;

/// What an exit receipt says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExitReceipt {
    /// Which server key signed it.
    pub key: KeyId,
    /// The node that left.
    pub node: NodeId,
    /// Unix second at which it began to leave.
    pub began: u64,
    /// Unix second at which it held nothing any more.
    pub ended: u64,
    /// Chunks that were handed over.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Why an exit receipt is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ExitError {
    /// The bytes are not an exit receipt.
    #[error("the exit receipt is {0}")]
    Malformed(#[from] DecodeError),
    /// It was signed by a key that is not known.
    #[error("the exit receipt is signed by an unknown key")]
    UnknownKey,
    /// Its signature is wrong.
    #[error("the exit receipt's signature is not valid")]
    BadSignature,
    /// It names another node.
    #[error("the exit receipt is another node's")]
    OtherNode,
}

impl ExitReceipt {
    /// Encodes and signs.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let mut writer = Writer::new(MAGIC, VERSION);
        writer.raw(&self.key.0).raw(&self.node.0).u64(self.began).u64(self.ended).u64(self.chunks).u64(self.bytes);
        let mut bytes = writer.finish();
        let signature = sign::sign(key, Purpose::Exit, &bytes);
        bytes.extend_from_slice(&signature);
        bytes
    }

    /// Decodes an exit receipt of `node` and checks its signature. `server_key` finds the public key of a server key id.
    ///
    /// # Errors
    /// [`ExitError`].
    pub fn verify(
        bytes: &[u8],
        server_key: impl Fn(KeyId) -> Option<[u8; 32]>,
        node: NodeId,
    ) -> Result<Self, ExitError> {
        let (body, signature) = split_signature(bytes)?;
        let mut reader = Reader::new(body, MAGIC, VERSION, "exit receipt")?;
        let receipt = Self {
            key: KeyId(reader.array()?),
            node: NodeId(reader.array()?),
            began: reader.u64()?,
            ended: reader.u64()?,
            chunks: reader.u64()?,
            bytes: reader.u64()?,
        };
        reader.end()?;
        let public = server_key(receipt.key).ok_or(ExitError::UnknownKey)?;
        sign::verify(&public, Purpose::Exit, body, signature).map_err(|BadSignature| ExitError::BadSignature)?;
        if receipt.node == node { Ok(receipt) } else { Err(ExitError::OtherNode) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_untouched_word_about_this_node_is_believed() {
        let key = SigningKey::from_bytes(&[9; 32]);
        let public = key.verifying_key().to_bytes();
        let node = NodeId([2; 16]);
        let receipt = ExitReceipt { key: sign::key_id(&public), node, began: 5, ended: 9, chunks: 3, bytes: 1 << 20 };
        let bytes = receipt.sign(&key);
        let find = |id| (id == receipt.key).then_some(public);
        assert_eq!(ExitReceipt::verify(&bytes, find, node), Ok(receipt));
        assert_eq!(ExitReceipt::verify(&bytes, find, NodeId([3; 16])), Err(ExitError::OtherNode));
        assert_eq!(ExitReceipt::verify(&bytes, |_| None, node), Err(ExitError::UnknownKey));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(ExitReceipt::verify(&changed, find, node).is_err(), "byte {at}");
        }
    }
}
