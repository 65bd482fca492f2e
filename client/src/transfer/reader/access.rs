//! Grants to read from the nodes of a file, and when other ones are needed.

use std::collections::{HashMap, HashSet};

use cyx_core::ids::{GrantId, NodeId};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;

use super::map::access_of;
use super::{FileReader, lock};
use crate::clock::unix_seconds;
use crate::error::Result;
use crate::nodes::NodeAccess;
use crate::nodes::access::AccessGrant;
use crate::transfer::fetch::{AccessMap, SegmentAt};

/// Grants that end within so many seconds are renewed first.
const GRANT_MARGIN_SECONDS: u64 = 60;
/// Nodes asked for in one call.
const NODES_PER_CALL: usize = 256;
/// How often other grants are asked for, for one range: those of another reader of this program may be too small for it.
pub(crate) const RENEWALS_MAX: usize = 3;

impl FileReader {
    /// Grants that do not do any more: those of nodes that refused them, and those that soon will be used up like these.
    pub(super) fn worn(&self, access: &AccessMap, stale: &HashSet<NodeId>) -> HashSet<GrantId> {
        let pool = self.shared.transfer.pool();
        let is_worn = |node: &NodeId, grant: &AccessGrant| stale.contains(node) || pool.is_half_spent(grant);
        let worn = |(node, access): (&NodeId, &NodeAccess)| {
            access.grant.as_ref().filter(|grant| is_worn(node, grant)).map(|grant| grant.id)
        };
        access.iter().filter_map(worn).collect()
    }

    /// Grants for the nodes of a segment, good for some time to come and for a read of `bytes`: other ones than those that are `worn`. They are
    /// asked for before one is used up, because a read for which too few nodes are left begins anew, and then for `coming` bytes; for
    /// none, if only questions are to be asked.
    pub(super) async fn access_to(
        &self,
        segment: &SegmentAt,
        worn: &HashSet<GrantId>,
        bytes: u64,
        coming: u64,
    ) -> Result<AccessMap> {
        let (pool, good_until) = (self.shared.transfer.pool(), unix_seconds() + GRANT_MARGIN_SECONDS);
        let is_spent = |grant: &AccessGrant| worn.contains(&grant.id) || !pool.allows(grant, bytes);
        let holders: Vec<NodeId> = segment.holders.iter().flatten().copied().collect();
        let (mut missing, mut spent) = (Vec::new(), HashMap::new());
        {
            let known = lock(&self.shared.access);
            for node in &holders {
                let grant = known.get(node).and_then(|access| access.grant.as_ref());
                spent.extend(grant.filter(|grant| is_spent(grant)).map(|grant| (*node, grant.id)));
                if spent.contains_key(node) || grant.is_none_or(|grant| grant.expires <= good_until) {
                    missing.push(*node);
                }
            }
        }
        for nodes in missing.chunks(NODES_PER_CALL) {
            let request = pb::GetReadAccessRequest {
                bucket: bytes_of(self.shared.bucket.id),
                nodes: nodes.iter().copied().map(bytes_of).collect(),
                spent: nodes.iter().filter_map(|node| spent.get(node).copied()).map(bytes_of).collect(),
                bytes: coming,
                asks_only: coming == 0,
            };
            let answer = self.shared.bucket.client().meta.get_read_access(request).await?;
            self.take_access(answer.nodes)?;
        }
        let known = lock(&self.shared.access);
        Ok(holders.iter().filter_map(|node| Some((*node, known.get(node)?.clone()))).collect())
    }

    pub(super) fn take_access(&self, nodes: Vec<pb::NodeAccess>) -> Result<()> {
        let nodes = access_of(nodes)?;
        lock(&self.shared.access).extend(nodes);
        Ok(())
    }

    /// Grants for the nodes of a segment, to read so many bytes from each or to ask about its chunks only.
    pub(crate) async fn access(&self, segment: &SegmentAt, bytes: u64) -> Result<AccessMap> {
        self.access_to(segment, &HashSet::new(), bytes, bytes).await
    }

    /// Other grants for the nodes that did not take those at hand.
    pub(crate) async fn access_anew(
        &self,
        segment: &SegmentAt,
        (access, stale): (&AccessMap, &HashSet<NodeId>),
        bytes: u64,
    ) -> Result<AccessMap> {
        self.access_to(segment, &self.worn(access, stale), bytes, bytes).await
    }
}
