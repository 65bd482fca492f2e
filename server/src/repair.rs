//! Shards are made anew where they were lost, and moved where they should be elsewhere.
//!
//! Everything goes through one queue, the table `repair`: shards that an upload left out, that nodes reported lost, that lie on nodes
//! that are lost, leaving or too full, or beside another shard of their segment. Rows are *assessed* (how many more shards may the segment
//! lose, and is anything to be done?), then *planned* as tasks for nodes, the segments at the greatest risk first. A node fetches
//! its tasks, makes the chunk from those of other nodes, checks it against the root that the server has had since the upload, stores
//! it and signs for it. Only then one transaction says that the shard lies there. No byte passes through the server, and the old copy is
//! never ordered deleted: keep-lists stop naming it, days later.
//!
//! | file | what it does |
//! |---|---|
//! | [`policy`] | when a segment is worth a repair: pure |
//! | [`segment`] | a segment, where its shards lie and how they are |
//! | [`queue`] | what is queued because of its node; assessing what is queued |
//! | [`plan`] | choosing nodes and making tasks |
//! | [`hand`] | handing tasks to nodes, with sources and grants |
//! | [`report`] | what nodes made, and where shards lie from then on |
//! | [`moves`] | over-full nodes, and shards that lie too close together |
//! | [`leave`] | nodes that are emptied, by their operators or an administrator |
//! | [`run`] | the task that does all this, on one server at a time |

pub mod hand;
pub mod leave;
pub mod moves;
pub mod plan;
pub mod policy;
pub mod queue;
pub mod report;
pub mod run;
pub mod segment;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use cyx_core::ids::NodeId;

use crate::db::{Conn, DbError};
use crate::nodes::{NodeRecord, Registry};
use crate::tree::sql;

/// A second in nanoseconds.
const SECOND_NS: i64 = 1_000_000_000;

/// All nodes at one moment, and what their loss means.
#[derive(Clone)]
pub struct Nodes {
    by_id: Arc<BTreeMap<NodeId, NodeRecord>>,
    eager: bool,
}

impl Nodes {
    /// As they are now. With `eager`, every shard that is lost is made anew, however many are left.
    #[must_use]
    pub fn of(registry: &Registry, eager: bool) -> Self {
        Self { by_id: Arc::new(registry.all().into_iter().map(|node| (node.id, node)).collect()), eager }
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<&NodeRecord> {
        self.by_id.get(&node)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &NodeRecord> {
        self.by_id.values()
    }
}

/// The nodes for which tasks wait, so that a heartbeat can tell without asking the database. Cheap to clone.
#[derive(Clone, Default)]
pub struct Waiting(Arc<RwLock<HashSet<NodeId>>>);

impl Waiting {
    /// Whether tasks wait for a node.
    #[must_use]
    pub fn has(&self, node: NodeId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&node)
    }

    /// Looks for whom tasks wait.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn refresh(&self, conn: &mut Conn) -> Result<(), DbError> {
        let rows = sqlx::query("SELECT DISTINCT target FROM repair_task WHERE handed_ns = 0").fetch_all(conn).await?;
        let found: HashSet<NodeId> = rows.iter().map(|row| sql::id(row, 0)).collect::<Result<_, _>>()?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(())
    }
}
