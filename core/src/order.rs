//! Orders: a client's signed word about the traffic it had with one node under one grant.
//!
//! ```text
//! "cyxO" 1 | node 16 | grant 16 | traffic u64 | signature 64
//! ```
//! The traffic is cumulative, so a later order contains every earlier one and only the highest has to be kept. It counts the bytes
//! of chunks that were begun to be moved in either direction under the grant. The signature is that of the session key to which
//! the grant is bound. Nodes serve a little ahead of the last order ([`ORDER_SLACK`]), hand orders in, and are paid by them.

use ed25519_dalek::SigningKey;
use thiserror::Error;

use crate::grant::{Grant, split_signature};
use crate::ids::{GrantId, NodeId};
use crate::sign::{self, Purpose, SIGNATURE_LEN};
use crate::units::{KIB, MIB};
use crate::wire::{DecodeError, Reader, Writer};

const MAGIC: &[u8; 4] = b"cyxO";
const VERSION: u8 = 1;
/// Bytes of an order.
pub const ORDER_LEN: usize = 4 + 1 + 16 + 16 + 8 + SIGNATURE_LEN;
/// A client signs anew when its traffic under a grant has grown by this many bytes since its last order; see [`step`].
pub const ORDER_STEP: u64 = 4 * MIB;
/// The smallest step.
const ORDER_STEP_MIN: u64 = 64 * KIB;
/// A node moves at most this many bytes under a grant beyond the last order it has: what it may never be paid for.
pub const ORDER_SLACK: u64 = 16 * MIB;
const _: () = assert!(ORDER_STEP * 2 <= ORDER_SLACK, "an honest client never waits for its own signature");

/// By how many bytes the traffic may grow beyond an order before a client signs the next: a quarter of it, so that what is never paid is a
/// small part of the whole, and at most [`ORDER_STEP`], so that signatures stay few.
#[must_use]
pub const fn step(signed: u64) -> u64 {
    let quarter = signed / 4;
    if quarter < ORDER_STEP_MIN {
        ORDER_STEP_MIN
    } else if quarter > ORDER_STEP {
        ORDER_STEP
    } else {
        quarter
    }
}

/// What an order says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Order {
    /// The node that moved the bytes.
    pub node: NodeId,
    /// The grant under which it did.
    pub grant: GrantId,
    /// All bytes so far.
    pub traffic: u64,
}

/// Why an order is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OrderError {
    /// The bytes are not an order.
    #[error("the order is {0}")]
    Malformed(#[from] DecodeError),
    /// It names another node.
    #[error("the order is for another node")]
    OtherNode,
    /// It names another grant.
    #[error("the order is for another grant")]
    OtherGrant,
    /// It is for more traffic than the grant allows.
    #[error("the order is for more traffic than its grant allows")]
    OverLimit,
    /// The signature is not that of the grant's session key.
    #[error("the order's signature is not valid")]
    BadSignature,
}

/// What an order has to agree with, as whoever checks it knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// The node that may present it.
    pub node: NodeId,
    /// The grant.
    pub grant: GrantId,
    /// The session key to which the grant is bound.
    pub session_key: [u8; 32],
    /// Most bytes that may be moved under the grant.
    pub allowance: u64,
}

impl From<&Grant> for Terms {
    fn from(grant: &Grant) -> Self {
        Self { node: grant.node, grant: grant.id, session_key: grant.session_key, allowance: grant.allowance }
    }
}

impl Order {
    /// What is signed.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut writer = Writer::new(MAGIC, VERSION);
        writer.raw(&self.node.0).raw(&self.grant.0).u64(self.traffic);
        writer.finish()
    }

    /// Encodes and signs with the session's key.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let mut bytes = self.body();
        let signature = sign::sign(key, Purpose::Order, &bytes);
        bytes.extend_from_slice(&signature);
        bytes
    }

    /// Reads what an order says without believing it.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn read_unchecked(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (body, _) = split_signature(bytes)?;
        let mut reader = Reader::new(body, MAGIC, VERSION, "order")?;
        let order = Self { node: NodeId(reader.array()?), grant: GrantId(reader.array()?), traffic: reader.u64()? };
        reader.end()?;
        Ok(order)
    }

    /// Reads an order and checks it against the terms of its grant. The signature, which costs most, is checked last.
    ///
    /// # Errors
    /// [`OrderError`].
    pub fn verify(bytes: &[u8], terms: &Terms) -> Result<Self, OrderError> {
        let order = Self::read_unchecked(bytes)?;
        if order.node != terms.node {
            return Err(OrderError::OtherNode);
        }
        if order.grant != terms.grant {
            return Err(OrderError::OtherGrant);
        }
        if order.traffic > terms.allowance {
            return Err(OrderError::OverLimit);
        }
        let (body, signature) = split_signature(bytes)?;
        sign::verify(&terms.session_key, Purpose::Order, body, signature).map_err(|_| OrderError::BadSignature)?;
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (SigningKey, Order, Terms) {
        let key = SigningKey::from_bytes(&[9; 32]);
        let order = Order { node: NodeId([2; 16]), grant: GrantId([1; 16]), traffic: 5 * MIB };
        let session_key = key.verifying_key().to_bytes();
        (key, order, Terms { node: order.node, grant: order.grant, session_key, allowance: 8 * MIB })
    }

    #[test]
    fn an_order_counts_for_its_node_and_grant_up_to_the_allowance() {
        let (key, order, terms) = example();
        let bytes = order.sign(&key);
        assert_eq!(bytes.len(), ORDER_LEN);
        assert_eq!(Order::verify(&bytes, &terms), Ok(order));
        let other_node = Terms { node: NodeId([3; 16]), ..terms };
        assert_eq!(Order::verify(&bytes, &other_node), Err(OrderError::OtherNode));
        let other_grant = Terms { grant: GrantId([3; 16]), ..terms };
        assert_eq!(Order::verify(&bytes, &other_grant), Err(OrderError::OtherGrant));
        let poorer = Terms { allowance: order.traffic - 1, ..terms };
        assert_eq!(Order::verify(&bytes, &poorer), Err(OrderError::OverLimit));
        assert!(Order::verify(&bytes, &Terms { allowance: order.traffic, ..terms }).is_ok());
    }

    #[test]
    fn only_the_session_signs_and_only_as_an_order() {
        let (key, order, terms) = example();
        let forged = order.sign(&SigningKey::from_bytes(&[8; 32]));
        assert_eq!(Order::verify(&forged, &terms), Err(OrderError::BadSignature));
        let mut proof = order.body();
        proof.extend_from_slice(&sign::sign(&key, Purpose::Possession, &order.body()));
        assert_eq!(Order::verify(&proof, &terms), Err(OrderError::BadSignature));
    }

    #[test]
    fn steps_grow_with_the_traffic_up_to_a_bound() {
        assert_eq!([0, MIB, 16 * MIB, u64::MAX].map(step), [64 * KIB, 256 * KIB, 4 * MIB, 4 * MIB]);
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let (key, order, terms) = example();
        let bytes = order.sign(&key);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Order::verify(&changed, &terms).is_err(), "byte {at}");
            assert!(Order::verify(&bytes[..at], &terms).is_err(), "cut at {at}");
        }
    }
}
