//! Grants: what a server lets one client do on one node, verified by the node without asking anyone.
//!
//! ```text
//! "cyxG" 1 | key id 16 | grant id 16 | node 16 | session key 32 | operations u8 | allowance u64
//!          | not before u64 | expires u64 | count u16 | bucket tags 16 each | signature 64
//! ```
//! Times are Unix seconds. The allowance counts chunk bytes: those stored under a grant to store, those
//! moved under any grant. The signature covers all before it.

use thiserror::Error;

use crate::ids::{BucketTag, GrantId, KeyId, NodeId};
use crate::sign::{self, BadSignature, Purpose, SIGNATURE_LEN};
use crate::units::GRANT_LIFETIME_SECONDS;
use crate::wire::{DecodeError, Reader, Writer};

use ed25519_dalek::SigningKey;

const MAGIC: &[u8; 4] = b"cyxG";
const VERSION: u8 = 1;
/// Most bucket tags of one grant.
pub const TAGS_MAX: usize = 256;
/// Clocks may differ by this many seconds.
pub const CLOCK_SKEW_SECONDS: u64 = 120;

/// What may be done under a grant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Operations(u8);

impl Operations {
    /// Store chunks.
    pub const STORE: Self = Self(1);
    /// Read and verify chunks.
    pub const READ: Self = Self(2);
    const ALL: u8 = 3;

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether everything in `wanted` is allowed.
    #[must_use]
    pub const fn allows(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }
}

/// What a grant says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Which server key signed it.
    pub key: KeyId,
    /// Its own id, under which a node counts what was used.
    pub id: GrantId,
    /// The only node that honours it.
    pub node: NodeId,
    /// Ed25519 public key of the client's session: the only client that may use it.
    pub session_key: [u8; 32],
    /// What it allows.
    pub operations: Operations,
    /// Bytes of chunks that may be moved under it, all together: stored, if it is a grant to store, or read.
    pub allowance: u64,
    /// First Unix second of its life.
    pub not_before: u64,
    /// Unix second at which it ends.
    pub expires: u64,
    /// The tags of the buckets it covers, as this node knows them.
    pub tags: Vec<BucketTag>,
}

/// Why a node does not honour a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum GrantError {
    /// The bytes are not a grant.
    #[error("the grant is {0}")]
    Malformed(#[from] DecodeError),
    /// It was signed by a key the node does not know.
    #[error("the grant is signed by an unknown key")]
    UnknownKey,
    /// Its signature is wrong.
    #[error("the grant's signature is not valid")]
    BadSignature,
    /// It names another node.
    #[error("the grant is for another node")]
    OtherNode,
    /// It is not valid now.
    #[error("the grant is not valid at this time")]
    OutOfTime,
}

impl Grant {
    /// Encodes and signs.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let mut writer = Writer::new(MAGIC, VERSION);
        writer.raw(&self.key.0).raw(&self.id.0).raw(&self.node.0).raw(&self.session_key).u8(self.operations.0);
        writer.u64(self.allowance).u64(self.not_before).u64(self.expires);
        writer.u16(u16::try_from(self.tags.len()).unwrap_or(u16::MAX));
        for tag in &self.tags {
            writer.raw(&tag.0);
        }
        let mut bytes = writer.finish();
        let signature = sign::sign(key, Purpose::Grant, &bytes);
        bytes.extend_from_slice(&signature);
        bytes
    }

    fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, MAGIC, VERSION, "grant")?;
        let key = KeyId(reader.array()?);
        let id = GrantId(reader.array()?);
        let node = NodeId(reader.array()?);
        let session_key = reader.array()?;
        let operations = match reader.u8()? {
            bits if bits & !Operations::ALL == 0 => Operations(bits),
            _ => return Err(DecodeError::Invalid("operations")),
        };
        let (allowance, not_before, expires) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let count = usize::from(reader.u16()?);
        if count > TAGS_MAX {
            return Err(DecodeError::Invalid("too many tags"));
        }
        let tags = (0..count).map(|_| reader.array().map(BucketTag)).collect::<Result<_, _>>()?;
        reader.end()?;
        Ok(Self { key, id, node, session_key, operations, allowance, not_before, expires, tags })
    }

    /// Decodes a signed grant and checks all that a node can check offline.
    ///
    /// `server_key` finds the public key of a server key id. `now` is in Unix seconds.
    ///
    /// # Errors
    /// [`GrantError`].
    pub fn verify(
        bytes: &[u8],
        server_key: impl Fn(KeyId) -> Option<[u8; 32]>,
        node: NodeId,
        now: u64,
    ) -> Result<Self, GrantError> {
        let (body, signature) = split_signature(bytes)?;
        let grant = Self::decode(body)?;
        let public = server_key(grant.key).ok_or(GrantError::UnknownKey)?;
        sign::verify(&public, Purpose::Grant, body, signature).map_err(|BadSignature| GrantError::BadSignature)?;
        if grant.node != node {
            return Err(GrantError::OtherNode);
        }
        let too_long = grant.expires.saturating_sub(grant.not_before) > GRANT_LIFETIME_SECONDS + CLOCK_SKEW_SECONDS;
        if too_long || now + CLOCK_SKEW_SECONDS < grant.not_before || now >= grant.expires {
            return Err(GrantError::OutOfTime);
        }
        Ok(grant)
    }

    /// Reads a grant without checking its signature, as a client does that only wants to know what it was given.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn read_unchecked(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode(split_signature(bytes)?.0)
    }
}

/// Splits `body ‖ signature`.
pub(crate) fn split_signature(bytes: &[u8]) -> Result<(&[u8], &[u8]), DecodeError> {
    let at = bytes.len().checked_sub(SIGNATURE_LEN).ok_or(DecodeError::Truncated)?;
    Ok(bytes.split_at(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Random as _;

    fn example(key: &SigningKey) -> Grant {
        Grant {
            key: sign::key_id(&key.verifying_key().to_bytes()),
            id: GrantId([1; 16]),
            node: NodeId([2; 16]),
            session_key: [3; 32],
            operations: Operations::STORE,
            allowance: 1 << 20,
            not_before: 1000,
            expires: 2000,
            tags: vec![BucketTag([4; 16])],
        }
    }

    #[test]
    fn a_grant_is_honoured_by_its_node_in_its_time_only() {
        let key = SigningKey::from_bytes(&[9; 32]);
        let grant = example(&key);
        let bytes = grant.sign(&key);
        let find = |id| (id == grant.key).then(|| key.verifying_key().to_bytes());
        assert_eq!(Grant::verify(&bytes, find, grant.node, 1500), Ok(grant.clone()));
        assert_eq!(Grant::verify(&bytes, find, NodeId::random(), 1500), Err(GrantError::OtherNode));
        assert_eq!(Grant::verify(&bytes, find, grant.node, 2000), Err(GrantError::OutOfTime));
        assert_eq!(Grant::verify(&bytes, find, grant.node, 100), Err(GrantError::OutOfTime));
        assert_eq!(Grant::verify(&bytes, |_| None, grant.node, 1500), Err(GrantError::UnknownKey));
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let key = SigningKey::from_bytes(&[9; 32]);
        let grant = example(&key);
        let bytes = grant.sign(&key);
        let find = |_| Some(key.verifying_key().to_bytes());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Grant::verify(&changed, find, grant.node, 1500).is_err(), "byte {at}");
            assert!(Grant::verify(&bytes[..at], find, grant.node, 1500).is_err(), "cut at {at}");
        }
    }
}
