//! What nodes have to do for this client: whose turn it is at each, and how much each has stored.
//!
//! Whatever one node is to move shares its connection. Begun at once, all of it would come at the end; so what is large takes turns, and what was
//! asked for first comes first. What is small never waits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cyx_core::ids::NodeId;
use cyx_core::units::KIB;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Work;

/// KiB that are under way to a node, and as many from it. The next shard of a large segment begins when 1.5 MiB of the one before are left, which
/// a tenth of 1 Gbit/s takes longer for than an answer takes over 100 ms.
const AT_A_TIME: u32 = 3584;

/// What all nodes have to do.
#[derive(Default)]
pub(crate) struct Loads {
    nodes: Mutex<HashMap<NodeId, Arc<Load>>>,
    /// Bytes that connections took, acknowledged or not.
    sent: AtomicU64,
    /// Bytes that arrived.
    arrived: AtomicU64,
}

#[derive(Default)]
struct Load {
    stores: Arc<Way>,
    reads: Arc<Way>,
    /// Bytes that it has acknowledged.
    stored: AtomicU64,
    /// What was sent to it to be stored and what it answered to that, counted so that a node that moves is told from one that stands.
    steps: AtomicU64,
}

/// One direction of a node's connection.
struct Way {
    semaphore: Arc<Semaphore>,
    /// Bytes that it is to move, also those whose turn it is not yet.
    waiting: AtomicU64,
}

impl Default for Way {
    fn default() -> Self {
        Self { semaphore: Arc::new(Semaphore::new(AT_A_TIME as usize)), waiting: AtomicU64::new(0) }
    }
}

/// The right to move bytes over a node's connection, given back as they move.
pub(super) struct TransferPermit {
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    /// Whether others had to be done first.
    pub(super) waited: bool,
    awaited: Awaited,
}

/// Bytes that a node's connection is to move for somebody.
struct Awaited {
    way: Arc<Way>,
    all: u64,
    /// Those of them that count as waiting.
    waiting: AtomicU64,
}

impl Loads {
    fn of(&self, node: NodeId) -> Arc<Load> {
        Arc::clone(self.nodes.lock().unwrap_or_else(PoisonError::into_inner).entry(node).or_default())
    }

    /// Waits until a node's connection is free for storing so many bytes.
    pub(super) async fn permit_to_store(&self, node: NodeId, bytes: u64) -> TransferPermit {
        TransferPermit::of(Arc::clone(&self.of(node).stores), bytes).await
    }

    /// Something was sent to a node to be stored, or it answered to that.
    pub(super) fn step(&self, node: NodeId) {
        self.of(node).steps.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that happened.
    pub(super) fn steps(&self, node: NodeId) -> u64 {
        self.of(node).steps.load(Ordering::Relaxed)
    }

    /// As [`Self::permit_to_store`], for reading.
    pub(super) async fn permit_to_read(&self, node: NodeId, bytes: u64) -> TransferPermit {
        TransferPermit::of(Arc::clone(&self.of(node).reads), bytes).await
    }

    /// Whether nothing of what is large is stored there now.
    pub(crate) fn stores_nothing(&self, node: NodeId) -> bool {
        self.of(node).stores.semaphore.available_permits() == AT_A_TIME as usize
    }

    /// Whether nothing of what is large is read there now.
    pub(crate) fn reads_nothing(&self, node: NodeId) -> bool {
        self.of(node).reads.semaphore.available_permits() == AT_A_TIME as usize
    }

    /// Bytes that nodes are to store, for those that have any to store.
    pub(super) fn to_store(&self) -> Vec<(NodeId, u64)> {
        self.waiting(|load| &load.stores)
    }

    /// Bytes that nodes are to send, for those that have any to send.
    pub(super) fn to_read(&self) -> Vec<(NodeId, u64)> {
        self.waiting(|load| &load.reads)
    }

    fn waiting(&self, way: impl Fn(&Load) -> &Way) -> Vec<(NodeId, u64)> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = nodes.iter().map(|(node, load)| (*node, way(load).waiting.load(Ordering::Relaxed)));
        waiting.filter(|(_, bytes)| *bytes > 0).collect()
    }

    /// A connection has taken bytes for a node.
    pub(super) fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// All bytes that connections took for nodes.
    pub(super) fn all_sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes have arrived from a node.
    pub(super) fn arrived(&self, bytes: u64) {
        self.arrived.fetch_add(bytes, Ordering::Relaxed);
    }

