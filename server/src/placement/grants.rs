//! Grants for nodes, and the read grants that were signed already.
//!
//! A read grant says the same for as long as it lives, so it is signed once per (session, node, bucket) and handed out again until
//! half of its life is over. Revoking a session or a membership therefore ends reading after one grant life at the latest.

use std::collections::HashMap;

use bytes::Bytes;
use cyx_core::grant::{Grant, Operations};
use cyx_core::ids::{BucketId, BucketTag, GrantId, LeaseId, NodeId, Random as _};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;

use super::Placements;
use crate::keys::ServerKeys;
use crate::nodes::{Liveness, NodeRecord};
use crate::time::now_seconds;

/// Most read grants that are remembered: some 30 MB.
const REMEMBERED_MAX: usize = 65_536;

type Key = ([u8; 32], NodeId, BucketId);

/// Read grants that were signed.
#[derive(Default)]
pub struct ReadGrants {
    signed: HashMap<Key, (u64, Bytes)>,
}

impl ReadGrants {
    fn get_or_sign(
        &mut self,
        keys: &ServerKeys,
        session_key: [u8; 32],
        (node, bucket, tag): (NodeId, BucketId, BucketTag),
        now: u64,
        life: u64,
    ) -> Bytes {
        let key = (session_key, node, bucket);
        if let Some((expires, bytes)) = self.signed.get(&key)
            && *expires >= now + life.div_ceil(2)
        {
            return bytes.clone();
        }
        if self.signed.len() >= REMEMBERED_MAX {
            self.signed.retain(|_, (expires, _)| *expires >= now + life.div_ceil(2));
            if self.signed.len() >= REMEMBERED_MAX {
                self.signed.clear();
            }
        }
        let grant = Grant {
            key: keys.id(),
            id: GrantId::random(),
            node,
            session_key,
            operations: Operations::READ,
            allowance: 0,
            not_before: now,
            expires: now + life,
            tags: vec![tag],
        };
        let bytes = Bytes::from(keys.sign_grant(&grant));
        self.signed.insert(key, (grant.expires, bytes.clone()));
        bytes
    }
}

/// A store grant under a lease. Its id follows from lease and node, so that receipts can be held against the lease.
pub(super) fn sign_store(
    keys: &ServerKeys,
    session_key: [u8; 32],
    lease: LeaseId,
    (node, tag): (NodeId, BucketTag),
    allowance: u64,
    (now, expires): (u64, u64),
) -> Bytes {
    let grant = Grant {
        key: keys.id(),
        id: keys.store_grant_id(lease, node),
        node,
        session_key,
        operations: Operations::STORE,
        allowance,
        not_before: now,
        expires,
        tags: vec![tag],
    };
    Bytes::from(keys.sign_grant(&grant))
}

/// A node as a client needs it.
pub(super) fn access(node: &NodeRecord, tag: BucketTag, grant: Bytes) -> pb::NodeAccess {
    pb::NodeAccess {
        node: bytes_of(node.id),
        address: node.address.clone(),
        public_key: Bytes::copy_from_slice(&node.public_key),
        tls: node.tls,
        grant,
        bucket_tag: bytes_of(tag),
        alive: node.state == Liveness::Alive,
    }
}

impl Placements {
    /// Access to read a bucket's chunks on nodes. The caller has checked that the session may read the bucket. Nodes that do not exist
    /// are left out.
    #[must_use]
    pub fn read_access(&self, session_key: [u8; 32], bucket: BucketId, nodes: &[NodeId]) -> Vec<pb::NodeAccess> {
        let (now, life) = (now_seconds(), self.options.grant_seconds);
        let records: Vec<NodeRecord> = nodes.iter().filter_map(|node| self.registry.get(*node)).collect();
        let mut reads = self.reads.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        records
            .iter()
            .map(|node| {
                let tag = self.keys.tag(node.id, bucket);
                let grant = reads.get_or_sign(&self.keys, session_key, (node.id, bucket, tag), now, life);
                access(node, tag, grant)
            })
            .collect()
    }

    /// The keys of nodes, for checking receipts.
    #[must_use]
    pub fn node_key(&self, node: NodeId) -> Option<[u8; 32]> {
        self.registry.get(node).map(|record| record.public_key)
    }

    /// The id of the grant under which a node must have stored what was uploaded under a lease.
    #[must_use]
    pub fn store_grant_id(&self, lease: LeaseId, node: NodeId) -> GrantId {
        self.keys.store_grant_id(lease, node)
    }
}
