//! Ed25519 signatures (RFC 8032) with a context, so that a signature for one purpose never serves another.
//!
//! What is signed is `context ‖ 0 ‖ body`; every body that is stored or passed on begins with its own magic and version.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use thiserror::Error;

use crate::ids::{KeyId, NodeId, derive};

/// Bytes of a signature.
pub const SIGNATURE_LEN: usize = 64;

const KEY_ID_CONTEXT: &str = "cyx v1 key id";

/// What a signature is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A server's grant.
    Grant,
    /// A node's receipt.
    Receipt,
    /// A server's keep-list.
    KeepList,
    /// A server's order to put chunks into a node's trash.
    Deletion,
    /// A writer's commit.
    Commit,
    /// An owner's entry in a bucket's writer list.
    WriterList,
    /// A client's or a node's proof that it holds its key.
    Possession,
    /// A client's word about the traffic it had.
    Order,
    /// An account owner's new password, set with the recovery words.
    Recovery,
    /// A server's word that a node handed over all that it held.
    Exit,
    /// A server's proof to a machine that it is the one whose fingerprint the machine was given.
    ServerIdentity,
}

impl Purpose {
    const fn context(self) -> &'static [u8] {
        match self {
            Self::Grant => b"cyx v1 grant\0",
            Self::Receipt => b"cyx v1 receipt\0",
            Self::KeepList => b"cyx v1 keep-list\0",
            Self::Deletion => b"cyx v1 deletion\0",
            Self::Commit => b"cyx v1 commit\0",
            Self::WriterList => b"cyx v1 writer list\0",
            Self::Possession => b"cyx v1 possession\0",
            Self::Order => b"cyx v1 order\0",
            Self::Recovery => b"cyx v1 recovery\0",
            Self::Exit => b"cyx v1 exit\0",
            Self::ServerIdentity => b"cyx v1 server identity\0",
        }
    }
}

/// A signature does not fit its body and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the signature is not valid")]
pub struct BadSignature;

/// `BLAKE3-derive("cyx v1 key id", public key)[..16]`.
#[must_use]
pub fn key_id(public_key: &[u8; 32]) -> KeyId {
    KeyId(derive(KEY_ID_CONTEXT, public_key))
}

fn message(purpose: Purpose, body: &[u8]) -> Vec<u8> {
    [purpose.context(), body].concat()
}

/// Signs a body.
#[must_use]
pub fn sign(key: &SigningKey, purpose: Purpose, body: &[u8]) -> [u8; SIGNATURE_LEN] {
    key.sign(&message(purpose, body)).to_bytes()
}

/// Checks a signature strictly (no malleable or small-order forms).
///
/// # Errors
/// [`BadSignature`], also for a public key that is not a point of the curve.
pub fn verify(public_key: &[u8; 32], purpose: Purpose, body: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
    let key = VerifyingKey::from_bytes(public_key).map_err(|_| BadSignature)?;
    let signature = Signature::from_slice(signature).map_err(|_| BadSignature)?;
    key.verify_strict(&message(purpose, body), &signature).map_err(|_| BadSignature)
}

/// What is signed for [`Purpose::Possession`] over a node's challenge. It names the node, so that nobody can pass it on to another one.
#[must_use]
pub fn possession_body(node: NodeId, challenge: &[u8]) -> Vec<u8> {
    [&node.0[..], challenge].concat()
}

/// What a node signs for [`Purpose::Possession`] to register: who it is, when (Unix seconds) and under which address. It begins with the
/// id of the key that signs, so a proof for another node never is a registration.
#[must_use]
pub fn registration_body(node: NodeId, issued_at: u64, address: &str) -> Vec<u8> {
    [&node.0[..], &issued_at.to_le_bytes(), address.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_serves_one_purpose_and_one_body() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let public = key.verifying_key().to_bytes();
        let signature = sign(&key, Purpose::Grant, b"body");
        assert_eq!(verify(&public, Purpose::Grant, b"body", &signature), Ok(()));
        assert_eq!(verify(&public, Purpose::Receipt, b"body", &signature), Err(BadSignature));
        assert_eq!(verify(&public, Purpose::Grant, b"other", &signature), Err(BadSignature));
        assert_eq!(verify(&public, Purpose::Grant, b"body", &signature[..63]), Err(BadSignature));
    }
}
