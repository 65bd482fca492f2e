//! What happens in the network, for those who watch it.

use cyx_core::ids::{ChunkId, NodeId};
use serde::Serialize;

/// An event of the topics `cluster`, `replication` and `job`, in the shape that WebSocket clients get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", content = "data")]
#[non_exhaustive]
pub enum ClusterEvent {
    /// A node registered, or came back after it was offline.
    NodeJoined {
        /// The node.
        node_id: NodeId,
        /// Where it is.
        address: String,
    },
    /// A node is offline.
    NodeLeft {
        /// The node.
        node_id: NodeId,
        /// Why the server thinks so.
        reason: String,
    },
    /// A node's state changed otherwise.
    NodeHealthChanged {
        /// The node.
        node_id: NodeId,
        /// `online`, `suspect`, `lost` or `read-only`; after its audits `vetting`, `trusted`, `suspended` or `disqualified`.
        status: String,
        /// A sentence, or empty.
        details: String,
    },
    /// A node was told to make a chunk from those of others.
    ReplicationStarted {
        /// The chunk.
        chunk_id: ChunkId,
        /// Where its shard lay, or the first node that it is made from.
        source_node: NodeId,
        /// The node that makes it.
        target_node: NodeId,
    },
    /// It did, and the shard lies there now.
    ReplicationComplete {
        /// The chunk.
        chunk_id: ChunkId,
        /// Where its shard lay, or the first node that it was made from.
        source_node: NodeId,
        /// The node that made it.
        target_node: NodeId,
    },
    /// It could not.
    ReplicationFailed {
        /// The chunk.
        chunk_id: ChunkId,
        /// Why.
        error: String,
    },
    /// A job began, went on or ended.
    JobStatusChanged {
        /// The job.
        job_id: String,
        /// `running`, `done` or `failed`.
        status: String,
        /// Per cent.
        progress: u8,
    },
}

impl ClusterEvent {
    /// The topic that it belongs to.
    #[must_use]
    pub const fn topic(&self) -> &'static str {
        match self {
            Self::JobStatusChanged { .. } => "job",
            Self::ReplicationStarted { .. } | Self::ReplicationComplete { .. } | Self::ReplicationFailed { .. } => {
                "replication"
            }
            _ => "cluster",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_the_documented_shape() {
        let event = ClusterEvent::NodeJoined { node_id: NodeId([1; 16]), address: "192.0.2.1:50051".to_owned() };
        let json = serde_json::to_value(&event).unwrap();
        let expected = serde_json::json!({
            "type": "NodeJoined",
            "data": {"node_id": "01010101010101010101010101010101", "address": "192.0.2.1:50051"},
        });
        assert_eq!(json, expected);
        assert_eq!(event.topic(), "cluster");
    }
}