    /// All bytes that arrived from nodes.
    pub(super) fn all_arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    /// A node has acknowledged bytes.
    pub(crate) fn stored(&self, node: NodeId, bytes: u64) {
        self.of(node).stored.fetch_add(bytes, Ordering::Relaxed);
    }

    /// All bytes that a node has acknowledged.
    pub(crate) fn stored_by(&self, node: NodeId) -> u64 {
        self.of(node).stored.load(Ordering::Relaxed)
    }
}

/// Permits for so many bytes.
fn permits(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX).min(AT_A_TIME)
}

impl Awaited {
    fn of(way: Arc<Way>, all: u64) -> Self {
        way.waiting.fetch_add(all, Ordering::Relaxed);
        Self { way, all, waiting: AtomicU64::new(all) }
    }

    /// So many bytes are left to read. Half of what arrived counts until all of it did.
    fn left(&self, bytes: u64) {
        self.set(bytes.midpoint(self.all));
    }

    fn set(&self, waiting: u64) {
        let before = self.waiting.swap(waiting, Ordering::Relaxed);
        self.way.waiting.fetch_add(waiting.wrapping_sub(before), Ordering::Relaxed);
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl TransferPermit {
    async fn of(way: Arc<Way>, bytes: u64) -> Self {
        let semaphore = Arc::clone(&way.semaphore);
        if Work::read(bytes) == Work::SmallRead {
            return Self { permit: Mutex::default(), waited: false, awaited: Awaited::of(way, 0) };
        }
        let awaited = Awaited::of(way, bytes);
        let wanted = permits(bytes);
        let (permit, waited) = match Arc::clone(&semaphore).try_acquire_many_owned(wanted) {
            Ok(permit) => (Some(permit), false),
            // The semaphore is never closed.
            Err(_) => (semaphore.acquire_many_owned(wanted).await.ok(), true),
        };
        Self { permit: Mutex::new(permit), waited, awaited }
    }

    /// So many bytes are left that the connection has not taken to send.
    pub(super) fn not_taken(&self, bytes: u64) {
        // Something is: they are not done before they are acknowledged.
        self.awaited.set(bytes.max(1));
        self.give_back(bytes);
    }

    /// So many bytes are left to read.
    pub(super) fn left(&self, bytes: u64) {
        self.awaited.left(bytes);
        self.give_back(bytes);
    }

    fn give_back(&self, bytes: u64) {
        let mut permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(permit) = permit.as_mut() {
            let needless = permit.num_permits().saturating_sub(permits(bytes) as usize);
            drop(permit.split(needless));
        }
    }
}

#[cfg(test)]
mod tests {
    use cyx_core::units::MIB;

    use super::*;

    const NODE: NodeId = NodeId([1; 16]);

    #[tokio::test]
    async fn what_is_large_takes_turns_and_the_next_begins_before_the_last_is_done() {
        let loads = Loads::default();
        let first = loads.permit_to_store(NODE, 2 * MIB).await;
        let mut second = Box::pin(loads.permit_to_store(NODE, 2 * MIB));
        assert!(futures_util::poll!(&mut second).is_pending());
        first.left(MIB + MIB / 2 + 1);
        assert!(futures_util::poll!(&mut second).is_pending());
        first.left(MIB + MIB / 2);
        assert!(second.await.waited && !first.waited);
        // Another node, the other direction, and what is small.
        assert!(!loads.permit_to_store(NodeId([2; 16]), 2 * MIB).await.waited);
        assert!(!loads.permit_to_read(NODE, 2 * MIB).await.waited);
        assert!(!loads.permit_to_store(NODE, 4 * KIB).await.waited);
    }

    #[tokio::test]
    async fn more_than_goes_at_a_time_has_all_of_it_until_little_is_left() {
        let loads = Loads::default();
        let first = loads.permit_to_read(NODE, 4 * MIB).await;
        let mut second = Box::pin(loads.permit_to_read(NODE, 100 * KIB));
        assert!(futures_util::poll!(&mut second).is_pending());
        first.left(3 * MIB);
        drop(second.await);
        // Once more, as after a broken connection: nothing is taken back.
        first.left(4 * MIB);
        drop(loads.permit_to_read(NODE, 100 * KIB).await);
        drop(first);
        assert!(!loads.permit_to_read(NODE, 4 * MIB).await.waited);
    }
}
