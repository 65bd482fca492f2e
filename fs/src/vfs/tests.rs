//! Nodes without a server, for tests of what is known of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cyx_core::ids::{BucketId, InodeId};
use cyx_crypto::keys::{FIRST_EPOCH, InodeKey};
use cyx_proto::meta::v1 as pb;

use super::local::Local;
use super::node::{Health, Node, Opened, Remote, lock};
use super::table::Table;
use super::{TTL_WATCHED, Top, name_ttl};
use crate::attributes::{Kind, ROOT_INO};

/// A bucket of which everything is known here.
pub(super) struct Tree {
    pub(super) table: Table,
    home: Arc<Opened>,
    made: AtomicU64,
}

/// One of many names, in the order of their numbers.
pub(super) fn name(number: u32) -> Vec<u8> {
    format!("name-{number:04}").into_bytes()
}

impl Tree {
    pub(super) fn new() -> Self {
        let health = Arc::new(Health::default());
        health.set(true);
        let home = Opened::of(BucketId([1; 16]), Remote::Nobody, health, Local::default());
        Self { table: Table::default(), home: Arc::new(home), made: AtomicU64::new(0) }
    }

    fn node(&self, kind: Kind) -> Arc<Node> {
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let id = InodeId((u128::from(number) << 64 | u128::from(number)).to_be_bytes());
        let (home, key, seen) = (Arc::clone(&self.home), InodeKey::make_at(FIRST_EPOCH), self.home.seen_now());
        let inode = pb::Inode { nlink: 1, ..pb::Inode::default() };
        self.table.get_or_make(home.id, id, None, |ino| Node::new(ino, home, id, kind, key, &inode, seen)).0
    }

    /// A directory in which nothing is.
    pub(super) fn directory(&self) -> Arc<Node> {
        let node = self.node(Kind::Directory);
        lock(&node.listing).complete = Some(self.home.seen_now());
        node
    }

    /// A file that is made under a name.
    pub(super) fn file_in(&self, directory: &Arc<Node>, name: &[u8]) -> Arc<Node> {
        let file = self.node(Kind::File);
        directory.set_name(name, &file, 1, directory.names_moved());
        file
    }
}

#[test]
fn which_buckets_there_are_is_believed_for_a_second() {
    let bucket = Top::Bucket("only".to_owned());
    assert_eq!(name_ttl(&Top::Buckets, ROOT_INO, TTL_WATCHED), Duration::from_secs(1));
    assert_eq!(name_ttl(&Top::Buckets, ROOT_INO, Duration::ZERO), Duration::ZERO);
    assert_eq!(name_ttl(&Top::Buckets, ROOT_INO + 1, TTL_WATCHED), TTL_WATCHED);
    assert_eq!(name_ttl(&bucket, ROOT_INO, TTL_WATCHED), TTL_WATCHED);
}
