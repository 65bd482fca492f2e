//! Grants for nodes, and the read grants that were signed already.
//!
//! A read grant says the same for as long as it lives, so it is signed once per (session, program, node, bucket) and handed out again until
//! half of its life is over, or until the client says that it is spent. Revoking a session or a
//! membership therefore ends reading after one grant life at the latest.
//!
//! Two programs of a session never get the same grant: traffic is counted per grant, by the node and by whoever signs for it, and programs
//! do not know of each other. What may be read under a grant is promised out of the reader's traffic when the grant is signed: see
//! [`crate::orders::limit`]. The first one for a node is for little more than the files that were asked for, and each that is spent is
//! followed by a larger one, so what is promised stays in proportion to what is read. How large the spent one was is looked up in the
//! database: another server may have given it. Whatever a session's older grants still allow counts as given back when it gets new ones.
//!
//! Who only asks about chunks gets a grant that allows no bytes. It is neither written down nor handed out again.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use cyx_core::grant::{Grant, Operations};
use cyx_core::ids::{AccountId, BucketId, BucketTag, GrantId, LeaseId, NodeId, Random as _};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;

use super::Placements;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::keys::ServerKeys;
use crate::nodes::{Liveness, NodeRecord};
use crate::orders::{self, Promise, ReadWish, rows::NewGrant};
use crate::time::now_seconds;

/// Most read grants that are remembered: some 30 MB.
const REMEMBERED_MAX: usize = 65_536;

/// A node from which a caller wants to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadFrom {
    /// The node.
    pub node: NodeId,
    /// Bytes of chunks that will probably be read from it; 0 for who only asks about them.
    pub bytes: u64,
}

/// A session that reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaderOf {
    /// Whose traffic it is.
    pub account: AccountId,
    /// The session's key.
    pub session_key: [u8; 32],
    /// Which of the session's programs it is.
    pub program: [u8; 16],
}

impl From<&Caller> for ReaderOf {
    fn from(caller: &Caller) -> Self {
        Self { account: caller.account, session_key: caller.session_key, program: caller.reader }
    }
}

/// Session key, node, bucket.
type Key = ([u8; 32], NodeId, BucketId);

/// Read grants that were signed.
#[derive(Default)]
pub struct ReadGrants {
    /// By what they are for and the program that has them.
    signed: HashMap<(Key, [u8; 16]), SignedGrant>,
}

#[derive(Clone)]
struct SignedGrant {
    id: GrantId,
    expires: u64,
    bytes: Bytes,
}

impl ReadGrants {
    fn get(&self, key: &(Key, [u8; 16]), spent: &[GrantId], now: u64, life: u64) -> Option<Bytes> {
        let good = |grant: &&SignedGrant| grant.expires >= now + life.div_ceil(2) && !spent.contains(&grant.id);
        self.signed.get(key).filter(good).map(|grant| grant.bytes.clone())
    }

    fn remember(&mut self, key: (Key, [u8; 16]), grant: &Grant, bytes: &Bytes, life: u64) {
        let now = grant.not_before;
        if self.signed.len() >= REMEMBERED_MAX {
            self.signed.retain(|_, grant| grant.expires >= now + life.div_ceil(2));
            if self.signed.len() >= REMEMBERED_MAX {
                self.signed.clear();
            }
        }
        self.signed.insert(key, SignedGrant { id: grant.id, expires: grant.expires, bytes: bytes.clone() });
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
        alive: node.state == Liveness::Online,
    }
}

