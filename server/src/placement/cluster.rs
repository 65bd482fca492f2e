//! What users see of the network.

use std::collections::HashSet;

use cyx_core::scheme::Scheme;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use serde::Serialize;

use super::Placements;
use super::choice::capacity;
use crate::nodes::NodeRecord;
use crate::nodes::registry::SCORE_FULL;

/// A node in `GET /api/v1/nodes`.
#[derive(Debug, Clone, Serialize)]
pub struct NodeView {
    /// Its id.
    pub node_id: String,
    /// Where it is.
    pub address: String,
    /// `online`, `suspect`, `offline`, `lost` or `read-only`.
    pub state: &'static str,
    /// Of its program.
    pub version: String,
    /// Where it says it is.
    pub region: String,
    /// Offered in all.
    pub total_bytes: u64,
    /// Kept back for the network's own needs.
    pub reserved_bytes: u64,
    /// `total − reserved`.
    pub allocatable_bytes: u64,
    /// Bytes of live chunks.
    pub used_bytes: u64,
    /// What can still be stored.
    pub available_bytes: u64,
    /// `used / allocatable`.
    pub utilization: f64,
    /// `vetting`, `trusted`, `suspended` or `disqualified`: what follows from its audits.
    pub standing: &'static str,
    /// From 0 to 1: how well it proves what it holds.
    pub audit_score: f64,
    /// `none`, `draining`, `exiting` or `exited`: whether it is emptied.
    pub leaving: &'static str,
    /// Seconds by which its clock is ahead of the server's.
    pub clock_skew_seconds: i64,
    /// Unix seconds.
    pub last_heartbeat: u64,
}

impl From<NodeRecord> for NodeView {
    fn from(node: NodeRecord) -> Self {
        Self {
            node_id: node.id.to_string(),
            state: node.status(),
            total_bytes: node.capacity,
            reserved_bytes: node.capacity - node.allocatable(),
            allocatable_bytes: node.allocatable(),
            used_bytes: node.report.used,
            available_bytes: node.available(),
            utilization: node.utilization(),
            standing: node.standing.as_str(),
            audit_score: f64::from(node.audit_score) / f64::from(SCORE_FULL),
            leaving: node.leaving.as_str(),
            clock_skew_seconds: node.report.skew,
            last_heartbeat: crate::time::to_seconds(node.last_heartbeat_ns),
            address: node.address,
            version: node.version,
            region: node.region,
        }
    }
}

impl Placements {
    /// All nodes, by id.
    #[must_use]
    pub fn node_views(&self) -> Vec<NodeView> {
        self.registry.all().into_iter().map(NodeView::from).collect()
    }

    /// The scheme that a new upload into an ordinary bucket would get now; `None` if no node can take anything.
    #[must_use]
    pub fn present_scheme(&self) -> Option<Scheme> {
        Scheme::best_for(self.present_capacity())
    }

    /// How many nodes a new upload could use together.
    fn present_capacity(&self) -> usize {
        let candidates = self.registry.candidates(0, &HashSet::new());
        capacity(&candidates, self.diversity())
    }

    /// The answer to `GetCluster`.
    #[must_use]
    pub fn cluster(&self) -> pb::GetClusterResponse {
        let nodes = self.registry.all().into_iter().map(|node| pb::ClusterNode {
            node: bytes_of(node.id),
            state: node.status().to_owned(),
            allocatable_bytes: node.allocatable(),
            used_bytes: node.report.used,
            last_heartbeat_ns: node.last_heartbeat_ns,
            address: node.address,
            version: node.version,
            region: node.region,
        });
        let capacity = self.present_capacity();
        let scheme = Scheme::best_for(capacity);
        let shards = scheme.map_or(0, |scheme| scheme.n().min(capacity));
        pb::GetClusterResponse {
            nodes: nodes.collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scheme: scheme.map(Into::into),
            shards: u32::try_from(shards).unwrap_or(u32::MAX),
        }
    }
}
