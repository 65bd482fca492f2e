//! What happens in the network, for those who watch it.

use cyx_core::ids::NodeId;
use serde::Serialize;

/// An event of the topics `cluster` and `job`, in the shape that WebSocket clients get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", content = "data")]
#[non_exhaustive]
pub enum ClusterEvent {
    /// A node registered, or came back from the dead.
    NodeJoined {
        /// The node.
        node_id: NodeId,
        /// Where it is.
        address: String,
    },
    /// A node is dead.
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
        /// `alive`, `suspect` or `read-only`.
        status: String,
        /// A sentence, or empty.
        details: String,
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