impl Placements {
    /// Access to read a bucket's chunks on nodes. The caller has checked that the session may read the bucket. Nodes that do not exist
    /// are left out. Grants that are `spent` are not handed out again; those that take their place are larger.
    ///
    /// # Errors
    /// [`cyx_core::error::ErrorCode::QuotaExceeded`] if new grants are needed and nothing is left of the reader's traffic.
    pub async fn read_access(
        &self,
        reader: ReaderOf,
        bucket: BucketId,
        nodes: &[ReadFrom],
        spent: &[GrantId],
    ) -> Result<Vec<pb::NodeAccess>, ApiError> {
        let (now, life) = (now_seconds(), self.options.grant_seconds);
        let records: Vec<NodeRecord> = nodes.iter().filter_map(|from| self.registry.get(from.node)).collect();
        let key = |node: NodeId| (reader.session_key, node, bucket);
        let mut grants: HashMap<NodeId, Bytes> = {
            let reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
            let good =
                |node: &NodeRecord| Some((node.id, reads.get(&(key(node.id), reader.program), spent, now, life)?));
            records.iter().filter_map(good).collect()
        };
        let is_missing = |node: NodeId| !grants.contains_key(&node) && records.iter().any(|record| record.id == node);
        let mut missing: Vec<ReadFrom> = nodes.iter().copied().filter(|from| is_missing(from.node)).collect();
        missing.sort_unstable_by_key(|from| from.node);
        missing.dedup_by_key(|from| from.node);
        for new in self.promise_reads(reader, &missing, spent, now + life).await? {
            let grant = Grant {
                key: self.keys.id(),
                id: new.id,
                node: new.node,
                session_key: reader.session_key,
                operations: Operations::READ,
                allowance: new.allowance,
                not_before: now,
                expires: new.expires,
                tags: vec![self.keys.tag(new.node, bucket)],
            };
            let bytes = Bytes::from(self.keys.sign_grant(&grant));
            if grant.allowance > 0 {
                let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
                reads.remember((key(new.node), reader.program), &grant, &bytes, life);
            }
            grants.insert(new.node, bytes);
        }
        let answer = |node: &NodeRecord| {
            let grant = grants.get(&node.id).cloned().unwrap_or_default();
            access(node, self.keys.tag(node.id, bucket), grant)
        };
        Ok(records.iter().map(answer).collect())
    }

    /// Promises traffic for grants to read on these nodes, and writes those down that allow some.
    async fn promise_reads(
        &self,
        reader: ReaderOf,
        nodes: &[ReadFrom],
        spent: &[GrantId],
        expires: u64,
    ) -> Result<Vec<NewGrant>, ApiError> {
        let new = move |from: &ReadFrom, allowance: u64| {
            let (id, node) = (GrantId::random(), from.node);
            NewGrant { id, node, lease: None, allowance, expires }
        };
        // Who asks about one node only asks about all of them.
        if nodes.iter().all(|from| from.bytes == 0) {
            return Ok(nodes.iter().map(|from| new(from, 0)).collect());
        }
        let backend = self.db.backend();
        let (nodes, spent): (Arc<[ReadFrom]>, Arc<[GrantId]>) = (nodes.into(), spent.into());
        self.db
            .write(move |conn| {
                let (nodes, spent) = (Arc::clone(&nodes), Arc::clone(&spent));
                Box::pin(async move {
                    let now = now_seconds();
                    orders::lock(conn, backend, reader.account).await?;
                    orders::release_reads(conn, reader.account, reader.session_key, now).await?;
                    let traffic = orders::check(conn, backend, reader.account, now).await?;
                    let spent = orders::allowances_of(conn, reader.session_key, &spent).await?;
                    let wish = |from: &ReadFrom| ReadWish { bytes: from.bytes, spent: spent.get(&from.node).copied() };
                    let wishes: Vec<ReadWish> = nodes.iter().map(wish).collect();
                    let Some(allowances) = orders::read_allowances(&traffic, &wishes) else {
                        return Err(orders::exceeded(&traffic));
                    };
                    let grants = nodes.iter().zip(allowances).map(|(from, allowance)| new(from, allowance)).collect();
                    let promise = Promise { account: reader.account, session_key: reader.session_key, grants };
                    orders::promise(conn, &promise).await?;
                    Ok(promise.grants)
                })
            })
            .await
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

#[cfg(test)]
mod tests;
