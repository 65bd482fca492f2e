//! Changing the tree: one mutation that the server decides, and what is known afterwards.
//!
//! Times of a change are decided here, so that attributes do not jump when its answer or its echo arrives.

use std::sync::Arc;

use cyx_client::meta::fault_error;
use cyx_client::{Error, IntegrityError, Result};
use cyx_core::error::ErrorCode;
use cyx_core::ids::{Random as _, TxnId};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::operation::Operation as Op;

use super::Inner;
use super::node::{Edge, Name, Node, Opened, lock};

/// How often something is decided again because somebody else was faster.
pub(crate) const DECISIONS: u32 = 16;

/// An operation of a mutation.
pub(crate) fn operation(operation: Op) -> pb::Operation {
    pb::Operation { operation: Some(operation) }
}

/// Somebody else was faster: what is there now decides.
pub(crate) fn decide_again(error: &Error) -> bool {
    error.code() == ErrorCode::Retry
}

/// What an operation on an entry expects to find.
pub(crate) fn expected(edge: &Edge) -> pb::Expected {
    pb::Expected { child: bytes_of(edge.node.id), entry_version: edge.version }
}

impl Inner {
    /// Applies one mutation that makes `changes` changes.
    pub(crate) async fn apply(
        &self,
        home: &Opened,
        operations: Vec<pb::Operation>,
        stamp: i64,
        changes: u64,
    ) -> Result<Vec<pb::OperationResult>> {
        let flight = home.flights.begin();
        let mutation = pb::Mutation { txn: bytes_of(TxnId::random()), operations, time_ns: Some(stamp) };
        let request =
            pb::ApplyRequest { bucket: bytes_of(home.id), mutations: vec![mutation], ..pb::ApplyRequest::default() };
        let answer = self.client.meta.apply(request).await?;
        self.health.set_online();
        let mut results = answer.results;
        let result = results.pop().ok_or(IntegrityError::Mismatch("a mutation has no result"))?;
        if let Some(fault) = &result.fault {
            return Err(fault_error(fault));
        }
        // The number is that of the present, which is not that of the change if an earlier answer is repeated.
        if !result.replayed {
            home.flights.made(answer.sequence, changes);
        }
        drop(flight);
        Ok(result.operations)
    }
}

impl Node {
    /// A name in this directory leads to an inode now, by a change of this machine. `moved`: where the counter stood before; what
    /// was heard since may be newer than the answer.
    pub(crate) fn set_name(self: &Arc<Self>, name: &[u8], node: &Arc<Node>, version: u64, moved: u64) {
        let seen = self.home.seen_now();
        let edge = Edge { node: Arc::clone(node), version, seen };
        let mut listing = lock(&self.listing);
        let known = if listing.moved == moved { Name::Leads(edge) } else { Name::Unknown };
        listing.moved += 1;
        let old = listing.names.insert(name.into(), known);
        drop(listing);
        drop(old);
        lock(&node.file).place = Some((Arc::downgrade(self), name.into()));
    }

    /// A name in this directory leads nowhere now, by a change of this machine. `moved` as for [`Self::set_name`].
    pub(crate) fn drop_name(&self, name: &[u8], moved: u64) {
        let seen = self.home.seen_now();
        let mut listing = lock(&self.listing);
        let unheard = listing.moved == moved;
        listing.moved += 1;
        let known = if !unheard {
            listing.names.insert(name.into(), Name::Unknown)
        } else if listing.complete.is_some() {
            listing.names.remove(name)
        } else {
            listing.names.insert(name.into(), Name::Nothing(seen))
        };
        drop(listing);
        drop(known);
    }

    /// What is known of a name is wrong.
    pub(crate) fn doubt_name(&self, name: &[u8]) {
        let mut listing = lock(&self.listing);
        listing.moved += 1;
        let old = listing.names.insert(name.into(), Name::Unknown);
        drop(listing);
        drop(old);
    }
}
