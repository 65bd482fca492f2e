//! Nodes without a server, for tests of what is known of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cyx_core::ids::{BucketId, InodeId, Random as _, TxnId};
use cyx_crypto::keys::{FIRST_EPOCH, InodeKey};
use cyx_crypto::wrap::{Field, seal_field};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::operation::Operation as Op;

use super::local::note::Note;
use super::local::{Decided, Local};
use super::name_limit::NameCount;
use super::node::{Health, Node, Opened, Remote, Written, lock};
use super::table::Table;
use super::{TTL_WATCHED, Top, name_ttl};
use crate::attributes::{Kind, ROOT_INO};
use crate::errno::Errno;
use crate::journal::Position;

/// A bucket of which everything is known here.
pub(super) struct Tree {
    pub(super) table: Table,
    pub(super) count: Arc<NameCount>,
    home: Arc<Opened>,
    made: AtomicU64,
}

/// One of many names, in the order of their numbers.
pub(super) fn name(number: u32) -> Vec<u8> {
    format!("name-{number:04}").into_bytes()
}

impl Tree {
    pub(super) fn new() -> Self {
        Self::with(usize::MAX)
    }

    /// Of which so many names are remembered.
    pub(super) fn with(most: usize) -> Self {
        let count = Arc::new(NameCount::new(most));
        let health = Arc::new(Health::default());
        health.set(true);
        let local = Local::recovered(Vec::new(), Arc::clone(&health), |_| unreachable!("nothing is recovered"));
        let home = Opened::of(BucketId([1; 16]), Remote::Nobody, health, local, Arc::clone(&count));
        Self { table: Table::default(), count, home: Arc::new(home), made: AtomicU64::new(0) }
    }

    fn node(&self, kind: Kind) -> Arc<Node> {
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        self.node_as(InodeId((u128::from(number) << 64 | u128::from(number)).to_be_bytes()), kind)
    }

    /// An inode, made if nobody has it.
    pub(super) fn node_as(&self, id: InodeId, kind: Kind) -> Arc<Node> {
        let (home, key, seen) = (Arc::clone(&self.home), InodeKey::make_at(FIRST_EPOCH), self.home.seen_now());
        let inode = pb::Inode { nlink: 1, ..pb::Inode::default() };
        self.table.get_or_make(home.id, id, None, |ino| Node::new(ino, home, id, kind, key, &inode, seen)).0
    }

    /// A directory in which nothing is.
    pub(super) fn directory(&self) -> Arc<Node> {
        let node = self.node(Kind::Directory);
        node.listing().complete = Some(self.home.seen_now());
        node
    }

    /// Something that is made under a name.
    pub(super) fn made_in(&self, directory: &Arc<Node>, name: &[u8], kind: Kind) -> Arc<Node> {
        let made = if kind == Kind::Directory { self.directory() } else { self.node(kind) };
        directory.set_name(name, &made, 1, directory.names_moved());
        directory.listing().used = Some(Instant::now());
        made
    }

    /// Something about an inode is decided here and not sent.
    pub(super) fn decide_about(&self, inode: InodeId) {
        let set = pb::SetAttributes { inode: bytes_of(inode), ..pb::SetAttributes::default() };
        let operations = vec![pb::Operation { operation: Some(Op::SetAttributes(set)) }];
        let mutation = pb::Mutation { txn: bytes_of(TxnId::random()), operations, time_ns: None };
        let note =
            Note { bucket: self.home.id, mutation, changes: 1, after: None, known: None, last: false, named: None };
        let (local, at) = (&self.home.local, Some(Position::for_tests(1)));
        self.home.health.set(false);
        self.home.health.set_offline();
        let decided = local.decide(local.turn(), note, None, || Ok::<_, ()>(at), |_| {});
        assert!(matches!(decided, Ok(Decided::Here)));
        self.home.health.set(true);
    }
}

#[test]
fn a_commit_makes_nothing_believed_that_is_to_be_asked_for_anew() {
    let tree = Tree::new();
    let file = tree.node_as(InodeId([1; 16]), Kind::File);
    let believed = |file: &Node| file.home.believes(&lock(&file.facts).seen);
    let write = || lock(&file.facts).written = Some(Written { mtime_ns: 7, ctime_ns: 7 });
    write();
    file.note_commit(1, 10, false);
    assert!(believed(&file), "it is known what was committed");
    write();
    file.home.forget_all();
    file.note_commit(2, 20, false);
    assert_eq!(lock(&file.facts).size, 20);
    assert!(!believed(&file), "others may have changed the rest");
}

#[test]
fn a_commit_prolongs_no_belief_in_what_else_is_known() {
    let tree = Tree::new();
    let file = tree.node_as(InodeId([1; 16]), Kind::File);
    let seen = lock(&file.facts).seen.at;
    lock(&file.facts).written = Some(Written { mtime_ns: 7, ctime_ns: 7 });
    file.note_commit(1, 10, false);
    let facts = lock(&file.facts);
    assert_eq!((facts.version, facts.attributes.mtime_ns, facts.seen.at), (1, 7, seen));
}

#[test]
fn a_link_that_cannot_be_opened_is_tried_again_when_something_is_heard_of_it() {
    let tree = Tree::new();
    let link = tree.node_as(InodeId([1; 16]), Kind::Symlink);
    let newer = InodeKey::make_at(link.key().epoch() + 1);
    let sealed = |key: &InodeKey| seal_field(key, link.id, Field::LinkTarget, b"there").unwrap().into();
    let take = |sealed_target| {
        let inode = pb::Inode { sealed_target, ..pb::Inode::default() };
        let seen = link.home.seen_now();
        lock(&link.facts).take(&inode, seen);
    };
    take(sealed(&newer));
    assert_eq!(link.target(), Err(Errno::EIO), "its key is not known");
    lock(&link.facts).take_key(&newer, &bytes::Bytes::new());
    assert_eq!(link.target().unwrap(), &b"there"[..]);
    take(bytes::Bytes::new());
    assert_eq!(link.target(), Err(Errno::EIO));
    take(sealed(&newer));
    assert_eq!(link.target().unwrap(), &b"there"[..]);
}

#[test]
fn which_buckets_there_are_is_believed_for_a_second() {
    let bucket = Top::Bucket("only".to_owned());
    assert_eq!(name_ttl(&Top::Buckets, ROOT_INO, TTL_WATCHED), Duration::from_secs(1));
    assert_eq!(name_ttl(&Top::Buckets, ROOT_INO, Duration::ZERO), Duration::ZERO);
    assert_eq!(name_ttl(&Top::Buckets, ROOT_INO + 1, TTL_WATCHED), TTL_WATCHED);
    assert_eq!(name_ttl(&bucket, ROOT_INO, TTL_WATCHED), TTL_WATCHED);
}
