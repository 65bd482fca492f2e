//! Storage nodes as the server knows them: who they are, where they are, how full, and whether they are alive.
//!
//! | file | what it does |
//! |---|---|
//! | [`address`] | which addresses a node may have |
//! | [`dial`] | connects to a node and makes it prove that it is the one |
//! | [`joining`] | where operators are paid, what of a node is reserved, how nodes recognise the server |
//! | [`registry`] | all nodes in memory; liveness; who can take new shards |
//! | [`rows`] | the same in the database |
//! | [`service`] | the gRPC service that nodes call |
//! | [`inspect`] | what administrators see of a node |
//! | [`summary`] | room of all nodes, and what operators see of theirs |
//! | [`damage`] | shards that a node lost |
//! | [`streams`] | long answers, one per node |
//! | [`events`] | what the rest of the server is told |
//! | [`watch`] | the task that notices silence and writes heartbeats down in batches |

pub mod address;
pub mod damage;
pub mod dial;
pub mod events;
pub mod inspect;
pub mod joining;
pub mod registry;
pub mod rows;
pub mod service;
pub mod streams;
pub mod summary;
pub mod watch;

#[cfg(test)]
pub(crate) mod testing;

use crate::audits::AuditOptions;

pub use self::events::ClusterEvent;
pub use self::registry::{Leaving, Liveness, NodeRecord, Registry};
pub use self::service::NodeServer;

/// What an administrator decides about the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkOptions {
    /// Whether nodes of one operator, one network or one machine may hold shards of one segment, and loopback addresses may register.
    pub allow_colocated: bool,
    /// How often nodes are told to report, in seconds.
    pub heartbeat_seconds: u32,
    /// After how many seconds of silence a node is suspect.
    pub node_suspect_seconds: u64,
    /// After how many it is offline.
    pub node_offline_seconds: u64,
    /// And after how many lost: what it holds is made anew elsewhere.
    pub node_lost_seconds: u64,
    /// Repairs and moves under way at most, in the whole network; 0 pauses them.
    pub repair_tasks: u64,
    /// Whether every shard that is lost is made anew, instead of those of segments that lost several.
    pub repair_eager: bool,
    /// And of those, how many may read from one node.
    pub repair_tasks_per_node: u64,
    /// Life of a grant in seconds.
    pub grant_seconds: u64,
    /// How old a chunk's newest receipt must be before a keep-list may cover the chunk, in seconds.
    pub keep_list_margin_seconds: u64,
    /// Interval of the collection jobs in seconds.
    pub job_seconds: u64,
    /// How nodes are audited.
    pub audits: AuditOptions,
    /// Whether this process takes part in regular work, or leaves it to others on the same database.
    pub regular_work: bool,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            allow_colocated: false,
            heartbeat_seconds: 30,
            node_suspect_seconds: 90,
            node_offline_seconds: 300,
            node_lost_seconds: 4 * 3600,
            repair_tasks: 256,
            repair_eager: false,
            repair_tasks_per_node: 8,
            grant_seconds: cyx_core::units::GRANT_LIFETIME_SECONDS,
            keep_list_margin_seconds: cyx_core::units::KEEP_LIST_MARGIN_SECONDS,
            job_seconds: 3600,
            audits: AuditOptions::default(),
            regular_work: true,
        }
    }
}
