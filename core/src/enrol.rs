//! Enrolment tokens: what lets a fresh machine join an operator's nodes, once.
//!
//! ```text
//! cyxn_ fingerprint (32 hexadecimal digits) _ secret (64 hexadecimal digits)
//! ```
//! The fingerprint is that of the server's identity key. Before a machine sends the token anywhere it has the server sign a challenge with
//! that key ([`challenge_body`]), so a token that was typed beside a wrong address is not given away.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::ids::{ID_LEN, KeyId, NodeId, random_bytes};
use crate::sign::{self, BadSignature, Purpose};

/// What every token begins with.
pub const PREFIX: &str = "cyxn_";
/// Bytes of the secret.
pub const SECRET_LEN: usize = 32;
/// Bytes of a challenge.
pub const CHALLENGE_LEN: usize = 32;

/// An enrolment token. It is never shown by accident.
#[derive(Clone)]
pub struct EnrolmentToken {
    fingerprint: KeyId,
    secret: Zeroizing<[u8; SECRET_LEN]>,
}

/// A text is not an enrolment token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this is not an enrolment token: one begins with cyxn_ and comes from `cyx node enroll`")]
pub struct NotAToken;

impl EnrolmentToken {
    /// A new one, for the server whose identity key has this fingerprint.
    #[must_use]
    pub fn make(fingerprint: KeyId) -> Self {
        Self { fingerprint, secret: Zeroizing::new(random_bytes()) }
    }

    /// The fingerprint of the identity key of the server that made it: [`sign::key_id`] of the key.
    #[must_use]
    pub const fn fingerprint(&self) -> KeyId {
        self.fingerprint
    }

    /// As it is handed over.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(hex::encode(&self.secret[..]));
        Zeroizing::new(format!("{PREFIX}{}_{}", self.fingerprint, &*secret))
    }
}

impl fmt::Debug for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrolmentToken({})", self.fingerprint)
    }
}

impl FromStr for EnrolmentToken {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let (fingerprint, secret) = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).ok_or(NotAToken)?;
        let mut bytes = Zeroizing::new([0; SECRET_LEN]);
        // The one spelling, so that the server may compare hashes of the text.
        let is_canonical = |digits: &str| digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if fingerprint.len() != 2 * ID_LEN || !is_canonical(fingerprint) || !is_canonical(secret) {
            return Err(NotAToken);
        }
        hex::decode_to_slice(secret, &mut bytes[..]).map_err(|_| NotAToken)?;
        Ok(Self { fingerprint: fingerprint.parse().map_err(|_| NotAToken)?, secret: bytes })
    }
}

/// What the server's identity key signs when it is challenged.
#[must_use]
pub fn challenge_body(challenge: &[u8; CHALLENGE_LEN]) -> Vec<u8> {
    [b"cyxI\x01", &challenge[..]].concat()
}

/// What the server's identity key signs about the keys that it announces to a node which registers: the node's id, the time of the
/// request, and every key, so that an answer serves one registration only.
#[must_use]
pub fn announcement_body<'a>(node: NodeId, issued_at: u64, keys: impl IntoIterator<Item = &'a [u8; 32]>) -> Vec<u8> {
    let mut body = [b"cyxJ\x01", &node.0[..], &issued_at.to_le_bytes()].concat();
    for key in keys {
        body.extend_from_slice(key);
    }
    body
}

/// Checks that the holder of the identity key with this fingerprint signed a body.
///
/// # Errors
/// [`BadSignature`], also for a key with another fingerprint.
pub fn verify_identity(
    fingerprint: KeyId,
    public_key: &[u8; 32],
    body: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    if sign::key_id(public_key) != fingerprint {
        return Err(BadSignature);
    }
    sign::verify(public_key, Purpose::ServerIdentity, body, signature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;

    #[test]
    fn a_token_survives_its_text_and_shows_no_secret() {
        let token = EnrolmentToken::make(KeyId([7; 16]));
        let text = token.expose();
        assert_eq!(text.len(), PREFIX.len() + 32 + 1 + 64);
        let read: EnrolmentToken = text.parse().unwrap();
        assert_eq!((read.fingerprint(), read.expose()), (token.fingerprint(), text.clone()));
        assert!(!format!("{token:?}").contains(&text[PREFIX.len() + 33..]));
        assert_ne!(text, EnrolmentToken::make(KeyId([7; 16])).expose());
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let good = EnrolmentToken::make(KeyId([7; 16])).expose();
        let upper = good.to_uppercase().replacen("CYXN_", PREFIX, 1);
        for bad in ["", "cyxn_", "cyxn_00_00", &good[1..], &good[..good.len() - 1], &format!("{}0", &*good), &upper] {
            assert_eq!(bad.parse::<EnrolmentToken>().err(), Some(NotAToken), "{bad}");
        }
    }

    #[test]
    fn only_the_key_of_the_fingerprint_proves_who_the_server_is() {
        let key = SigningKey::from_bytes(&[5; 32]);
        let public = key.verifying_key().to_bytes();
        let body = challenge_body(&[9; CHALLENGE_LEN]);
        let signature = sign::sign(&key, Purpose::ServerIdentity, &body);
        let fingerprint = sign::key_id(&public);
        assert_eq!(verify_identity(fingerprint, &public, &body, &signature), Ok(()));
        assert!(verify_identity(KeyId([1; 16]), &public, &body, &signature).is_err());
        assert!(verify_identity(fingerprint, &public, &challenge_body(&[8; CHALLENGE_LEN]), &signature).is_err());
        let other = SigningKey::from_bytes(&[6; 32]).verifying_key().to_bytes();
        assert!(verify_identity(fingerprint, &other, &body, &signature).is_err());
    }

    #[test]
    fn an_announcement_is_for_one_node_one_time_and_one_list_of_keys() {
        let body = |node: u8, time: u64, keys: &[[u8; 32]]| announcement_body(NodeId([node; 16]), time, keys);
        let one = body(1, 2, &[[3; 32], [4; 32]]);
        for other in [body(2, 2, &[[3; 32], [4; 32]]), body(1, 3, &[[3; 32], [4; 32]]), body(1, 2, &[[3; 32]])] {
            assert_ne!(one, other);
        }
    }
}
