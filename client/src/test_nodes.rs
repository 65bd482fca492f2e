//! Fake storage nodes for the tests inside the crate; the same ones as in `tests/`.

#[allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#[path = "../tests/support/node.rs"]
pub(crate) mod node;

use std::sync::Arc;
use std::time::Duration;

use cyx_core::grant::Operations;
use cyx_core::scheme::Scheme;
use cyx_core::sign::{self, Purpose, SIGNATURE_LEN};
use cyx_core::units::MIB;
use ed25519_dalek::SigningKey;

use crate::nodes::{NodeAccess, NodePool, Patience, SessionProof};
use crate::transfer::Tuning;
use crate::transfer::budget::Budget;
use crate::transfer::coded::{Coded, buffer_len};
use crate::transfer::fetch::{AccessMap, SegmentAt};
use crate::transfer::lease::Lease;
use node::FakeNode;

/// Nodes with seeds 1, 2, …
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<FakeNode>,
}

struct Session(SigningKey);

impl SessionProof for Session {
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

fn session() -> Session {
    Session(SigningKey::from_bytes(&[42; 32]))
}

/// No stall is as long.
const LONG: Duration = Duration::from_secs(60);

/// Times that are long enough for a busy machine where something must succeed, and short where tests wait for them. Who waits until nodes that
/// hang are given up has a shorter tail of its own.
pub(crate) fn patient() -> Tuning {
    Tuning {
        tail_min: LONG,
        tail_max: LONG,
        late_store: LONG,
        hedge_min: Duration::from_secs(2),
        hedge_unknown: Duration::from_secs(2),
        patience: patience(),
        outage: Duration::ZERO,
        ..Tuning::default()
    }
}

fn patience() -> Patience {
    Patience { connect: Duration::from_secs(60), idle: Duration::from_secs(120) }
}

impl Cluster {
    pub(crate) async fn start(count: u8) -> Self {
        let mut nodes = Vec::new();
        for seed in 1..=count {
            nodes.push(FakeNode::start(seed).await);
        }
        Self { nodes }
    }

    pub(crate) fn pool(&self) -> NodePool {
        self.pool_with(patience())
    }

    pub(crate) fn pool_with(&self, patience: Patience) -> NodePool {
        NodePool::new(Arc::new(session()), patience)
    }

    fn accesses(&self) -> Vec<NodeAccess> {
        let (server, key) = (SigningKey::from_bytes(&[1; 32]), session().public_key());
        let all = Operations::STORE.and(Operations::READ);
        self.nodes.iter().map(|node| node.access(&server, key, all).try_into().unwrap()).collect()
    }

    /// A lease of the first nodes, with the last ones as spares.
    pub(crate) fn lease(&self, scheme: Scheme, spares: usize) -> Lease {
        let mut nodes = self.accesses();
        let spares = nodes.split_off(nodes.len() - spares);
        nodes.truncate(scheme.n());
        Lease::for_tests(scheme, nodes, spares)
    }

    pub(crate) fn access(&self) -> AccessMap {
        self.accesses().into_iter().map(|access| (access.node, access)).collect()
    }
}

/// A segment of that many bytes, which are not all the same.
pub(crate) async fn coded(scheme: Scheme, length: usize) -> Coded {
    let mut buffer = Budget::new(64 * MIB).lend(buffer_len(scheme, length as u64).unwrap()).await;
    for (at, byte) in buffer.bytes.iter_mut().enumerate() {
        *byte = u8::try_from((at * 7 + at / 251) % 251).unwrap();
    }
    Coded::code(&cyx_core::erasure::Coder::new(scheme), buffer, length as u64).unwrap()
}

/// Where a segment is whose shard i lies on node i.
pub(crate) fn segment_at(cluster: &Cluster, coded: &Coded) -> SegmentAt {
    SegmentAt {
        id: coded.id,
        scheme: coded.scheme,
        length: coded.length,
        shard_len: cyx_core::segment::shard_len(coded.scheme, coded.length),
        holders: cluster.nodes.iter().take(coded.scheme.n()).map(|node| Some(node.id())).collect(),
        roots: (0..coded.scheme.n()).map(|index| coded.chunk(index).root).collect(),
        audited_ns: 0,
    }
}
