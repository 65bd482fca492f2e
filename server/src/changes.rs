//! What changed: the log of every bucket, and the bus that tells those who watch.
//!
//! | file | what it does |
//! |---|---|
//! | [`log`] | changes in the database, numbered per bucket, written in the transaction that makes them |
//! | [`feed`] | a subscriber's stream without gaps: the log where something was missed, the bus where nothing was |

pub mod feed;
pub mod log;

use std::sync::Arc;

use cyx_core::ids::{AccountId, BucketId};
use cyx_proto::meta::v1 as pb;
use tokio::sync::broadcast;

use crate::tree::write_lease::Recalled;

/// Notices that a slow watcher may be behind before it has to look into the log.
const CAPACITY: usize = 1024;

/// Something that happened. Everything in it is durable already.
#[derive(Debug, Clone)]
pub enum Notice {
    /// Changes of one bucket, in order and without gaps.
    Changes {
        /// The bucket.
        bucket: BucketId,
        /// The changes.
        changes: Arc<[pb::Change]>,
    },
    /// Somebody wants to write to a bucket whose write lease somebody else holds.
    Recall {
        /// The bucket.
        bucket: BucketId,
        /// The lease.
        recalled: Recalled,
    },
    /// A write lease was released.
    Released {
        /// The bucket.
        bucket: BucketId,
    },
    /// A bucket was made or given to an account.
    Joined {
        /// The account.
        account: AccountId,
        /// The bucket.
        bucket: BucketId,
    },
    /// A bucket was deleted.
    Deleted {
        /// The bucket.
        bucket: BucketId,
    },
}

/// The way notices take through this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus(broadcast::Sender<Notice>);

impl Default for Bus {
    fn default() -> Self {
        Self(broadcast::channel(CAPACITY).0)
    }
}

impl Bus {
    /// Tells everybody who watches.
    pub fn publish(&self, notice: Notice) {
        // Nobody may be watching.
        let _ = self.0.send(notice);
    }

    /// Tells everybody about changes, if there are any.
    pub fn publish_changes(&self, bucket: BucketId, changes: Vec<pb::Change>) {
        if !changes.is_empty() {
            self.publish(Notice::Changes { bucket, changes: changes.into() });
        }
    }

    /// Begins to watch.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Notice> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests;
