//! Numbers for inodes: the same inode has the same number for as long as anybody knows it, and usually for ever.
//!
//! A number is derived from the random half of the inode's id. The kernel's lookups are counted; an inode that it knows is kept, whatever becomes
//! of its names. Others live as long as a listing or an open file holds them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use cyx_core::ids::{BucketId, InodeId};

use super::node::{Node, lock};
use crate::attributes::Ino;

/// Numbers below this are never given to an inode of a bucket.
const FIRST: Ino = 1 << 8;
const MASK: Ino = (1 << 62) - 1;
/// Numbers of inodes that nobody holds are cleared away when there are this many, at the earliest.
const SWEEP_MIN: usize = 1024;

#[derive(Default)]
pub(crate) struct Table {
    inner: Mutex<Inner>,
}

struct Slot {
    node: Weak<Node>,
    /// While the kernel knows it.
    known: Option<Arc<Node>>,
    lookups: u64,
}

#[derive(Default)]
struct Inner {
    slots: HashMap<Ino, Slot>,
    by_id: HashMap<(BucketId, InodeId), Ino>,
    sweep_at: usize,
}

impl Table {
    /// The node of an inode; made by `make`, which gets its number, if nobody has it yet.
    pub(crate) fn get_or_make(
        &self,
        bucket: BucketId,
        id: InodeId,
        fixed: Option<Ino>,
        make: impl FnOnce(Ino) -> Node,
    ) -> (Arc<Node>, bool) {
        let mut inner = lock(&self.inner);
        if let Some(node) = inner.node_of(bucket, id) {
            return (node, false);
        }
        if inner.slots.len() >= inner.sweep_at.max(SWEEP_MIN) {
            inner.sweep();
        }
        let ino = fixed.unwrap_or_else(|| inner.free_number(bucket, id));
        let node = Arc::new(make(ino));
        // What has a fixed number is the top of the mount, which the kernel knows without looking it up.
        let (known, lookups) = if fixed.is_some() { (Some(Arc::clone(&node)), 1) } else { (None, 0) };
        inner.slots.insert(ino, Slot { node: Arc::downgrade(&node), known, lookups });
        inner.by_id.insert((bucket, id), ino);
        (node, true)
    }

    /// The node of a number.
    pub(crate) fn by_number(&self, ino: Ino) -> Option<Arc<Node>> {
        lock(&self.inner).slots.get(&ino)?.node.upgrade()
    }

    /// The node of an inode, if anybody has it.
    pub(crate) fn by_id(&self, bucket: BucketId, id: InodeId) -> Option<Arc<Node>> {
        lock(&self.inner).node_of(bucket, id)
    }

    /// Counts a lookup by the kernel.
    pub(crate) fn count(&self, node: &Arc<Node>) {
        let mut inner = lock(&self.inner);
        if let Some(slot) = inner.slots.get_mut(&node.ino) {
            slot.lookups += 1;
            slot.known = Some(Arc::clone(node));
        }
    }

    /// Takes lookups back; the inode, if the kernel does not know it any more. To be dropped outside of locks: it may be the last one of
    /// many.
    #[must_use]
    pub(crate) fn forget(&self, ino: Ino, lookups: u64) -> Option<Arc<Node>> {
        let mut inner = lock(&self.inner);
        let slot = inner.slots.get_mut(&ino)?;
        slot.lookups = slot.lookups.saturating_sub(lookups);
        if slot.lookups == 0 { slot.known.take() } else { None }
    }

    /// Whether the kernel knows an inode: it may open it, whatever became of its names.
    pub(crate) fn is_known(&self, ino: Ino) -> bool {
        lock(&self.inner).slots.get(&ino).is_some_and(|slot| slot.known.is_some())
    }

    /// Inodes that the kernel knows.
    pub(crate) fn known(&self) -> u64 {
        lock(&self.inner).slots.values().filter(|slot| slot.known.is_some()).count() as u64
    }

    /// Every node of a bucket, or of all.
    pub(crate) fn nodes(&self, bucket: Option<BucketId>) -> Vec<Arc<Node>> {
        let inner = lock(&self.inner);
        let nodes = inner.slots.values().filter_map(|slot| slot.node.upgrade());
        nodes.filter(|node| bucket.is_none_or(|bucket| node.home.id == bucket)).collect()
    }
}

impl Inner {
    fn node_of(&self, bucket: BucketId, id: InodeId) -> Option<Arc<Node>> {
        let ino = self.by_id.get(&(bucket, id))?;
        let node = self.slots.get(ino)?.node.upgrade()?;
        // The number may have been given to another inode since nobody held this one.
        (node.id == id && node.home.id == bucket).then_some(node)
    }

    fn sweep(&mut self) {
        self.slots.retain(|_, slot| slot.node.strong_count() > 0);
        let slots = &self.slots;
        self.by_id.retain(|_, ino| slots.contains_key(ino));
        self.sweep_at = self.slots.len() * 2;
    }

    fn free_number(&self, bucket: BucketId, id: InodeId) -> Ino {
        let half = |bytes: &[u8; 16]| {
            let [_, _, _, _, _, _, _, _, random @ ..] = *bytes;
            u64::from_le_bytes(random)
        };
        let mut ino = (half(&id.0) ^ half(&bucket.0).rotate_left(17)) & MASK;
        loop {
            let taken = self.slots.get(&ino).is_some_and(|slot| slot.node.strong_count() > 0);
            if ino >= FIRST && !taken {
                return ino;
            }
            ino = ino.wrapping_add(1) & MASK;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cyx_core::ids::InodeId;
    use cyx_crypto::keys::{FIRST_EPOCH, InodeKey};
    use cyx_proto::meta::v1 as pb;

    use crate::attributes::{Kind, ROOT_INO};
    use crate::vfs::node::Node;
    use crate::vfs::tests::Tree;

    #[test]
    fn the_top_of_the_mount_is_there_though_nobody_looks_it_up() {
        let tree = Tree::new();
        let other = tree.directory();
        let (home, key, seen) = (Arc::clone(&other.home), InodeKey::make_at(FIRST_EPOCH), other.home.seen_now());
        let id = InodeId([9; 16]);
        let make = |ino| Node::new(ino, home, id, Kind::Directory, key, &pb::Inode::default(), seen);
        drop(tree.table.get_or_make(other.home.id, id, Some(ROOT_INO), make));
        assert_eq!(tree.table.by_number(ROOT_INO).map(|node| node.id), Some(id));
    }

    #[test]
    fn the_number_of_an_inode_that_nobody_holds_leads_to_whom_it_was_given_to_and_the_inode_does_not() {
        let tree = Tree::new();
        let ids = [1, 2].map(|first| cyx_core::ids::InodeId([[first; 8], [7; 8]].concat().try_into().unwrap()));
        let first = tree.node_as(ids[0], Kind::File);
        let (ino, bucket) = (first.ino, first.home.id);
        drop(first);
        let second = tree.node_as(ids[1], Kind::File);
        assert_eq!(second.ino, ino);
        assert!(tree.table.by_id(bucket, ids[0]).is_none());
        let first = tree.node_as(ids[0], Kind::Directory);
        assert_eq!((first.id, first.kind), (ids[0], Kind::Directory));
        assert_ne!(first.ino, second.ino);
        for node in [first, second] {
            assert_eq!(tree.table.by_id(bucket, node.id).map(|node| node.ino), Some(node.ino));
        }
    }
}
