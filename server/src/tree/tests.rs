//! Tests of the tree.

mod check;
mod content;
mod fast;
mod model;
mod mount;
mod names;
mod rekey;
mod segments;
pub(crate) mod support;
mod together;
mod trash;
mod write_lease;

use std::sync::Arc;

use cyx_core::ids::{BucketId, GrantId, LeaseId, NodeId};
use cyx_core::units::FILE_MAX;
use cyx_core::writers::WriterList;

use super::plan::{Network, PlanContext};

/// A network without nodes.
struct NoNetwork;

impl Network for NoNetwork {
    fn node_key(&self, _: NodeId) -> Option<[u8; 32]> {
        None
    }

    fn store_grant_id(&self, _: LeaseId, _: NodeId) -> GrantId {
        GrantId([0; 16])
    }
}

/// Nobody may sign and no node is known.
pub(crate) fn empty_context(bucket: BucketId) -> PlanContext {
    PlanContext {
        bucket,
        writers: Arc::new(WriterList::empty(bucket)),
        network: Arc::new(NoNetwork),
        file_max: FILE_MAX,
        now: 0,
    }
}
