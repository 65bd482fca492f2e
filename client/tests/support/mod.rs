//! Fake storage nodes that run in the test's own process: honest ones, and ones that fail in every way a node can.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod node;

use std::sync::Arc;

use cyx_client::nodes::SessionProof;
use cyx_core::sign::{self, Purpose, SIGNATURE_LEN};
use ed25519_dalek::SigningKey;

/// A session with a fixed key.
pub struct TestSession(pub SigningKey);

impl TestSession {
    pub fn shared() -> Arc<dyn SessionProof> {
        Arc::new(Self(SigningKey::from_bytes(&[42; 32])))
    }
}

impl SessionProof for TestSession {
    fn public_key(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    fn prove(&self, body: &[u8]) -> [u8; SIGNATURE_LEN] {
        sign::sign(&self.0, Purpose::Possession, body)
    }

    fn order(&self, body: &[u8]) -> [u8; SIGNATURE_LEN] {
        sign::sign(&self.0, Purpose::Order, body)
    }
}
