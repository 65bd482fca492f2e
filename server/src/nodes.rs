//! Storage nodes as the server knows them: who they are, where they are, how full, and whether they are alive.
//!
//! | file | what it does |
//! |---|---|
//! | [`address`] | which addresses a node may have |
//! | [`dial`] | connects to a node and makes it prove that it is the one |
//! | [`registry`] | all nodes in memory; liveness; who can take new shards |
//! | [`rows`] | the same in the database |
//! | [`service`] | the gRPC service that nodes call |
//! | [`damage`] | shards that a node lost |
//! | [`events`] | what the rest of the server is told |
//! | [`watch`] | the task that notices silence and writes heartbeats down in batches |

pub mod address;
pub mod damage;
pub mod dial;
pub mod events;
pub mod registry;
pub mod rows;
pub mod service;
pub mod watch;

#[cfg(test)]
pub(crate) mod testing;

pub use self::events::ClusterEvent;
pub use self::registry::{Liveness, NodeRecord, Registry};
pub use self::service::NodeServer;

/// What an administrator decides about the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkOptions {
    /// Whether nodes of one operator, one network or one machine may hold shards of one segment, and loopback addresses may register.
    pub allow_colocated: bool,
    /// How often nodes are told to report, in seconds.
    pub heartbeat_seconds: u32,
    /// After how many seconds of silence a node counts as dead. About half of it makes a node suspect.
    pub node_dead_seconds: u64,
    /// Life of a grant in seconds.
    pub grant_seconds: u64,
    /// How old a chunk's newest receipt must be before a keep-list may cover the chunk, in seconds.
    pub keep_list_margin_seconds: u64,
    /// Interval of the collection jobs in seconds.
    pub job_seconds: u64,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            allow_colocated: false,
            heartbeat_seconds: 30,
            node_dead_seconds: 120,
            grant_seconds: cyx_core::units::GRANT_LIFETIME_SECONDS,
            keep_list_margin_seconds: cyx_core::units::KEEP_LIST_MARGIN_SECONDS,
            job_seconds: 3600,
        }
    }
}
